"""What training asks of the cells of each kind of column: the table KINDS' other half."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from numbers import Real
from types import MappingProxyType
from typing import Any

import pandas as pd


@dataclass(frozen=True)
class TableKind:
    """How a column of a table is made ready for the contract's check, and when it is hopeless."""

    read: Callable[["pd.Series[Any]"], "pd.Series[Any]"]
    has_any: Callable[["pd.Series[Any]"], bool]  # whether a cell is of the kind
    plural: str
    remedy: str


def _read_numbers(cells: "pd.Series[Any]") -> "pd.Series[Any]":
    """One text in a column makes all its cells text: those that are numbers become so again."""
    if not pd.api.types.is_string_dtype(cells):
        return cells
    numbers = pd.to_numeric(cells, errors="coerce")
    return numbers.astype(object).where(numbers.notna(), cells)


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
