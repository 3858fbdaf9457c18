"""What a valid row is: one object checks training data, files and requests.

It is plain data, kept as JSON beside the model, and needs neither MLflow nor the config; pandas
only where a frame is checked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import cycle
from math import nan
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from pipeline.errors import ContractError, nearest
from pipeline.schema.columns import Column

if TYPE_CHECKING:
    import pandas as pd

Matrix = NDArray[np.float64]  # rows x columns, in the contract's order
MOST_FAULTS = 10
LARGEST = np.finfo(np.float64).max


@dataclass(frozen=True, order=True)
class Fault:
    """A rule that one cell broke; rows count from 1, the header not included."""

    row: int
    column: str
    rule: str
    value: str
    kind: str = field(default="range", compare=False)  # of the rule: type, finite or range

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


class Rules:
    """The ranges and marks of all columns as arrays: one comparison checks a whole matrix."""

    def __init__(self, columns: dict[str, Column]) -> None:
        self.columns = columns
        lows, highs = zip(*(column.range for column in columns.values()), strict=True)
        self.low = np.array([-LARGEST if low is None else low for low in lows])
        self.high = np.array([LARGEST if high is None else high for high in highs])
        marks = [column.missing for column in columns.values()]
        self.marks = np.array([np.nan if mark is None else mark for mark in marks])
        self._each = [bounds.tolist() for bounds in np.stack([self.low, self.high, self.marks]).T]

    def apply(self, X: Matrix, faults: Sequence[Fault] = (), with_values: bool = False) -> Matrix:
        """The matrix (rows x columns) with NaN in place of the marks.

        Raises ContractError for the cells that break a rule, and for `faults` found before.
        """
        marked = self.marks == X
        if np.count_nonzero(marked):
            X = np.where(marked, np.nan, X)
        outside = (self.low > X) | (self.high < X)  # NaN is neither
        if np.count_nonzero(outside) or faults:
            raise broken([*faults, *self._faults(X, outside)], with_values)
        return X

    def few(self, cells: Sequence[float | None]) -> list[float] | None:
        """As `apply`, for the cells of a few rows: quicker than as many calls of NumPy.

        None where a rule is broken, without saying which.
        """
        checked = []
        for cell, (low, high, mark) in zip(cells, cycle(self._each), strict=False):
            # Python compares an integer with a double exactly, NumPy as two doubles.
            number = nan if cell is None else float(cell)
            if cell is None or number == mark:
                checked.append(nan)
            elif low <= number <= high:
                checked.append(number)
            else:
                return None
        return checked

    def _faults(self, X: Matrix, outside: NDArray[np.bool_]) -> Iterator[Fault]:
        for place, (name, column) in enumerate(self.columns.items()):
            numbers = X[:, place]
            unit = f" {column.unit}" if column.unit else ""
            infinite = np.isinf(numbers)
            rules = [(infinite, "must be finite", "finite")]
            for bound, wrong, word in (
                (column.range[0], numbers < self.low[place], "least"),
                (column.range[1], numbers > self.high[place], "most"),
            ):
                if bound is not None:
                    told = f"must be at {word} {_digits(bound)}{unit}"
                    rules.append((wrong & ~infinite, told, "range"))
            for wrong, rule, kind in rules:
                for row in np.flatnonzero(wrong & outside[:, place])[: MOST_FAULTS + 1]:
                    yield Fault(int(row) + 1, name, rule, _digits(numbers[row]), kind)


def check(
    columns: dict[str, Column], frame: pd.DataFrame, with_values: bool = True
) -> pd.DataFrame:
    """The rows as doubles in the contract's column order, NaN where a value is missing.

    Raises ContractError with at most ten sentences; `with_values=False` keeps the caller's
    data out of them.
    """
    import pandas as pd

    return pd.DataFrame(to_matrix(Rules(columns), frame, with_values), columns=list(columns))


def to_matrix(rules: Rules, frame: pd.DataFrame, with_values: bool = False) -> Matrix:
    """As `check`, without the names."""
    columns = rules.columns
    if list(frame.columns) == list(columns):
        values = frame.to_numpy()
        if values.dtype == np.float64:  # with booleans or texts among them, they would be objects
            return rules.apply(values, with_values=with_values)
    frame = frame.rename(columns=str)
    check_names(columns, list(frame.columns))
    X = np.full((len(frame), len(columns)), np.nan)
    faults: list[Fault] = []
    for place, name in enumerate(columns):
        if name in frame:
            X[:, place], not_numbers = _to_numbers(name, frame[name])
            faults += not_numbers
    return rules.apply(X, faults, with_values)


def check_names(columns: dict[str, Column], names: Sequence[str], with_names: bool = True) -> None:
    """Raises ContractError when a column is unknown, missing or there twice.

    `with_names=False` tells a name that the contract does not have by its place.
    """
    counts = Counter(names)
    twice = sorted(name for name, count in counts.items() if count > 1)
    extra = [name for name in names if name not in columns]
    missing = [n for n, column in columns.items() if n not in counts and not column.optional]
    if not (twice or extra or missing):
        return

    def shown(name: str) -> str:
        return repr(name) if with_names or name in columns else f"number {names.index(name) + 1}"

    told = [f"column {shown(name)} is there twice" for name in twice[:MOST_FAULTS]]
    told += [
        f"column {shown(name)} is not known{nearest(name, missing)}" for name in extra[:MOST_FAULTS]
    ]
    told += [
        f"column {name!r} is missing{nearest(name, extra[:MOST_FAULTS]) if with_names else ''}"
        for name in missing
    ]
    more = _more(len(twice) + len(extra) + len(missing))
    expected = f"expected columns: {', '.join(columns)}"
    raise ContractError("\n".join([*told[:MOST_FAULTS], *more, expected]), "columns")


def _to_numbers(name: str, cells: pd.Series[Any]) -> tuple[Matrix, list[Fault]]:
    import pandas as pd

    if pd.api.types.is_numeric_dtype(cells) and not pd.api.types.is_bool_dtype(cells):
        return cells.to_numpy(dtype=np.float64, na_value=np.nan), []
    numbers = np.full(len(cells), np.nan)
    faults: list[Fault] = []
    for place, cell in enumerate(cells):
        if isinstance(cell, (Real, Decimal)) and not isinstance(cell, (bool, np.bool_)):
            numbers[place] = _to_double(cell)
        elif not pd.api.types.is_scalar(cell) or not pd.isna(cell):
            faults.append(not_a_number(place + 1, name, cell))
            if len(faults) > MOST_FAULTS:
                break
    return numbers, faults


def _to_double(number: Real | Decimal) -> float:
    try:
        return float(number)
    except OverflowError:  # an integer of more than 308 digits
        return float("inf")


def not_a_number(row: int, column: str, value: Any = None) -> Fault:
    """The fault of a cell that holds anything but a number or nothing; rows count from 1."""
    return Fault(row, column, "must be a number", repr(value)[:40], "type")


def _digits(number: float) -> str:
    return f"{number:.15g}"


def broken(faults: list[Fault], with_values: bool = False) -> ContractError:
    """The error of one fault or more: the first ten, a sentence each."""
    faults = sorted(faults)
    told = [fault.sentence(with_values) for fault in faults[:MOST_FAULTS]]
    return ContractError("\n".join([*told, *_more(len(faults))]), faults[0].kind)


def _more(count: int) -> list[str]:
    return ["and more faults after these"] if count > MOST_FAULTS else []
