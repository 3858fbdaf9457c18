"""Cells that are short free texts. They stay texts: of them there is no double."""

from __future__ import annotations

from collections.abc import Iterator
from math import inf, nan
from typing import TYPE_CHECKING, Any

from pipeline.schema import json_schema
from pipeline.schema.columns import TextColumn
from pipeline.schema.kind import NULL_AS_TEXT, Kind, Read, is_text_type
from pipeline.schema.matrix import Vector

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


class Text(Kind[TextColumn]):
    """Texts without the blanks around them; an empty one is a missing value."""

    arrow_types = "texts"
    is_text = True

    def noun(self, column: TextColumn) -> str:
        """With the length that a request may have."""
        return f"a text of at most {column.max_length} characters"

    def reader(self, column: TextColumn) -> Read:
        """Texts alone: a number is none."""
        missing = self._missing(column)

        def read(cell: Any) -> Any:
            if cell is None or (type(cell) is not bool and cell in missing):
                return nan
            if not isinstance(cell, str):
                raise ValueError(f"{type(cell).__name__} is no text")
            text = cell.strip()
            if len(text) > column.max_length:
                raise ValueError("the text is too long")
            return nan if text in missing else text

        return read

    def text_reader(self, column: TextColumn) -> Read:
        """As they are."""
        return self.reader(column)

    def cell(self, column: TextColumn, code: Any) -> str | None:
        """The text itself."""
        return code if isinstance(code, str) else None

    def read_series(self, column: TextColumn, cells: pd.Series[Any]) -> Vector | None:
        """All at once where the type says that they are texts, and none is too long."""
        import pandas as pd

        if not isinstance(cells.dtype, pd.StringDtype):
            return None
        texts = cells.str.strip()
        if (texts.str.len() > column.max_length).any():
            return None
        is_missing = texts.isna() | texts.isin(list(self._missing(column)))
        vector: Vector = texts.astype(object).mask(is_missing, nan).to_numpy()
        return vector

    def bounds(self, column: TextColumn) -> tuple[float, float]:
        """Whatever was read is valid."""
        return -inf, inf

    def json_schema(self, column: TextColumn) -> dict[str, Any]:
        """With its length in characters."""
        valid = {"type": "string", "maxLength": column.max_length}
        return json_schema.cell(valid, column.marks, column.meaning)

    def mlflow_type(self, column: TextColumn) -> str:
        """A text."""
        return "string"

    def valid(self, column: TextColumn) -> str:
        """The length."""
        return f"at most {column.max_length} characters"

    def is_arrow_type(self, kind: pa.DataType) -> bool:
        """Texts, as they are or behind a dictionary, or nothing but nulls."""
        import pyarrow as pa

        return is_text_type(kind.value_type if pa.types.is_dictionary(kind) else kind)

    def invalid_cells(self, column: TextColumn) -> Iterator[Any]:
        """A number, a truth value and a list."""
        yield from (12345.5, True, ["a"])

    def out_of_range(self, column: TextColumn) -> Iterator[str]:
        """A text of one character more."""
        yield "x" * (column.max_length + 1)

    def most_bytes(self, column: TextColumn) -> int:
        """Four of UTF-8 for each character, and a place."""
        return super().most_bytes(column) + 4 * column.max_length

    def reference(self, column: TextColumn, values: Vector) -> float:
        """No text: of texts none is usual, and one of the table's would go along with the model."""
        return nan

    def _missing(self, column: TextColumn) -> tuple[Any, ...]:
        return (*column.marks, NULL_AS_TEXT, "")
