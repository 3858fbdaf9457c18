"""Reads the bytes of CSV and Parquet files as tables, strictly: no cell is guessed or dropped."""

from __future__ import annotations

import io
import re
from math import nan
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from pipeline.datasets import labels
from pipeline.errors import SourceError

if TYPE_CHECKING:  # the server reads CSV without it
    import pandas as pd

AS_TEXTS = pa.csv.ConvertOptions(
    default_column_type=pa.large_string(),
    null_values=[""],
    strings_can_be_null=True,
    quoted_strings_can_be_null=False,
)
HTML = re.compile(rb"\s*(<!doctype|<html|<\?xml|<head)", re.IGNORECASE)


def read_table(content: bytes, source: str, target: str | None = None) -> pd.DataFrame:
    """The table in the bytes of a CSV or Parquet file. Raises SourceError.

    The cells of CSV are texts, missing where there is nothing between the separators, not even
    quotes; those of `target` become numbers or true and false as `labels.typed` has it.
    """
    if not content.strip():
        raise SourceError(f"data.source {source!r} is empty; it must be a CSV or Parquet file")
    if content.startswith(b"PAR1") or source.lower().endswith((".parquet", ".pq")):
        return _read_parquet(content, source)
    if HTML.match(content[:200]):
        raise SourceError(
            f"data.source {source!r} is an HTML page, not a table; "
            "name the address of the file itself (often behind a 'raw' or 'download' link)"
        )
    return _read_csv(content, source, target)


def _read_parquet(content: bytes, source: str) -> pd.DataFrame:
    try:
        table = pa.parquet.read_table(io.BytesIO(content))
        frame: pd.DataFrame = table.to_pandas(ignore_metadata=True)
    except (pa.ArrowException, OSError) as error:
        raise SourceError(f"data.source {source!r} is not a whole Parquet file: {error}") from None
    return frame


def _read_csv(content: bytes, source: str, target: str | None) -> pd.DataFrame:
    """Every row must have as many cells as the header, which pandas would not insist on."""
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        raise SourceError(
            f"data.source {source!r} is not in UTF-8; save the file as UTF-8"
        ) from None
    try:
        table, ragged = read_csv(content, AS_TEXTS, newlines_in_values=True)
    except pa.ArrowException as error:
        raise SourceError(
            f"data.source {source!r} is not a CSV file with commas: {error}"
        ) from None
    if ragged:
        first = ragged[0]
        line = f"line {first.number}" if first.number else "a line"
        raise SourceError(
            f"data.source {source!r} is ragged: {line} has {first.actual_columns} cells where the "
            f"header has {first.expected_columns}, and {len(ragged) - 1} more lines do not fit. "
            "Every row must have one cell per column; is the file whole?"
        )
    if target is not None and table.column_names.count(target) == 1:
        place = table.column_names.index(target)
        table = table.set_column(place, target, labels.typed(table[target]))
    return _as_frame(table)


def _as_frame(table: pa.Table) -> pd.DataFrame:
    """Texts stay Arrow's: as Python objects each would take some 60 bytes more."""
    import pandas as pd

    texts = pd.StringDtype("pyarrow", na_value=nan)  # the `str` of pandas 3
    frame: pd.DataFrame = table.to_pandas(types_mapper={pa.large_string(): texts}.get)
    return frame


def read_csv(
    content: bytes, convert: pa.csv.ConvertOptions, **parsing: Any
) -> tuple[pa.Table, list[pa.csv.InvalidRow]]:
    """Arrow's table of the rows with one cell per column, and the other rows.

    `parsing` are options of `pa.csv.ParseOptions`. Raises pa.ArrowException.
    """
    ragged: list[pa.csv.InvalidRow] = []

    def skip(row: pa.csv.InvalidRow) -> str:
        ragged.append(row)
        return "skip"

    table = pa.csv.read_csv(
        io.BytesIO(content),
        read_options=pa.csv.ReadOptions(use_threads=False),  # else rows have no numbers
        parse_options=pa.csv.ParseOptions(invalid_row_handler=skip, **parsing),
        convert_options=convert,
    )
    return table, ragged
