"""The classes that a column of texts names: integers, true and false, or the texts themselves."""

from collections.abc import Sequence
from math import isfinite, nan
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    import pandas as pd

LONGEST_NUMBER = 24  # characters of a double, or of an integer of 64 bits
INTEGERS = range(-(2**63), 2**63)
TRUTHS = ({"true", "false"}, {"True", "False"}, {"TRUE", "FALSE"})


def typed(cells: pa.ChunkedArray) -> pa.ChunkedArray:
    """The cells as numbers or as true and false, where that loses nothing, else as they are.

    Numbers they are if each text is the plain writing of one: `1` and `0.5`, but neither `01` nor
    `1.10` nor `+1`, and not `1` beside `1.0`. So different texts never become one class.
    """
    texts = pc.unique(cells).drop_null().to_pylist()
    if not texts:
        return cells
    if any(set(texts) <= truths for truths in TRUTHS):
        return pc.cast(cells, pa.bool_())
    numbers = _numbers(texts)
    if numbers is None:
        return cells
    are_integers = all(isinstance(number, int) for number in numbers)
    return pc.cast(cells, pa.int64() if are_integers else pa.float64())


def as_texts(cells: "pd.Series[Any]") -> "pd.Series[Any]":
    """Cells of any type as texts, 1.0 as `1`; missing ones stay missing."""
    import pandas as pd

    if pd.api.types.is_float_dtype(cells) and bool((cells.dropna() % 1 == 0).all()):
        cells = cells.astype("Int64")
    if pd.api.types.is_string_dtype(cells):
        return cells
    return cells.astype(pd.StringDtype("pyarrow", na_value=nan))


def _numbers(texts: Sequence[str]) -> list[int | float] | None:
    """What different texts write, if each writes another number, and plainly."""
    numbers = []
    for text in texts:
        number = _number(text)
        if number is None:
            return None
        numbers.append(number)
    return numbers if len(set(numbers)) == len(numbers) else None


def _number(text: str) -> int | float | None:
    if len(text) > LONGEST_NUMBER or not text.isascii():
        return None
    for kind in (int, float):
        try:
            number = kind(text)
        except ValueError:
            continue
        is_held = number in INTEGERS if kind is int else isfinite(number)
        if is_held and str(number) == text:
            return number
    return None
