"""Cells that are dates or times, read as days since 1970 in UTC."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from math import isnan, nan
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.schema import json_schema
from pipeline.schema.columns import DateColumn
from pipeline.schema.dates import DAY, EPOCH, epoch_days, iso
from pipeline.schema.kind import NULL_AS_TEXT, BrokenRule, Kind, Read, is_text_type, read_missing
from pipeline.schema.matrix import Vector

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

FIRST, LAST = epoch_days("0001-01-02"), epoch_days("9999-12-30")  # whatever the offset


class Date(Kind[DateColumn]):
    """Dates and times as ISO 8601 writes them."""

    arrow_types = "dates, times or texts"

    def noun(self, column: DateColumn) -> str:
        """With an example."""
        return "a date as ISO 8601 writes it, such as 2024-12-31 or 2024-12-31T23:59:00Z"

    def reader(self, column: DateColumn) -> Read:
        """Texts, and what Python and NumPy have for dates."""
        return read_missing(_read_cell, (*column.marks, NULL_AS_TEXT))

    def text_reader(self, column: DateColumn) -> Read:
        """Texts."""
        return self.reader(column)

    def cell(self, column: DateColumn, code: float) -> str | None:
        """As ISO 8601 writes it."""
        return None if isnan(code) else iso(code)

    def read_series(self, column: DateColumn, cells: pd.Series[Any]) -> Vector | None:
        """A column of pandas' times; other types are looked at cell by cell."""
        import pandas as pd

        if not pd.api.types.is_datetime64_any_dtype(cells):
            return None
        utc = cells.dt.tz_localize("UTC") if cells.dt.tz is None else cells
        days = (utc - pd.Timestamp(EPOCH)) / pd.Timedelta(DAY)
        return np.asarray(days, dtype=np.float64)

    def bounds(self, column: DateColumn) -> tuple[float, float]:
        """The range, or all dates that have a year of four digits."""
        low, high = column.range
        return (
            FIRST if low is None else epoch_days(low),
            LAST if high is None else epoch_days(high),
        )

    def broken_rules(self, column: DateColumn, numbers: Vector) -> Iterator[BrokenRule]:
        """Within the range."""
        low, high = self.bounds(column)
        yield numbers < low, f"must not be before {iso(low)}", "range"
        yield numbers > high, f"must not be after {iso(high)}", "range"

    def json_schema(self, column: DateColumn) -> dict[str, Any]:
        """JSON Schema has no order of dates: the range stands in the description."""
        valid = "" if column.range == (None, None) else self.valid(column)
        description = ", ".join(filter(None, [column.meaning, valid]))
        schema = json_schema.cell({"type": "string"}, column.marks, description)
        return {**schema, "examples": ["2024-12-31"]}

    def mlflow_type(self, column: DateColumn) -> str:
        """A text: MLflow's door cannot read CSV with a signature that holds its own type."""
        return "string"

    def valid(self, column: DateColumn) -> str:
        """The range."""
        low, high = column.range
        if low is None and high is None:
            return "any date"
        if low is None or high is None:
            return f"until {high}" if low is None else f"from {low}"
        return f"{low} to {high}"

    def is_arrow_type(self, kind: pa.DataType) -> bool:
        """Dates, times, texts, or nothing but nulls."""
        import pyarrow as pa

        is_date = pa.types.is_date(kind) or pa.types.is_timestamp(kind)
        return is_text_type(kind) or bool(is_date)

    def invalid_cells(self, column: DateColumn) -> Iterator[Any]:
        """A text, a number and a truth value."""
        yield from ("a text", 20241231, True)

    def out_of_range(self, column: DateColumn) -> Iterator[str]:
        """The day before the first and the day after the last."""
        low, high = column.range
        if low is not None and epoch_days(low) > FIRST:
            yield iso(epoch_days(low) - 1)
        if high is not None and epoch_days(high) < LAST:
            yield iso(epoch_days(high) + 1)


def _read_cell(cell: Any) -> float:
    if isinstance(cell, str):
        return epoch_days(cell)
    if isinstance(cell, np.datetime64):
        return (
            nan
            if np.isnat(cell)
            else float((cell - np.datetime64(0, "us")) / np.timedelta64(1, "D"))
        )
    if isinstance(cell, datetime):
        return (cell.replace(tzinfo=cell.tzinfo or UTC) - EPOCH) / DAY
    if isinstance(cell, date):
        return float((cell - EPOCH.date()).days)
    raise ValueError(f"{type(cell).__name__} is no date")
