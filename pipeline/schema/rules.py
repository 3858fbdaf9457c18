"""Checks of names, cells and whole matrices: the same for training data, files and requests.

It needs neither MLflow nor the config, and pandas only where a frame is checked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import cycle, zip_longest
from math import nan
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ContractError, nearest
from pipeline.schema.columns import Column
from pipeline.schema.faults import MOST_FAULTS, Fault, contract_error, more
from pipeline.schema.kinds import kind_of, text_columns
from pipeline.schema.matrix import Matrix, Vector

if TYPE_CHECKING:
    import pandas as pd

MOST_NAMED = MOST_FAULTS + 1  # of one column and rule: by one more than are said, there are more
Cells = TypeVar("Cells")  # of one column: a series, a list, an Arrow array


class Rules:
    """The ranges and marks of all columns as arrays: one comparison checks a whole matrix."""

    def __init__(self, columns: Mapping[str, Column]) -> None:
        self.columns = columns
        kinds = [(kind_of(column), column) for column in columns.values()]
        bounds = [kind.bounds(column) for kind, column in kinds]
        marks = [kind.number_marks(column) for kind, column in kinds]
        self.low, self.high = np.array(bounds).T
        # One row for the first mark of each column, one for the second, ...
        self.marks = np.array(list(zip_longest(*marks, fillvalue=nan))).reshape(-1, len(kinds))
        self._whole = np.flatnonzero([kind.is_whole for kind, _ in kinds])
        self._cells = [
            (low, high, of_column) for (low, high), of_column in zip(bounds, marks, strict=True)
        ]
        self.readers = [kind.reader(column) for kind, column in kinds]
        self.plain_types = frozenset.intersection(*(kind.plain_types for kind, _ in kinds))
        self.are_plain = bool(self.plain_types) and not len(self._whole)
        self.are_texts = np.array([kind.is_text for kind, _ in kinds])
        self.dtype = np.dtype(object if self.are_texts.any() else np.float64)

    def numbers(self, X: Matrix) -> Matrix:
        """The matrix as doubles, NaN in place of texts; itself where it has none."""
        if self.dtype != object:
            return X
        return np.where(self.are_texts, np.nan, X).astype(np.float64)

    def apply(self, X: Matrix, faults: Sequence[Fault] = (), with_values: bool = False) -> Matrix:
        """The matrix (rows x columns) with NaN in place of the marks.

        Raises ContractError for the cells that break a rule, and for `faults` from before.
        """
        X, outside = self._without_marks(X)
        if np.count_nonzero(outside) or faults:
            raise contract_error([*faults, *self._faults(X, outside, MOST_NAMED)], with_values)
        return X

    def faults(self, X: Matrix) -> tuple[Matrix, list[Fault]]:
        """What `apply` returns, and every cell that breaks a rule."""
        X, outside = self._without_marks(X)
        return X, list(self._faults(X, outside, None)) if np.count_nonzero(outside) else []

    def _without_marks(self, X: Matrix) -> tuple[Matrix, NDArray[np.bool_]]:
        """The matrix with NaN in place of the marks, and where it breaks a rule."""
        if self.dtype != object:
            return self._without_number_marks(X)
        numbers, outside = self._without_number_marks(self.numbers(X))
        return np.where(self.are_texts, X, numbers.astype(object)), outside

    def _without_number_marks(self, X: Matrix) -> tuple[Matrix, NDArray[np.bool_]]:
        for marks in self.marks:
            marked = marks == X
            if np.count_nonzero(marked):
                X = np.where(marked, np.nan, X)
        outside = (self.low > X) | (self.high < X)  # NaN is neither
        if len(self._whole):
            outside[:, self._whole] |= _have_fraction(X[:, self._whole])
        return X, outside

    def few(self, cells: Sequence[float | None]) -> list[float] | None:
        """As `apply`, for the cells of a few rows of `plain_types`: quicker than calls of NumPy.

        None where a rule is broken, without saying which.
        """
        checked = []
        for cell, (low, high, marks) in zip(cells, cycle(self._cells), strict=False):
            # Python compares an integer with a double exactly, NumPy as two doubles.
            number = nan if cell is None else float(cell)
            if cell is None or number in marks:
                checked.append(nan)
            elif low <= number <= high:
                checked.append(number)
            else:
                return None
        return checked

    def _faults(self, X: Matrix, outside: NDArray[np.bool_], most: int | None) -> Iterator[Fault]:
        """The first of each rule and column, or all."""
        X = self.numbers(X)
        for place, (name, column) in enumerate(self.columns.items()):
            if not outside[:, place].any():
                continue
            kind = kind_of(column)
            cells = X[:, place]
            for wrong, rule, rule_kind in kind.broken_rules(column, cells):
                for row in np.flatnonzero(wrong & outside[:, place])[:most]:
                    yield Fault(
                        int(row) + 1, name, rule, kind.written(column, cells[row]), rule_kind
                    )


def _have_fraction(X: Matrix) -> NDArray[np.bool_]:
    with np.errstate(invalid="ignore"):
        return np.asarray(np.isfinite(X) & (np.trunc(X) != X))


def check(
    columns: Mapping[str, Column], frame: pd.DataFrame, with_values: bool = True
) -> pd.DataFrame:
    """The rows as doubles and texts in the contract's order, NaN where a value is missing.

    Raises ContractError with at most ten sentences; `with_values=False` keeps the caller's
    data out of them.
    """
    return as_frame(columns, to_matrix(Rules(columns), frame, with_values))


def as_frame(columns: Mapping[str, Column], X: Matrix) -> pd.DataFrame:
    """A matrix with the names of its columns, doubles and texts each of their type."""
    import pandas as pd

    frame = pd.DataFrame(X, columns=list(columns))
    if not (texts := text_columns(columns)):
        return frame
    types = dict.fromkeys(columns, "float64") | dict.fromkeys(texts, "str")
    return frame.astype(object).astype(types)


def to_matrix(rules: Rules, frame: pd.DataFrame, with_values: bool = False) -> Matrix:
    """As `check`, without the names."""
    columns = rules.columns
    if list(frame.columns) == list(columns):
        dtypes = set(frame.dtypes)
        if dtypes == {np.dtype(np.float64)} and all(
            kind_of(c).plain_types for c in columns.values()
        ):
            return rules.apply(frame.to_numpy(), with_values=with_values)
    frame = frame.rename(columns=str)
    check_names(columns, list(frame.columns))
    X, faults = read_columns(columns, dict(frame.items()), len(frame), _read_series)
    return rules.apply(X, faults, with_values)


def check_rows(
    rules: Rules, cells: Mapping[str, pd.Series[Any]], rows: int
) -> tuple[Matrix, list[Fault]]:
    """As `to_matrix`, of columns whose rows stand or fall one by one: with every fault.

    The matrix holds NaN where a cell is not of its column's kind. Raises ContractError for
    columns that are missing.
    """
    check_names(rules.columns, list(cells))
    X, faults = read_columns(rules.columns, cells, rows, partial(_read_series, most=None))
    X, broken = rules.faults(X)
    return X, sorted([*faults, *broken])


def decode(columns: Mapping[str, Column], X: pd.DataFrame) -> pd.DataFrame:
    """The cells of JSON that the doubles were read from; numbers stay as they are."""
    kinds = {name: kind_of(column) for name, column in columns.items()}
    decoded = {
        name: [kinds[name].cell(column, code) for code in X[name].tolist()]
        for name, column in columns.items()
        if not kinds[name].plain_types
    }
    return X.assign(**decoded).astype(dict.fromkeys(decoded, object))


def read_columns(
    columns: Mapping[str, Column],
    table: Mapping[Any, Cells],
    rows: int,
    read: Callable[[str, Column, Cells], tuple[Vector, list[Fault]]],
) -> tuple[Matrix, list[Fault]]:
    """The matrix that `read` makes column by column, NaN in those that the table leaves out.

    The cells of a column lie side by side: so they are written, checked and counted faster.
    """
    dtype = object if text_columns(columns) else np.float64
    X = np.full((rows, len(columns)), np.nan, dtype, order="F")
    faults: list[Fault] = []
    for place, (name, column) in enumerate(columns.items()):
        if name in table:
            X[:, place], column_faults = read(name, column, table[name])
            faults += column_faults
    return X, faults


def _read_series(
    name: str, column: Column, cells: pd.Series[Any], most: int | None = MOST_NAMED
) -> tuple[Vector, list[Fault]]:
    vector = kind_of(column).read_series(column, cells)
    if vector is not None:
        return vector, []
    pairs = zip(cells, cells.isna(), strict=True)
    plain = [None if missing else cell for cell, missing in pairs]
    return read_cells(name, column, plain, most=most)


def read_cells(
    name: str,
    column: Column,
    cells: Sequence[Any],
    are_texts: bool = False,
    most: int | None = MOST_NAMED,
) -> tuple[Vector, list[Fault]]:
    """The cells one by one, with a fault for each that is not of the column's kind.

    NaN stands in their place, and where a value is missing. `are_texts` for the cells of CSV.
    After the `most` faults the cells are not looked at.
    """
    kind = kind_of(column)
    read = kind.text_reader(column) if are_texts else kind.reader(column)
    vector = kind.empty(len(cells))
    faults: list[Fault] = []
    for place, cell in enumerate(cells):
        try:
            vector[place] = read(cell)
        except ValueError:
            faults.append(wrong_kind(place + 1, name, column, cell))
            if len(faults) == most:
                break
    return vector, faults


def wrong_kind(row: int, name: str, column: Column, value: Any = None) -> Fault:
    """The fault of a cell that is not of its column's kind, nor missing; rows count from 1."""
    return Fault(row, name, f"must be {kind_of(column).noun(column)}", repr(value)[:40], "type")


def check_names(
    columns: Mapping[str, Column], names: Sequence[str], with_names: bool = True
) -> None:
    """Raises ContractError when a column is unknown, missing or there twice.

    `with_names=False` names a column that the contract does not have by its place.
    """
    counts = Counter(names)
    repeated = sorted(name for name, count in counts.items() if count > 1)
    extra = [name for name in names if name not in columns]
    missing = [n for n, column in columns.items() if n not in counts and not column.optional]
    if not (repeated or extra or missing):
        return

    def quoted(name: str) -> str:
        return repr(name) if with_names or name in columns else f"number {names.index(name) + 1}"

    sentences = [f"column {quoted(name)} is there twice" for name in repeated[:MOST_FAULTS]]
    sentences += [
        f"column {quoted(name)} is not known{nearest(name, missing)}"
        for name in extra[:MOST_FAULTS]
    ]
    sentences += [
        f"column {name!r} is missing{nearest(name, extra[:MOST_FAULTS]) if with_names else ''}"
        for name in missing
    ]
    closing = more(len(repeated) + len(extra) + len(missing))
    expected = f"expected columns: {', '.join(columns)}"
    raise ContractError("\n".join([*sentences[:MOST_FAULTS], *closing, expected]), "columns")
