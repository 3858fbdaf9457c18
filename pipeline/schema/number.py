"""Cells that are numbers: how they are read as doubles, checked, described and got wrong.

pandas and Arrow are imported where a frame or a file is read: a request in JSON needs neither.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from math import ceil, floor, inf, nan, nextafter
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.schema import json_schema
from pipeline.schema.columns import NumberColumn
from pipeline.schema.kind import BrokenRule, Kind, Read, read_missing
from pipeline.schema.matrix import Vector

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

TEXT = r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?"  # a number of JSON (RFC 8259)
ANY = "any number"
LARGEST = float(np.finfo(np.float64).max)


class Number(Kind[NumberColumn]):
    """Numbers within a range."""

    json_type = "number"
    arrow_types = "integers or floats"
    plain_types = frozenset({int, float, type(None)})  # no subclass: True is no number

    def noun(self, column: NumberColumn) -> str:
        """Any number: the range is a rule of its own."""
        return "a number"

    def reader(self, column: NumberColumn) -> Read:
        """Numbers of Python, of NumPy and of the standard library; True and False are none."""
        return _with_texts(read_cell, column)

    def text_reader(self, column: NumberColumn) -> Read:
        """Numbers as JSON writes them."""
        return _with_texts(read_text, column)

    def cell(self, column: NumberColumn, code: float) -> float | None:
        """The number itself."""
        return None if np.isnan(code) else code

    def read_series(self, column: NumberColumn, cells: pd.Series[Any]) -> Vector | None:
        """None where the type leaves open whether each cell is a number."""
        import pandas as pd

        if pd.api.types.is_numeric_dtype(cells) and not pd.api.types.is_bool_dtype(cells):
            return cells.to_numpy(dtype=np.float64, na_value=np.nan)
        return None

    def read_texts(self, column: NumberColumn, cells: pa.ChunkedArray) -> Vector | None:
        """All cells at once where each is a number as JSON writes it."""
        import pyarrow as pa
        import pyarrow.compute as pc

        if pa.types.is_null(cells.type):
            return np.full(len(cells), np.nan)
        if not pc.all(pc.match_substring_regex(cells, f"^{TEXT}$")).as_py():
            return None
        numbers: Vector = pc.cast(cells, pa.float64()).to_numpy()
        return numbers

    def is_arrow_type(self, kind: pa.DataType) -> bool:
        """Numbers, or nothing but nulls."""
        import pyarrow as pa

        types = pa.types
        return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_null(kind))

    def read_arrow(
        self, column: NumberColumn, cells: pa.ChunkedArray
    ) -> tuple[Vector, NDArray[np.intp]]:
        """Invalid is NaN: a missing value is null, and NaN is none."""
        import pyarrow as pa

        doubles = cells.cast(pa.float64(), safe=False)
        numbers: Vector = doubles.to_numpy()
        return numbers, np.flatnonzero(np.isnan(numbers) & doubles.is_valid().to_numpy())

    def bounds(self, column: NumberColumn) -> tuple[float, float]:
        """The range, or all finite doubles."""
        low, high = column.range
        return -LARGEST if low is None else low, LARGEST if high is None else high

    def number_marks(self, column: NumberColumn) -> tuple[float, ...]:
        """Those that are numbers."""
        return tuple(float(mark) for mark in column.marks if not isinstance(mark, str))

    def broken_rules(self, column: NumberColumn, numbers: Vector) -> Iterator[BrokenRule]:
        """Finite, and within the range."""
        infinite = np.isinf(numbers)
        yield infinite, "must be finite", "finite"
        unit = f" {column.unit}" if column.unit else ""
        low, high = column.range
        if low is not None:
            yield (numbers < low) & ~infinite, f"must be at least {digits(low)}{unit}", "range"
        if high is not None:
            yield (numbers > high) & ~infinite, f"must be at most {digits(high)}{unit}", "range"

    def written(self, column: NumberColumn, code: float) -> str:
        """With the 15 digits that are sure."""
        return digits(code)

    def json_schema(self, column: NumberColumn) -> dict[str, Any]:
        """Its bounds, and the marks beside them."""
        low, high = column.range
        description = ", ".join(filter(None, [column.meaning, column.unit]))
        valid = {"minimum": low, "maximum": high}
        valid = {name: bound for name, bound in valid.items() if bound is not None}
        if column.marks:
            description += f" ({' or '.join(map(_mark, column.marks))}: missing)"
        return json_schema.cell({"type": self.json_type, **valid}, column.marks, description)

    def mlflow_type(self, column: NumberColumn) -> str:
        """Whatever the column held in training: an integer would refuse null."""
        return "double"

    def reference(self, column: NumberColumn, values: Vector) -> float:
        """The median."""
        return float(np.nanmedian(values))

    def holds(self, column: NumberColumn) -> str:
        """Its meaning and its unit."""
        return ", ".join(filter(None, [column.meaning, column.unit])) or self.noun(column)

    def valid(self, column: NumberColumn) -> str:
        """The range."""
        low, high = column.range
        if low is None and high is None:
            return ANY
        if low is None or high is None:
            return f"at most {high:g}" if low is None else f"at least {low:g}"
        return f"{low:g} to {high:g}"

    def invalid_cells(self, column: NumberColumn) -> Iterator[Any]:
        """A text, and a truth value."""
        yield from ("a text", True)

    def out_of_range(self, column: NumberColumn) -> Iterator[float]:
        """The doubles next to the range, outside it; without the marks of a missing value."""
        low, high = column.range
        for bound, away in ((low, -inf), (high, inf)):
            if bound is not None and (outside := self._next(bound, away)) not in column.marks:
                yield outside

    def _next(self, bound: float, away: float) -> float:
        return nextafter(bound, away)


class Integer(Number):
    """Whole numbers within a range."""

    json_type = "integer"
    is_whole = True
    reference = Kind.reference

    def noun(self, column: NumberColumn) -> str:
        """Whole, whatever its type: 3.0 is."""
        return "a whole number"

    def broken_rules(self, column: NumberColumn, numbers: Vector) -> Iterator[BrokenRule]:
        """Whole besides."""
        with np.errstate(invalid="ignore"):
            fraction = np.isfinite(numbers) & (numbers % 1 != 0)
        yield fraction, "must be a whole number", "type"
        yield from super().broken_rules(column, numbers)

    def cell(self, column: NumberColumn, code: float) -> int | None:
        """An integer of Python."""
        return None if np.isnan(code) else int(code)

    def invalid_cells(self, column: NumberColumn) -> Iterator[Any]:
        """A fraction besides."""
        yield from (*super().invalid_cells(column), 0.5)

    def _next(self, bound: float, away: float) -> float:
        return floor(bound) + 1.0 if away > 0 else ceil(bound) - 1.0


def read_cell(cell: Any) -> float:
    """A Python value as a double, NaN for None. Raises ValueError: of True and False too."""
    if cell is None:
        return nan
    if isinstance(cell, (bool, np.bool_)) or not isinstance(cell, (float, int, Real, Decimal)):
        raise ValueError(f"{type(cell).__name__} is no number")
    try:
        return float(cell)
    except OverflowError:  # an integer of more than 308 digits
        return inf


def read_text(text: str | None) -> float:
    """A number as JSON writes it as a double, NaN for None. Raises ValueError for other texts."""
    if text is None:
        return nan
    if not re.fullmatch(TEXT, text):
        raise ValueError("the text is no number as JSON writes it")
    return float(text)


def digits(number: float) -> str:
    """A double with the 15 digits that are sure."""
    return f"{number:.15g}"


def _with_texts(read: Read, column: NumberColumn) -> Read:
    """The reader that takes marks of text as missing; those that are numbers come later."""
    texts = tuple(mark for mark in column.marks if isinstance(mark, str))
    return read_missing(read, texts) if texts else read


def _mark(mark: Any) -> str:
    return repr(mark) if isinstance(mark, str) else f"{mark:g}"
