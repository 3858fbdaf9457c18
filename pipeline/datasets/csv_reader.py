"""Reads CSV with Arrow: every cell a text, every row with one cell per column."""

import io
from collections.abc import Callable, Iterator
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from pipeline.config.csv import Csv
from pipeline.datasets import csv_dialect
from pipeline.datasets.csv_dialect import WITH_COMMA, Dialect
from pipeline.errors import SourceError

BLOCK = 2**22  # bytes: the longest row, and the rows that are parsed at a time
AS_TEXTS = pa.csv.ConvertOptions(
    default_column_type=pa.large_string(),
    null_values=[""],
    strings_can_be_null=True,
    quoted_strings_can_be_null=False,
)


class RaggedRows:
    """Arrow's handler of rows that have more or fewer cells than the header."""

    def __init__(self) -> None:
        self.count = 0
        self.first: pa.csv.InvalidRow | None = None

    def __call__(self, row: pa.csv.InvalidRow) -> str:
        """Notes the row, which is skipped."""
        self.count += 1
        self.first = self.first or row
        return "skip"


def read_csv(
    content: bytes, convert: pa.csv.ConvertOptions, **parsing: Any
) -> tuple[pa.Table, RaggedRows]:
    """Arrow's table of the rows with one cell per column, and the other rows, by line number.

    `parsing` are options of `pa.csv.ParseOptions`. Raises pa.ArrowException.
    """
    ragged = RaggedRows()
    table = pa.csv.read_csv(
        io.BytesIO(content),
        read_options=pa.csv.ReadOptions(use_threads=False),  # else rows have no numbers
        parse_options=pa.csv.ParseOptions(invalid_row_handler=ragged, **parsing),
        convert_options=convert,
    )
    return table, ragged


def read_texts(file: IO[bytes], settings: Csv, what: str) -> pa.Table:
    """The table of a CSV file, each cell a text; null where there is nothing, not even quotes.

    `what` names the file in messages. Raises SourceError.
    """
    dialect = csv_dialect.detect(file, settings, what)
    ragged = RaggedRows()
    table = _parsed(pa.csv.read_csv, file, dialect, ragged, what)
    pa.default_memory_pool().release_unused()  # some hundred MiB of a large file
    if ragged.count:
        raise _ragged(file, dialect, ragged.count, what)
    return _with_points(table) if dialect.decimal == "," else table


def batches(file: IO[bytes], settings: Csv, what: str) -> Iterator[pa.Table]:
    """As `read_texts`, some thousand rows at a time. A ragged row is refused when it comes."""
    dialect = csv_dialect.detect(file, settings, what)
    ragged = RaggedRows()
    reader = _parsed(pa.csv.open_csv, file, dialect, ragged, what)
    while True:
        try:
            batch = reader.read_next_batch()
        except StopIteration:
            batch = None
        except (pa.ArrowException, UnicodeError) as error:
            raise _mistake(error, file, dialect, what) from None
        if ragged.count:
            raise _ragged(file, dialect, ragged.count, what)
        if batch is None:
            return
        table = pa.Table.from_batches([batch])
        yield _with_points(table) if dialect.decimal == "," else table


def _parsed(
    parse: Callable[..., Any], file: IO[bytes], dialect: Dialect, ragged: RaggedRows, what: str
) -> Any:
    file.seek(0)
    try:
        return parse(
            pa.PythonFile(file, mode="r"),
            read_options=pa.csv.ReadOptions(
                encoding=dialect.encoding, skip_rows=dialect.skipped_lines, block_size=BLOCK
            ),
            parse_options=pa.csv.ParseOptions(
                delimiter=dialect.separator,
                quote_char=dialect.quote or False,
                newlines_in_values=True,
                invalid_row_handler=ragged,
            ),
            convert_options=AS_TEXTS,
        )
    except (pa.ArrowException, UnicodeError) as error:
        raise _mistake(error, file, dialect, what) from None


def _mistake(error: Exception, file: IO[bytes], dialect: Dialect, what: str) -> SourceError:
    if isinstance(error, UnicodeError) or "UTF8" in str(error):
        reason = error if isinstance(error, UnicodeError) else UnicodeError(str(error))
        return csv_dialect.not_encoded(what, dialect.encoding, reason)
    if "straddling" in str(error):  # a row of more than a block
        return _ragged(file, dialect, 1, what)
    return SourceError(f"{what} cannot be read as CSV: {error}")


def _ragged(file: IO[bytes], dialect: Dialect, count: int, what: str) -> SourceError:
    """The error of so many rows that have not as many cells as the header, by the first."""
    rows = (row for row in csv_dialect.lines_of(file, dialect) if row[1] != [])
    columns = len(next(rows)[1] or [])
    for line, row in rows:
        if row is None:
            return SourceError(
                f"{what} has a quote ({dialect.quote}) in line {line} that seems never to be "
                'closed; close it, or set data.csv.quote to "" where quotes mean nothing'
            )
        if len(row) != columns:
            return SourceError(
                f"{what} is ragged: line {line} has {len(row)} cells where the header has "
                f"{columns}, and {count - 1} more lines do not fit. Every row must have one cell "
                "per column; is the file whole?"
            )
    return SourceError(f"{what} is ragged: {count} rows have not as many cells as the header")


def _with_points(table: pa.Table) -> pa.Table:
    """Decimal points in place of commas, in columns of which every cell with a digit is a number.

    There a point parts thousands, and is left out.
    """
    for place, cells in enumerate(table.columns):
        if not any(pc.any(pc.match_substring(cells, mark)).as_py() for mark in ",."):
            continue  # quick, and enough for integers
        has_digit = pc.match_substring_regex(cells, r"\d")
        if pc.all(pc.match_substring_regex(cells.filter(has_digit), WITH_COMMA)).as_py():
            ungrouped = pc.replace_substring(cells, ".", "")
            points = pc.replace_substring(ungrouped, ",", ".")
            numbers = pc.if_else(has_digit, points, cells)
            table = table.set_column(place, table.schema.field(place), numbers)
    return table
