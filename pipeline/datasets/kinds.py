"""What training asks of the cells of each kind of column: the table KINDS' other half."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from numbers import Real
from types import MappingProxyType
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

NUMBER = (  # what Arrow reads as a double
    r"^[+-]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|(?i:inf|infinity|nan))$"
)
MISSING = pa.array(pa.csv.ConvertOptions().null_values, pa.large_string())  # NA, null, "", ...


@dataclass(frozen=True)
class TableKind:
    """How a column of a table is made ready for the contract's check, and when it is hopeless."""

    read: Callable[["pd.Series[Any]"], "pd.Series[Any]"]
    has_any: Callable[["pd.Series[Any]"], bool]  # whether a cell is of the kind
    plural: str
    remedy: str


def _read_numbers(cells: "pd.Series[Any]") -> "pd.Series[Any]":
    """Texts as doubles, NaN for a usual mark of a missing value; others, unless texts, unchanged.

    Where a text is no number, the cells are objects: that text beside the numbers of the others.
    """
    if not pd.api.types.is_string_dtype(cells):
        return cells
    texts = _arrow_texts(cells)
    try:
        numbers = pc.cast(texts, pa.float64()).to_numpy()
    except pa.ArrowInvalid:
        trimmed = pc.ascii_trim_whitespace(texts)
        trimmed = pc.if_else(pc.is_in(trimmed, value_set=MISSING), None, trimmed)
        is_number = pc.fill_null(pc.match_substring_regex(trimmed, NUMBER), True)  # or is missing
        numbers = pc.cast(pc.if_else(is_number, trimmed, None), pa.float64()).to_numpy()
        if not pc.all(is_number).as_py():
            mixed = pd.Series(numbers, cells.index, dtype=object, name=cells.name)
            return mixed.where(is_number.to_numpy(), cells)
    return pd.Series(numbers, cells.index, name=cells.name)


def _arrow_texts(cells: "pd.Series[Any]") -> pa.ChunkedArray:
    texts = pa.array(cells, pa.large_string(), from_pandas=True)
    return texts if isinstance(texts, pa.ChunkedArray) else pa.chunked_array([texts])


def _has_numbers(cells: "pd.Series[Any]") -> bool:
    types = pd.api.types
    if types.is_object_dtype(cells):
        numbers = (Real, Decimal)
        return any(isinstance(c, numbers) and not isinstance(c, bool) for c in cells.dropna())
    return bool(types.is_numeric_dtype(cells) and not types.is_bool_dtype(cells))


TABLE_KINDS: Mapping[str, TableKind] = MappingProxyType(
    {
        "number": TableKind(
            read=_read_numbers,
            has_any=_has_numbers,
            plural="numbers",
            remedy="write the texts as numbers (yes and no as 1 and 0)",
        )
    }
)
