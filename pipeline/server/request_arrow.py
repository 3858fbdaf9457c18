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
from pipeline.server import memory
from pipeline.server.refusal import Refusal, invalid, malformed, too_large

NUMBER = r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?"  # of JSON (RFC 8259)
QUOTED = re.compile(  # a cell (RFC 4180); the quote comes first, since that is found quickest
    rb'"(?:(?<=^")|(?<=[,\r\n]"))[^"]*+(?:""[^"]*+)*+"(?=[,\r\n]|\Z)'
)
MOST_EXPANSION = 64  # bytes of a Parquet cell when unpacked: a number takes 8 or 16
ROOM = 64 * 2**20  # bytes that reading any Parquet file may take besides

BYTE_ORDER_MARK = "\ufeff".encode()

Read = tuple[Matrix, list[Fault]]


def read_csv(body: bytes, columns: Mapping[str, Column], most_rows: int) -> Read:
    """A header, then a number as JSON writes it, or nothing, per cell.

    Raises Refusal, ContractError.
    """
    try:
        body.decode("utf-8")
    except UnicodeDecodeError:
        raise malformed("csv", "the body is not in UTF-8") from None
    body = body.removeprefix(BYTE_ORDER_MARK)
    if b'"' in body:
        if b'"' in QUOTED.sub(b"", body):
            raise malformed("csv", "a quote is neither around a whole cell nor doubled within one")
    elif body.count(b"\n") > most_rows + 1:
        raise _too_many_rows(most_rows)
    if body and b"\n" not in body:
        body += b"\n"  # a header alone: no rows
    table = _as_texts(body, columns)
    check_names(dict(columns), table.column_names, with_names=False)
    if table.num_rows > most_rows:
        raise _too_many_rows(most_rows)
    X = np.full((table.num_rows, len(columns)), np.nan)
    faults: list[Fault] = []
    for place, name in enumerate(columns):
        if name in table.column_names:
            X[:, place], own = _numbers(name, table[name])
            faults += own
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
        raise malformed("csv", "the body is not CSV with a header and commas") from None
    if ragged:
        first = ragged[0]
        raise invalid(
            "ragged",
            f"line {first.number} has {first.actual_columns} cells for "
            f"{first.expected_columns} columns",
        )
    return table


def _numbers(name: str, cells: pa.ChunkedArray) -> tuple[Matrix, list[Fault]]:
    if pa.types.is_null(cells.type):
        return np.full(len(cells), np.nan), []
    if not pc.all(pc.match_substring_regex(cells, f"^{NUMBER}$")).as_py():
        return _each(name, cells)
    return pc.cast(cells, pa.float64()).to_numpy(), []


def _each(name: str, cells: pa.ChunkedArray) -> tuple[Matrix, list[Fault]]:
    """Cell by cell, to find those that are no numbers."""
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


def read_parquet(body: bytes, columns: Mapping[str, Column], most_rows: int) -> Read:
    """Integers and floats; its own description is checked before a cell is unpacked.

    The pages may unpack to more than the description says, so they are unpacked within a bound on
    the memory, which goes back to the system afterwards. Raises Refusal, ContractError.
    """
    try:
        return _read_parquet(body, columns, most_rows)
    except MemoryError:
        raise _too_large_unpacked() from None
    except (pa.ArrowException, OSError, ValueError, KeyError):
        raise malformed("parquet", "the body is not a whole Parquet file") from None
    finally:
        pa.default_memory_pool().release_unused()


def _read_parquet(body: bytes, columns: Mapping[str, Column], most_rows: int) -> Read:
    file = pq.ParquetFile(io.BytesIO(body), pre_buffer=False)  # reads in this thread alone
    described = file.schema_arrow
    names = [name for name in described.names if name != "__index_level_0__"]
    check_names(dict(columns), names, with_names=False)
    rows, size = _described(file.metadata)
    if rows > most_rows:
        raise _too_many_rows(most_rows)
    unpacked = max(rows * len(described.names), 1) * MOST_EXPANSION + 2**20
    if size > unpacked:
        raise _too_large_unpacked()
    wrong = [name for name in names if not _is_number(described.field(name).type)]
    if wrong:
        raise invalid("type", f"column {wrong[0]!r} must be of integers or floats")
    with memory.at_most(unpacked + ROOM):
        table = file.read(columns=names, use_threads=False)
        X = np.full((table.num_rows, len(columns)), np.nan)
        faults: list[Fault] = []
        for place, name in enumerate(columns):
            if name in names:
                numbers = table[name].cast(pa.float64(), safe=False)
                X[:, place] = numbers.to_numpy()
                not_numbers = np.flatnonzero(np.isnan(X[:, place]) & numbers.is_valid().to_numpy())
                faults += [not_a_number(row + 1, name) for row in not_numbers[: MOST_FAULTS + 1]]
    return X, faults


def _described(metadata: pq.FileMetaData) -> tuple[int, int]:
    """Rows, and bytes unpacked, by the row groups: of the whole file it may say otherwise."""
    groups = [metadata.row_group(place) for place in range(metadata.num_row_groups)]
    rows = sum(group.num_rows for group in groups)
    return rows, sum(group.total_byte_size for group in groups)


def _too_large_unpacked() -> Refusal:
    return too_large("rows", "the Parquet file is far larger unpacked than its rows can be")


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_null(kind))


def _too_many_rows(most: int) -> Refusal:
    return too_large("rows", f"the request has more than {most} rows, the most that are allowed")
