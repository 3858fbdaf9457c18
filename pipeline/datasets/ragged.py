"""Reads CSV with Arrow, and keeps account of the rows that have not one cell per column."""

import io
from typing import Any

import pyarrow as pa
import pyarrow.csv


def read_csv(
    content: bytes, convert: pa.csv.ConvertOptions, **parsing: Any
) -> tuple[pa.Table, list[pa.csv.InvalidRow]]:
    """The table of the rows that fit, and those that do not. Raises pa.ArrowException."""
    ragged: list[pa.csv.InvalidRow] = []

    def note(row: pa.csv.InvalidRow) -> str:
        ragged.append(row)
        return "skip"

    table = pa.csv.read_csv(
        io.BytesIO(content),
        read_options=pa.csv.ReadOptions(use_threads=False),  # else rows have no numbers
        parse_options=pa.csv.ParseOptions(invalid_row_handler=note, **parsing),
        convert_options=convert,
    )
    return table, ragged
