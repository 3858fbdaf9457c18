"""CSV and Parquet bodies as a matrix, read by Arrow, with no cell guessed."""

import io
import re
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from pipeline.datasets.ragged import read_csv as ragged_csv
from pipeline.schema.columns import Column
from pipeline.schema.contract import MOST_FAULTS, Fault, Matrix, check_names, not_a_number
from pipeline.server import memory_limit
from pipeline.server.http_error import (
    HTTPError,
    bad_request,
    content_too_large,
    invalid_parameter,
)

NUMBER = r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?"  # of JSON (RFC 8259)
QUOTED = re.compile(  # a cell (RFC 4180); the quote comes first, since that is found quickest
    rb'"(?:(?<=^")|(?<=[,\r\n]"))[^"]*+(?:""[^"]*+)*+"(?=[,\r\n]|\Z)'
)
MAX_CELL_BYTES = 64  # bytes of a Parquet cell when unpacked: a number takes 8 or 16
READING_BYTES = 64 * 2**20  # bytes that reading any Parquet file may take besides

BYTE_ORDER_MARK = "\ufeff".encode()
NUMBER_TYPES = (pa.types.is_integer, pa.types.is_floating, pa.types.is_null)

Cells = tuple[Matrix, list[Fault]]


def read_csv(body: bytes, columns: Mapping[str, Column], max_rows: int) -> Cells:
    """Reads a header, then a number as JSON writes it, or nothing, per cell.

    Raises HTTPError, ContractError.
    """
    try:
        body.decode("utf-8")
    except UnicodeDecodeError:
        raise bad_request("csv", "the body is not in UTF-8") from None
    body = body.removeprefix(BYTE_ORDER_MARK)
    if b'"' in body:
        if b'"' in QUOTED.sub(b"", body):
            raise bad_request(
                "csv", "a quote is neither around a whole cell nor doubled within one"
            )
    elif body.count(b"\n") > max_rows + 1:
        raise _too_many_rows(max_rows)
    if body and b"\n" not in body:
        body += b"\n"  # a header alone: no rows
    table = _as_texts(body, columns)
    check_names(dict(columns), table.column_names, with_names=False)
    if table.num_rows > max_rows:
        raise _too_many_rows(max_rows)
    X = np.full((table.num_rows, len(columns)), np.nan)
    faults: list[Fault] = []
    for place, name in enumerate(columns):
        if name in table.column_names:
            X[:, place], column_faults = _numbers(name, table[name])
            faults += column_faults
    return X, faults


def _as_texts(body: bytes, columns: Mapping[str, Column]) -> pa.Table:
    convert = pa.csv.ConvertOptions(
        column_types=dict.fromkeys(columns, pa.string()),
        null_values=[""],
        strings_can_be_null=True,
        # A writer of CSV quotes an empty cell only where it would else be an empty line.
        quoted_strings_can_be_null=len(columns) == 1,
    )
    try:
        # In a table of one column an empty line is a missing value.
        table, ragged = ragged_csv(body, convert, ignore_empty_lines=len(columns) > 1)
    except (pa.ArrowException, KeyError):
        raise bad_request("csv", "the body is not CSV with a header and commas") from None
    if ragged:
        line = ragged[0]
        counts = f"{line.actual_columns} cells for {line.expected_columns} columns"
        message = f"line {line.number} has {counts}"
        raise invalid_parameter("ragged", message)
    return table


def _numbers(name: str, cells: pa.ChunkedArray) -> Cells:
    if pa.types.is_null(cells.type):
        return np.full(len(cells), np.nan), []
    if not pc.all(pc.match_substring_regex(cells, f"^{NUMBER}$")).as_py():
        return _read_cells(name, cells)
    return pc.cast(cells, pa.float64()).to_numpy(), []


def _read_cells(name: str, cells: pa.ChunkedArray) -> Cells:
    """Reads cell by cell, to find those that are no numbers."""
    numbers = np.full(len(cells), np.nan)
    faults: list[Fault] = []
    for place, text in enumerate(cells.to_pylist()):
        if text is None:
            continue
        if re.fullmatch(NUMBER, text):
            numbers[place] = float(text)
        else:
            faults.append(not_a_number(place + 1, name))
            if len(faults) > MOST_FAULTS:
                break
    return numbers, faults


def read_parquet(body: bytes, columns: Mapping[str, Column], max_rows: int) -> Cells:
    """Reads integers and floats; the file's metadata are checked before a cell is unpacked.

    The pages may unpack to more than the metadata say, so they are unpacked within a bound on
    the memory, which goes back to the system afterwards. Raises HTTPError, ContractError.
    """
    try:
        return _read_parquet(body, columns, max_rows)
    except MemoryError:
        raise _too_large_unpacked() from None
    except (pa.ArrowException, OSError, ValueError, KeyError):
        raise bad_request("parquet", "the body is not a whole Parquet file") from None
    finally:
        pa.default_memory_pool().release_unused()


def _read_parquet(body: bytes, columns: Mapping[str, Column], max_rows: int) -> Cells:
    file = pq.ParquetFile(io.BytesIO(body), pre_buffer=False)  # reads in this thread alone
    schema = file.schema_arrow
    names = [name for name in schema.names if name != "__index_level_0__"]
    check_names(dict(columns), names, with_names=False)
    rows, size = _size(file.metadata)
    if rows > max_rows:
        raise _too_many_rows(max_rows)
    unpacked = max(rows * len(schema.names), 1) * MAX_CELL_BYTES + 2**20
    if size > unpacked:
        raise _too_large_unpacked()
    not_numbers = [name for name in names if not _is_number(schema.field(name).type)]
    if not_numbers:
        raise invalid_parameter("type", f"column {not_numbers[0]!r} must be of integers or floats")
    with memory_limit.at_most(unpacked + READING_BYTES):
        table = file.read(columns=names, use_threads=False)
        X = np.full((table.num_rows, len(columns)), np.nan)
        faults: list[Fault] = []
        for place, name in enumerate(columns):
            if name in names:
                numbers = table[name].cast(pa.float64(), safe=False)
                X[:, place] = numbers.to_numpy()
                nan_rows = np.flatnonzero(np.isnan(X[:, place]) & numbers.is_valid().to_numpy())
                faults += [not_a_number(row + 1, name) for row in nan_rows[: MOST_FAULTS + 1]]
    return X, faults


def _size(metadata: pq.FileMetaData) -> tuple[int, int]:
    """Returns rows, and bytes unpacked, of the row groups: the file may say otherwise of all."""
    groups = [metadata.row_group(place) for place in range(metadata.num_row_groups)]
    rows = sum(group.num_rows for group in groups)
    return rows, sum(group.total_byte_size for group in groups)


def _too_large_unpacked() -> HTTPError:
    return content_too_large("rows", "the Parquet file is far larger unpacked than its rows can be")


def _is_number(type_: pa.DataType) -> bool:
    return any(is_type(type_) for is_type in NUMBER_TYPES)


def _too_many_rows(limit: int) -> HTTPError:
    message = f"the request has more than {limit} rows, the most that are allowed"
    return content_too_large("rows", message)
