"""Values that may stand for missing ones."""

import re
from collections.abc import Iterator, Sequence

import numpy as np
from scipy.stats import poisson

from pipeline.datasets.checks.finding import Finding, Sample, Vector
from pipeline.schema.coded import Coded
from pipeline.schema.columns import Column, Mark
from pipeline.schema.kinds import kind_of

ALPHA = 0.05  # chance of an alarm in any column of a table whose spikes go on like their tails
HIGH = np.array([float(f"{'9' * nines}{last}") for nines in range(1, 6) for last in (7, 8, 9)])
LOW = np.concatenate([[-1.0, -7.0, -8.0, -9.0], -HIGH])
SPIKE = 0.01  # chance of so many rows with a code at the end of a tail
FEWEST_ROWS = 3  # with a code
FEWEST_VALUES = 5  # others in a column that measures something
NEIGHBOURS = 20  # of the values next to a code, by whose distances its own is judged
EMPTY = 1 / 3  # of the way from zero to the 5 % quantile, in which no number lies
CODE = r"[A-Z]{1,5}"
MAGNITUDES = 20  # of the 95 % quantile over the 5 % quantile
TEXTS = frozenset(
    [
        *("", "?", "??", "-", "--", "---", ".", "..", "*", "n/a", "#n/a", "na", "nan", "null"),
        *("unknown", "missing", "not available", "not known", "not applicable"),
        *("#div/0!", "#value!", "#ref!", "#num!", "#name?"),
    ]
)


def marks_in_numbers(sample: Sample) -> Iterator[Finding]:
    """Codes such as 999 and -1, and zeros, apart from all other numbers of a column."""
    alpha = ALPHA / max(len(sample.measures), 1)
    for name in sample.measures:
        values = sample.values(name)
        values = np.sort(values[np.isfinite(values)])
        codes = [*_codes_below(values, alpha), *[-one for one in _codes_above(values, alpha)]]
        others = values[~np.isin(values, codes)]
        if _zero_is_impossible(others, alpha):
            codes.append(0.0)
            others = others[others != 0]
        if codes:
            marks = [int(code) for code in codes]
            rows = len(values) - len(others)
            yield _finding(sample, name, marks, rows, f"{others[0]:.6g} to {others[-1]:.6g}")


def marks_in_texts(sample: Sample) -> Iterator[Finding]:
    """Levels that say that nothing is known; NA among codes such as EU may be another region."""
    for name, column in sample.columns.items():
        kind = kind_of(column)
        if not isinstance(kind, Coded):
            continue
        levels = kind.values(column)
        marks = [one for one in levels if str(one).strip().lower() in TEXTS]
        if all(re.fullmatch(CODE, str(level)) for level in levels):
            continue
        rows = int(np.isin(sample.values(name), [levels.index(mark) for mark in marks]).sum())
        if rows and len(marks) < len(levels):
            others = [str(level) for level in levels if level not in marks]
            yield _finding(sample, name, marks, rows, ", ".join(others[:FEWEST_VALUES]))


def _finding(sample: Sample, name: str, marks: Sequence[Mark], rows: int, others: str) -> Finding:
    them = ", ".join(map(repr, marks))
    return Finding(
        f"{name}: {them} in {rows} of {len(sample.y)} rows looks like a mark of a missing value "
        f"beside the others ({others})",
        columns={name: _marked(sample, name, marks)},
    )


def _marked(sample: Sample, name: str, marks: Sequence[Mark]) -> Column:
    """The column's setting with more marks, which are no levels then."""
    column = sample.setting(name)
    every = (*column.marks, *marks)
    changes = {"missing": every[0] if len(every) == 1 else every}
    levels = getattr(column, "levels", None)
    if levels is not None:
        changes["levels"] = tuple(level for level in levels if level not in marks)
    return column.model_copy(update=changes)


def _codes_below(values: Vector, alpha: float, codes: Vector = LOW) -> list[float]:
    """Codes at the lower end of sorted values that lie apart from the other ones."""
    end = np.isin(values, codes)
    others = values[np.argmin(end) :] if len(values) and not end.all() else values[:0]
    ends, counts = np.unique(values[: len(values) - len(others)], return_counts=True)
    return [
        float(code)
        for code, rows in zip(ends, counts, strict=True)
        if rows >= FEWEST_ROWS
        and (_p_value(code, others) < alpha or _is_only_negative(code, rows, others))
    ]


def _codes_above(values: Vector, alpha: float) -> list[float]:
    """The same at the upper end; the codes are negated."""
    return _codes_below(-values[::-1], alpha, -HIGH)


def _zero_is_impossible(values: Vector, alpha: float) -> bool:
    """Whether zeros lie apart from the other numbers, which are positive and the most.

    Numbers of many magnitudes, such as amounts of money, may well have zeros among them.
    """
    others = values[values != 0]
    zeros = len(values) - len(others)
    if not FEWEST_ROWS <= zeros <= len(others) or others[0] < 0:
        return False
    low, high = np.quantile(others, [0.05, 0.95])
    is_far = others[0] > EMPTY * low and high < MAGNITUDES * low
    return bool(is_far and _p_value(0.0, others) < alpha)


def _p_value(code: float, others: Vector) -> float:
    """The chance of so long a way from a code up to sorted others, if they came as near as they do.

    Where the density is even at the end, the first of k + 1 distances is to the mean of the others
    as an F(2, 2k) variable. A distance counts as one step of the others' grid at least.
    """
    different = np.unique(others)
    if len(different) < FEWEST_VALUES:
        return 1.0
    tail = others[: NEIGHBOURS + 1]
    distances = len(tail) - 1
    even = (tail[-1] - tail[0]) / distances
    step = float(np.median(np.diff(different[: max(2, len(np.unique(tail)))])))
    return float((1 + (others[0] - code) / max(even, step) / distances) ** -distances)


def _is_only_negative(code: float, count: int, others: Vector) -> bool:
    """Whether a code is the one negative number beside whole ones, and does not end their tail.

    It ends their tail if there the counts rise from one number to the next, and it is no more than
    goes on from the next two: of a log-concave distribution, the square of one over the other.
    """
    values, counts = np.unique(others, return_counts=True)
    if not -10 < code < 0 or len(values) < FEWEST_VALUES or values[0] < 0 or (values % 1).any():
        return False
    tail = counts[0] ** 2 / counts[1]
    return bool(counts[0] >= counts[1] or poisson.sf(count - 1, tail) < SPIKE)
