"""Reads JSON lines with Arrow: one flat object a row, every column of one type."""

import io
import json
from collections.abc import Iterator
from typing import IO

import pyarrow as pa
import pyarrow.json

from pipeline.errors import SourceError

BLOCK = 2**24  # bytes that are parsed at a time
LONGEST = 2**26  # bytes of a line
REMEDY = "write it as JSON lines, CSV or Parquet (pandas: pd.read_json(...).to_parquet(...))"
types = pa.types


def read_typed(file: IO[bytes], what: str) -> pa.Table:
    """The table of all lines; null where a row lacks a key. Raises SourceError."""
    return pa.concat_tables(batches(file, what))


def batches(file: IO[bytes], what: str) -> Iterator[pa.Table]:
    """As `read_typed`, a block of the file at a time; at least one.

    The file is read twice, as a column may be of integers first and of fractions later.
    """
    schema = _schema(file, what)
    yield schema.empty_table()
    for line, block in _blocks(file, what):
        yield _parsed(block, line, what, schema)


def _schema(file: IO[bytes], what: str) -> pa.Schema:
    """The columns in the order in which they come up, texts as texts whatever they write."""
    columns: dict[str, pa.DataType] = {}
    for line, block in _blocks(file, what):
        for field in _parsed(block, line, what).schema:
            kind = pa.string() if types.is_temporal(field.type) else field.type
            if types.is_nested(kind):
                raise SourceError(
                    f"{what} has lists or objects in the column {field.name!r}; each cell must be "
                    "one value: write a column for each (pandas: pd.json_normalize)"
                )
            kind = _common(columns.get(field.name, pa.null()), kind)
            if kind is None:
                raise _mixed(what, f"{field.name!r} is {columns[field.name]}, later {field.type}")
            columns[field.name] = kind
    return pa.schema(columns)


def _common(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    """The type that holds cells of both."""
    if one == other or types.is_null(other):
        return one
    if types.is_null(one):
        return other
    return pa.float64() if {one, other} == {pa.int64(), pa.float64()} else None


def _parsed(block: bytes, line: int, what: str, schema: pa.Schema | None = None) -> pa.Table:
    try:
        table: pa.Table = pa.json.read_json(
            io.BytesIO(block),
            read_options=pa.json.ReadOptions(block_size=len(block) + 1),
            parse_options=pa.json.ParseOptions(explicit_schema=schema),
        )
        table.validate(full=True)  # texts in UTF-8, too
        return table
    except (pa.ArrowException, UnicodeError) as error:
        raise _mistake(block, line, what, error) from None


def _mistake(block: bytes, line: int, what: str, error: Exception) -> SourceError:
    for number, text in enumerate(block.splitlines(), line):
        try:
            is_object = not text.strip() or isinstance(json.loads(text), dict)
        except ValueError:
            is_object = False
        if not is_object:
            return SourceError(
                f"{what} is JSON, but line {number} is no whole object in UTF-8, of which each "
                f"line must hold one; {REMEDY}"
            )
    return _mixed(what, str(error))


def _mixed(what: str, reason: str) -> SourceError:
    return SourceError(
        f"{what} is JSON lines of which a column has more than one type, or is there twice in a "
        f"row ({reason}); write all cells of a column alike"
    )


def _blocks(file: IO[bytes], what: str) -> Iterator[tuple[int, bytes]]:
    """Whole lines, some at a time, with the number of their first."""
    file.seek(0)
    rest, line = b"", 1
    while chunk := file.read(BLOCK):
        lines, newline, tail = chunk.rpartition(b"\n")
        if not newline and len(rest) > LONGEST:
            raise SourceError(f"{what} has a line of more than {LONGEST} bytes; {REMEDY}")
        block, rest = (rest + lines + newline, tail) if newline else (b"", rest + chunk)
        if block.strip():
            yield line, block
        line += block.count(b"\n")
    if rest.strip():
        yield line, rest
