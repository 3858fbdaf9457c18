"""Cells that are numbers: how they are read as doubles, checked, described and got wrong.

pandas and Arrow are imported where a frame or a file is read: a request in JSON needs neither.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from math import inf, nan, nextafter
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.schema.columns import Column
from pipeline.schema.matrix import Vector

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

TEXT = r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?"  # a number of JSON (RFC 8259)
LARGEST = float(np.finfo(np.float64).max)


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


def read_series(cells: pd.Series[Any]) -> Vector | None:
    """A column of pandas; None where its type leaves open whether each cell is a number."""
    import pandas as pd

    if pd.api.types.is_numeric_dtype(cells) and not pd.api.types.is_bool_dtype(cells):
        return cells.to_numpy(dtype=np.float64, na_value=np.nan)
    return None


def read_texts(cells: pa.ChunkedArray) -> Vector | None:
    """A column of Arrow's texts, as `read_text` reads each; None where one is no number."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_null(cells.type):
        return np.full(len(cells), np.nan)
    if not pc.all(pc.match_substring_regex(cells, f"^{TEXT}$")).as_py():
        return None
    numbers: Vector = pc.cast(cells, pa.float64()).to_numpy()
    return numbers


def is_arrow_type(kind: pa.DataType) -> bool:
    """Whether an Arrow column of the type holds numbers, or nothing but nulls."""
    import pyarrow as pa

    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_null(kind))


def read_arrow(cells: pa.ChunkedArray) -> tuple[Vector, NDArray[np.intp]]:
    """A column of such a type, and the places of NaN: a missing value is null, and NaN is none."""
    import pyarrow as pa

    doubles = cells.cast(pa.float64(), safe=False)
    numbers: Vector = doubles.to_numpy()
    return numbers, np.flatnonzero(np.isnan(numbers) & doubles.is_valid().to_numpy())


def bounds(column: Column) -> tuple[float, float, float]:
    """The smallest and the largest valid number, and the mark of a missing value (NaN for none)."""
    low, high = column.range
    return (
        -LARGEST if low is None else low,
        LARGEST if high is None else high,
        nan if column.missing is None else column.missing,
    )


def broken_rules(column: Column, numbers: Vector) -> Iterator[tuple[NDArray[np.bool_], str, str]]:
    """For each rule, the rows that break it, its sentence and its kind (finite or range)."""
    infinite = np.isinf(numbers)
    yield infinite, "must be finite", "finite"
    unit = f" {column.unit}" if column.unit else ""
    low, high = column.range
    if low is not None:
        yield (numbers < low) & ~infinite, f"must be at least {digits(low)}{unit}", "range"
    if high is not None:
        yield (numbers > high) & ~infinite, f"must be at most {digits(high)}{unit}", "range"


def digits(number: float) -> str:
    """A double with the 15 digits that are sure."""
    return f"{number:.15g}"


def json_schema(column: Column) -> dict[str, Any]:
    """The schema of a cell in JSON Schema's words (OpenAPI 3.1)."""
    low, high = column.range
    description = ", ".join(filter(None, [column.meaning, column.unit]))
    valid = {"minimum": low, "maximum": high}
    valid = {name: bound for name, bound in valid.items() if bound is not None}
    if column.missing is None:
        return {"type": ["number", "null"], "description": description, **valid}
    return {
        "type": ["number", "null"],
        "description": f"{description} ({column.missing:g}: missing)",
        "anyOf": [{"type": "number", **valid}, {"enum": [column.missing, None]}],
    }


def describe(column: Column) -> tuple[str, str, str]:
    """For people: what the column holds, which numbers are valid, and the mark of a missing one."""
    holds = ", ".join(filter(None, [column.meaning, column.unit])) or "a number"
    mark = "" if column.missing is None else f"{column.missing:g}"
    return holds, _range(*column.range), mark


def _range(low: float | None, high: float | None) -> str:
    if low is None and high is None:
        return "any number"
    if low is None or high is None:
        return f"at most {high:g}" if low is None else f"at least {low:g}"
    return f"{low:g} to {high:g}"


def out_of_range(column: Column) -> Iterator[float]:
    """The doubles next to the range, outside it; without the mark of a missing value."""
    low, high = column.range
    for bound, away in ((low, -inf), (high, inf)):
        if bound is not None and nextafter(bound, away) != column.missing:
            yield nextafter(bound, away)
