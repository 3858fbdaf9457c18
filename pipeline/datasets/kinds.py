"""What training asks of the cells of each kind of column: the table KINDS' other half."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from numbers import Real
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
from numpy.typing import NDArray

from pipeline.schema.columns import CategoryColumn, Column, DateColumn, TextColumn

Cells: TypeAlias = "pd.Series[Any]"
NUMBER = (  # what Arrow reads as a double
    r"^[+-]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|(?i:inf|infinity|nan))$"
)
MISSING = pa.csv.ConvertOptions().null_values  # NA, null, "", ...
TRUTHS = {"true": True, "false": False, "1": True, "0": False}


@dataclass(frozen=True)
class TableKind:
    """How a column of a table is made ready for the contract's check, and when it is hopeless.

    `read` makes cells of the kind of those that a file writes otherwise, and missing ones of the
    column's marks. `learn` completes the column from all cells and the places of training rows.
    """

    read: Callable[[Cells, Any], Cells]
    has_any: Callable[[Cells], bool]  # whether a cell is of the kind
    plural: str
    remedy: str
    learn: Callable[[Any, Cells, NDArray[np.intp]], Column] = lambda column, *_: column


def _without_marks(cells: Cells, column: Column) -> Cells:
    """Missing where the column's marks are."""
    return cells.mask(cells.isin(list(column.marks))) if column.marks else cells


def _read_numbers(cells: Cells, column: Column) -> Cells:
    """Texts as doubles, NaN for a usual mark of a missing value; others, unless texts, unchanged.

    Where a text is no number, the cells are objects: that text beside the numbers of the others.
    """
    if not pd.api.types.is_string_dtype(cells):
        return cells
    texts = _arrow_texts(cells)
    if not _text_marks(column):  # a mark such as "inf" could be cast
        with suppress(pa.ArrowInvalid):
            return pd.Series(pc.cast(texts, pa.float64()).to_numpy(), cells.index, name=cells.name)
    trimmed = _trimmed(texts, column)
    is_number = pc.fill_null(pc.match_substring_regex(trimmed, NUMBER), True)  # or is missing
    numbers = pc.cast(pc.if_else(is_number, trimmed, None), pa.float64()).to_numpy()
    if pc.all(is_number).as_py():
        return pd.Series(numbers, cells.index, name=cells.name)
    mixed = pd.Series(numbers, cells.index, dtype=object, name=cells.name)
    return mixed.where(is_number.to_numpy(), cells)


def _text_marks(column: Column) -> list[str]:
    return [mark for mark in column.marks if isinstance(mark, str)]


def _arrow_texts(cells: Cells) -> pa.ChunkedArray:
    texts = pa.array(cells, pa.large_string(), from_pandas=True)
    return texts if isinstance(texts, pa.ChunkedArray) else pa.chunked_array([texts])


def _trimmed(texts: pa.ChunkedArray, column: Column) -> pa.ChunkedArray:
    """Texts without blanks around them, null where a value is missing."""
    texts = pc.ascii_trim_whitespace(texts)
    missing = pa.array([*MISSING, *_text_marks(column)], pa.large_string())
    return pc.if_else(pc.is_in(texts, value_set=missing), None, texts)


def _read_from_texts(cells: Cells, column: Column) -> Cells:
    """As `_trimmed`, where the cells are texts; else without the column's marks."""
    if not pd.api.types.is_string_dtype(cells):
        return _without_marks(cells, column)
    texts = _trimmed(_arrow_texts(cells), column).to_pandas()
    return pd.Series(texts, name=cells.name).set_axis(cells.index)


def _has_numbers(cells: Cells) -> bool:
    types = pd.api.types
    if types.is_object_dtype(cells):
        numbers = (Real, Decimal)
        return any(isinstance(c, numbers) and not isinstance(c, bool) for c in cells.dropna())
    return bool(types.is_numeric_dtype(cells) and not types.is_bool_dtype(cells))


def _read_truths(cells: Cells, column: Column) -> Cells:
    """Texts, and 1 and 0, as true and false."""
    cells = _read_from_texts(cells, column)
    if pd.api.types.is_bool_dtype(cells):
        return cells.astype("boolean")
    truths = {value: _truth(value) for value in cells.dropna().unique().tolist()}
    return _or_cells(cells.map(truths).astype("boolean"), cells)


def _or_cells(read: Cells, cells: Cells) -> Cells:
    """What was read, with the cells themselves where that failed: the check names those."""
    is_read = read.notna() | cells.isna()
    return read if is_read.all() else read.astype(object).where(is_read, cells)


def _truth(value: Any) -> bool | None:
    if isinstance(value, str):
        return TRUTHS.get(value.lower())
    return bool(value) if value in (0, 1) else None


def _has_truths(cells: Cells) -> bool:
    return any(_truth(value) is not None for value in cells.dropna().unique().tolist())


def _read_levels(cells: Cells, column: Column) -> Cells:
    """Texts without blanks around them; whole numbers stay, and other cells as they are written."""
    types = pd.api.types
    if types.is_string_dtype(cells) and not types.is_object_dtype(cells):
        return _without_marks(cells.str.strip(), column)
    if isinstance(cells.dtype, pd.CategoricalDtype):
        cells = cells.astype(cells.cat.categories.dtype)
    if types.is_numeric_dtype(cells) and not types.is_bool_dtype(cells):
        cells = _without_marks(cells, column)
        if bool((cells.dropna() % 1 == 0).all()):
            return cells
    texts = cells.map(_as_text, na_action="ignore").astype("str")
    return _without_marks(texts, column)


def _as_text(cell: Any) -> str:
    return str(cell).lower() if isinstance(cell, (bool, np.bool_)) else str(cell).strip()


def _learn_levels(column: CategoryColumn, cells: Cells, train: NDArray[np.intp]) -> CategoryColumn:
    """The column with the training part's values as levels, where none are declared.

    Where others are refused, those of the whole table: or it would be refused itself.
    """
    if column.levels is not None:
        return column
    learnt = cells if column.unseen == "refuse" else cells.iloc[train]
    values = learnt.dropna().unique().tolist()
    levels = sorted(value if isinstance(value, str) else int(value) for value in values)
    return column.model_copy(update={"levels": tuple(levels)})


def _has_levels(_: Cells) -> bool:
    return True


def _read_dates(cells: Cells, column: DateColumn) -> Cells:
    """Texts by the column's format or ISO 8601; times as they are in UTC."""
    if pd.api.types.is_datetime64_any_dtype(cells):
        return cells if cells.dt.tz is None else cells.dt.tz_convert("UTC").dt.tz_localize(None)
    cells = _read_from_texts(cells, column)
    if pd.api.types.is_numeric_dtype(cells) and not cells.isna().all():
        return cells  # 20241231 is no date, and no number of nanoseconds
    read = pd.to_datetime(cells, format=column.format or "ISO8601", utc=True, errors="coerce")
    return _or_cells(read.dt.tz_localize(None).astype("datetime64[us]"), cells)


def _has_dates(cells: Cells) -> bool:
    if pd.api.types.is_datetime64_any_dtype(cells):
        return True
    return any(not isinstance(cell, (str, Real)) for cell in cells.dropna())


def _read_free_texts(cells: Cells, column: TextColumn) -> Cells:
    """Texts without blanks around them; an empty one is missing, and NA is a text."""
    if isinstance(cells.dtype, pd.CategoricalDtype):
        cells = cells.astype(cells.cat.categories.dtype)
    if not pd.api.types.is_string_dtype(cells):
        return cells  # numbers are no texts: the check names them
    texts = cells.str.strip()
    return _without_marks(texts.mask(texts == ""), column)


def _has_texts(cells: Cells) -> bool:
    return any(isinstance(cell, str) for cell in cells.dropna())


_NUMBERS = TableKind(
    read=_read_numbers,
    has_any=_has_numbers,
    plural="numbers",
    remedy="write the texts as numbers (yes and no as 1 and 0)",
)
TABLE_KINDS: Mapping[str, TableKind] = MappingProxyType(
    {
        "number": _NUMBERS,
        "integer": _NUMBERS,
        "boolean": TableKind(
            read=_read_truths,
            has_any=_has_truths,
            plural="true or false",
            remedy="write the cells as true and false, or give the columns the kind category",
        ),
        "category": TableKind(
            read=_read_levels,
            has_any=_has_levels,
            plural="categories",
            remedy="",
            learn=_learn_levels,
        ),
        "ordinal": TableKind(read=_read_levels, has_any=_has_levels, plural="levels", remedy=""),
        "date": TableKind(
            read=_read_dates,
            has_any=_has_dates,
            plural="dates",
            remedy="give the columns their format (%d.%m.%Y), or write the dates as 2024-12-31",
        ),
        "text": TableKind(
            read=_read_free_texts,
            has_any=_has_texts,
            plural="texts",
            remedy="give the columns the kind of what they hold",
        ),
    }
)
