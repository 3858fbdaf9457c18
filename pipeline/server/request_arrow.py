"""CSV and Parquet bodies as a matrix, read by Arrow, with no cell guessed."""

import io
import re
from collections.abc import Mapping

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from pipeline.datasets import csv_reader
from pipeline.schema.columns import Column
from pipeline.schema.faults import MOST_FAULTS, Fault
from pipeline.schema.kinds import kind_of
from pipeline.schema.matrix import Matrix, Vector
from pipeline.schema.rules import check_names, read_cells, read_columns, wrong_kind
from pipeline.server import memory_limit
from pipeline.server.http_error import HTTPError, invalid_parameter

QUOTED = re.compile(  # a cell (RFC 4180); the quote comes first, since that is found quickest
    rb'"(?:(?<=^")|(?<=[,\r\n]"))[^"]*+(?:""[^"]*+)*+"(?=[,\r\n]|\Z)'
)
READING_BYTES = 64 * 2**20  # bytes that reading any Parquet file may take besides

BYTE_ORDER_MARK = "\ufeff".encode()

Cells = tuple[Matrix, list[Fault]]


def read_csv(body: bytes, columns: Mapping[str, Column], max_rows: int) -> Cells:
    """Reads a header, then per cell a text that its column's kind takes, or nothing.

    Raises HTTPError, ContractError.
    """
    try:
        body.decode("utf-8")
    except UnicodeDecodeError:
        raise HTTPError(400, "csv", "the body is not in UTF-8") from None
    body = body.removeprefix(BYTE_ORDER_MARK)
    if b'"' in body:
        if b'"' in QUOTED.sub(b"", body):
            raise HTTPError(
                400, "csv", "a quote is neither around a whole cell nor doubled within one"
            )
    elif body.count(b"\n") > max_rows + 1:
        raise _too_many_rows(max_rows)
    if body and b"\n" not in body:
        body += b"\n"  # a header alone: no rows
    table = _as_texts(body, columns)
    check_names(columns, table.column_names, with_names=False)
    if table.num_rows > max_rows:
        raise _too_many_rows(max_rows)
    return read_columns(columns, _by_name(table), table.num_rows, _read_texts)


def _by_name(table: pa.Table) -> dict[str, pa.ChunkedArray]:
    return dict(zip(table.column_names, table.columns, strict=True))


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
        table, ragged = csv_reader.read_csv(body, convert, ignore_empty_lines=len(columns) > 1)
    except (pa.ArrowException, KeyError):
        raise HTTPError(400, "csv", "the body is not CSV with a header and commas") from None
    if line := ragged.first:
        counts = f"{line.actual_columns} cells for {line.expected_columns} columns"
        raise invalid_parameter("ragged", f"line {line.number} has {counts}")
    return table


def _read_texts(name: str, column: Column, cells: pa.ChunkedArray) -> tuple[Vector, list[Fault]]:
    vector = kind_of(column).read_texts(column, cells)
    if vector is not None:
        return vector, []
    return read_cells(name, column, cells.to_pylist(), are_texts=True)


def read_parquet(body: bytes, columns: Mapping[str, Column], max_rows: int) -> Cells:
    """Reads the types of the columns' kinds; metadata are checked before a cell is unpacked.

    The pages may unpack to more than the metadata say, so they are unpacked within a bound on
    the memory, which goes back to the system afterwards. Raises HTTPError, ContractError.
    """
    try:
        return _read_parquet(body, columns, max_rows)
    except MemoryError:
        raise _too_large_unpacked() from None
    except (pa.ArrowException, OSError, ValueError, KeyError):
        raise HTTPError(400, "parquet", "the body is not a whole Parquet file") from None
    finally:
        pa.default_memory_pool().release_unused()


def _read_parquet(body: bytes, columns: Mapping[str, Column], max_rows: int) -> Cells:
    file = pq.ParquetFile(io.BytesIO(body), pre_buffer=False)  # reads in this thread alone
    schema = file.schema_arrow
    names = [name for name in schema.names if name != "__index_level_0__"]
    check_names(columns, names, with_names=False)
    rows, size = _size(file.metadata)
    if rows > max_rows:
        raise _too_many_rows(max_rows)
    index = len(schema.names) - len(names)
    row = sum(kind_of(columns[name]).most_bytes(columns[name]) for name in names) + 64 * index
    unpacked = max(rows, 1) * row + 2**20
    if size > unpacked:
        raise _too_large_unpacked()
    for name in names:
        kind = kind_of(columns[name])
        if not kind.is_arrow_type(schema.field(name).type):
            raise invalid_parameter("type", f"column {name!r} must be of {kind.arrow_types}")
    with memory_limit.at_most(unpacked + READING_BYTES):
        table = file.read(columns=names, use_threads=False)
        return read_columns(columns, _by_name(table), table.num_rows, _read_arrow)


def _read_arrow(name: str, column: Column, cells: pa.ChunkedArray) -> tuple[Vector, list[Fault]]:
    vector, invalid_rows = kind_of(column).read_arrow(column, cells)
    first = invalid_rows[: MOST_FAULTS + 1].tolist()
    return vector, [wrong_kind(row + 1, name, column) for row in first]


def _size(metadata: pq.FileMetaData) -> tuple[int, int]:
    """Returns rows, and bytes unpacked, of the row groups: the file may say otherwise of all."""
    groups = [metadata.row_group(place) for place in range(metadata.num_row_groups)]
    rows = sum(group.num_rows for group in groups)
    return rows, sum(group.total_byte_size for group in groups)


def _too_large_unpacked() -> HTTPError:
    return HTTPError(413, "rows", "the Parquet file is far larger unpacked than its rows can be")


def _too_many_rows(limit: int) -> HTTPError:
    message = f"the request has more than {limit} rows, the most that are allowed"
    return HTTPError(413, "rows", message)
