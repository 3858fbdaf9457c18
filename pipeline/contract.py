"""What a valid row is: one object checks training data, files and requests.

It is plain data, kept as JSON beside the model, and needs neither MLflow nor the config.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from pipeline.columns import Column
from pipeline.errors import ContractError, nearest

MOST_FAULTS = 10


@dataclass(frozen=True, order=True)
class Fault:
    """A rule that one cell broke; rows count from 1, the header not included."""

    row: int
    column: str
    rule: str
    value: str

    def sentence(self, with_value: bool) -> str:
        """The fault for people."""
        got = f" (got {self.value})" if with_value else ""
        return f"row {self.row}, {self.column}: {self.rule}{got}"


class Contract(BaseModel):
    """Columns and classes of a table.

    `classes` are sorted; `positive` is None unless there are exactly two.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int = 1
    columns: dict[str, Column]
    target: str
    classes: tuple[bool | int | str, ...]
    positive: bool | int | str | None

    @property
    def positive_index(self) -> int | None:
        """The column of `predict_proba` that holds the positive class."""
        return None if self.positive is None else self.classes.index(self.positive)


def check(
    columns: dict[str, Column], frame: pd.DataFrame, with_values: bool = True
) -> pd.DataFrame:
    """The rows as doubles in the contract's column order, NaN where a value is missing.

    Raises ContractError with at most ten sentences; `with_values=False` keeps the caller's
    data out of them.
    """
    frame = frame.rename(columns=str)
    _check_names(columns, frame)
    checked: dict[str, NDArray[np.float64]] = {}
    faults: list[Fault] = []
    for name, column in columns.items():
        if name not in frame:
            checked[name] = np.full(len(frame), np.nan)
            continue
        numbers, not_numbers = _to_numbers(name, frame[name])
        faults += not_numbers
        faults += _broken_rules(name, column, numbers)
        checked[name] = _mark_missing(numbers, column.missing)
    if faults:
        raise ContractError(_tell(faults, with_values))
    return pd.DataFrame(checked)


def _check_names(columns: dict[str, Column], frame: pd.DataFrame) -> None:
    names = list(frame.columns)
    twice = sorted({name for name in names if names.count(name) > 1})
    extra = [name for name in names if name not in columns]
    missing = [n for n, column in columns.items() if n not in names and not column.optional]
    told = [f"column {name!r} is there twice" for name in twice]
    told += [f"column {name!r} is not known{nearest(name, missing)}" for name in extra]
    told += [f"column {name!r} is missing{nearest(name, extra)}" for name in missing]
    if told:
        expected = f"expected columns: {', '.join(columns)}"
        raise ContractError("\n".join([*told[:MOST_FAULTS], *_more(len(told)), expected]))


def _to_numbers(name: str, cells: "pd.Series[Any]") -> tuple[NDArray[np.float64], list[Fault]]:
    if pd.api.types.is_numeric_dtype(cells) and not pd.api.types.is_bool_dtype(cells):
        return cells.to_numpy(dtype=np.float64, na_value=np.nan), []
    numbers = np.full(len(cells), np.nan)
    faults: list[Fault] = []
    for place, cell in enumerate(cells):
        if isinstance(cell, (Real, Decimal)) and not isinstance(cell, (bool, np.bool_)):
            numbers[place] = _to_double(cell)
        elif not pd.api.types.is_scalar(cell) or not pd.isna(cell):
            faults.append(Fault(place + 1, name, "must be a number", repr(cell)[:40]))
            if len(faults) > MOST_FAULTS:
                break
    return numbers, faults


def _to_double(number: Real | Decimal) -> float:
    try:
        return float(number)
    except OverflowError:  # an integer of more than 308 digits
        return float("inf")


def _broken_rules(name: str, column: Column, numbers: NDArray[np.float64]) -> Iterator[Fault]:
    low, high = column.range
    unit = f" {column.unit}" if column.unit else ""
    finite = np.isfinite(numbers)
    rules = [(np.isinf(numbers), "must be finite")]
    if low is not None:
        rules.append((finite & (numbers < low), f"must be at least {_digits(low)}{unit}"))
    if high is not None:
        rules.append((finite & (numbers > high), f"must be at most {_digits(high)}{unit}"))
    valid = np.isnan(numbers) if column.missing is None else numbers == column.missing
    for broken, rule in rules:
        for place in np.flatnonzero(broken & ~valid)[: MOST_FAULTS + 1]:
            yield Fault(int(place) + 1, name, rule, _digits(numbers[place]))


def _digits(number: float) -> str:
    return f"{number:.15g}"


def _mark_missing(numbers: NDArray[np.float64], mark: float | None) -> NDArray[np.float64]:
    return numbers if mark is None else np.where(numbers == mark, np.nan, numbers)


def _tell(faults: list[Fault], with_values: bool) -> str:
    told = [fault.sentence(with_values) for fault in sorted(faults)[:MOST_FAULTS]]
    return "\n".join([*told, *_more(len(faults))])


def _more(count: int) -> list[str]:
    return ["and more faults after these"] if count > MOST_FAULTS else []
