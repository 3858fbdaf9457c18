"""Bodies that unpack to far more than they say, and the bound that stops them."""

import io
import multiprocessing
import struct
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.schema.columns import NumberColumn
from pipeline.server import memory_limit, request_arrow
from pipeline.server.http_error import HTTPError

ROWS = 2**24  # 128 MiB as doubles
COLUMNS = {"a": NumberColumn()}
STATUS = Path("/proc/self/status")
resource = pytest.importorskip("resource")
pytestmark = pytest.mark.skipif(not STATUS.exists(), reason="only Linux bounds address space")


def varint(number: int, width: int = 0) -> bytes:
    """As Thrift's compact protocol writes an integer, with needless bytes up to the width."""
    number, digits = number * 2, []
    while number or not digits:
        digits.append(number & 0x7F)
        number >>= 7
    digits += [0] * (width - len(digits))
    return bytes([*(digit | 0x80 for digit in digits[:-1]), digits[-1]])


def lying(says: int, groups_too: bool = True, **options) -> bytes:
    """A small Parquet file of many equal rows that says it has few, and little in them."""
    file = io.BytesIO()
    pq.write_table(
        pa.table({"a": np.zeros(ROWS)}),
        file,
        row_group_size=ROWS,
        max_rows_per_page=ROWS,
        write_batch_size=ROWS,
        data_page_size=2**30,
        write_statistics=False,
        store_schema=False,
        **options,
    )
    content = file.getvalue()
    (size,) = struct.unpack("<I", content[-8:-4])
    pages, footer = content[: -8 - size], content[-8 - size : -8]
    group = pq.ParquetFile(file).metadata.row_group(0)
    lies = {ROWS: says, group.total_byte_size: 100} if groups_too else {ROWS: says}
    for truth, lie in lies.items():
        written = varint(truth)
        footer = footer.replace(written, varint(lie, len(written)), -1 if groups_too else 1)
    return pages + footer + struct.pack("<I", len(footer)) + b"PAR1"


@pytest.fixture(scope="module")
def reader():
    """A process like the one beside the server, of which the bodies of a pipe are read."""
    spawn = multiprocessing.get_context("spawn")
    here, there = spawn.Pipe()
    process = spawn.Process(target=read_bodies, args=(there,), daemon=True)
    process.start()
    yield here
    here.send_bytes(b"")
    process.join(30)
    assert process.exitcode == 0


def read_bodies(connection) -> None:
    memory_limit.allocate_from_the_system()
    from pipeline.server import request_arrow

    while body := connection.recv_bytes():
        try:
            X, _ = request_arrow.read_parquet(body, COLUMNS, 100_000)
            outcome = len(X)
        except HTTPError as error:
            outcome = error
        connection.send((outcome, in_use("VmRSS"), in_use("VmHWM")))


def in_use(name: str) -> int:
    """Bytes, now or at most so far."""
    (line,) = [line for line in STATUS.read_text().splitlines() if line.startswith(name)]
    return int(line.split()[1]) * 1024


@pytest.mark.parametrize("compression", ["zstd", "brotli", "gzip", "snappy"])
def test_parquet_that_unpacks_to_far_more_than_it_says_is_refused(reader, compression):
    few = io.BytesIO()
    pq.write_table(pa.table({"a": np.zeros(10)}), few)
    reader.send_bytes(few.getvalue())
    rows, before, most_before = reader.recv()
    assert rows == 10

    reader.send_bytes(lying(1, compression=compression, use_dictionary=False))
    error, after, most_after = reader.recv()

    assert (error.status, error.rule) == (413, "rows")
    assert "far larger unpacked than its rows can be" in error.message
    assert after - before < 2 * ROWS  # a quarter of what it unpacks to
    assert most_after - most_before < 6 * ROWS


def test_rows_are_counted_in_each_group_whatever_the_file_says_of_all():
    body = lying(1, groups_too=False, use_dictionary=True)
    assert pq.ParquetFile(io.BytesIO(body)).metadata.num_rows == 1
    assert len(body) < 1000
    with pytest.raises(HTTPError, match="more than 100000 rows") as caught:
        request_arrow.read_parquet(body, COLUMNS, 100_000)
    assert caught.value.status == 413


def test_as_many_rows_as_are_allowed_are_read_within_the_bound():
    numbers = np.random.default_rng(0).normal(size=(100_000, 20))
    columns = {f"c{place}": NumberColumn() for place in range(20)}
    file = io.BytesIO()
    pq.write_table(pa.table(dict(zip(columns, numbers.T, strict=True))), file)
    X, faults = request_arrow.read_parquet(file.getvalue(), columns, 100_000)
    assert faults == []
    np.testing.assert_array_equal(X, numbers)


def test_memory_beyond_the_bound_is_refused_and_the_bound_is_lifted():
    before = resource.getrlimit(resource.RLIMIT_AS)
    with pytest.raises(MemoryError), memory_limit.at_most(2**26):
        np.ones(2**27, dtype=np.uint8)
    assert resource.getrlimit(resource.RLIMIT_AS) == before
    assert np.ones(2**27, dtype=np.uint8).sum() == 2**27


def test_a_bound_that_is_there_already_is_not_raised():
    before = resource.getrlimit(resource.RLIMIT_AS)
    there = psutil.Process().memory_info().vms + 2**28
    resource.setrlimit(resource.RLIMIT_AS, (there, before[1]))
    try:
        with memory_limit.at_most(2**40):
            assert resource.getrlimit(resource.RLIMIT_AS)[0] == there
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
