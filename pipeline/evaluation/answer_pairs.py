"""Answers of a champion and of its shadow to the same rows: how they differ, as a log has it.

A line of the shadow log holds `ABOUT`, both answers under `FIRST` and `SECOND`, the differences.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from pipeline.schema.contract import Contract
from pipeline.schema.matrix import Vector
from pipeline.tasks import AMOUNT, CLASSIFICATION, TaskName

FIRST, SECOND = "champion", "shadow"  # the columns of the versions, and how those of answers begin
ABOUT = ("request_id", "row", "time", FIRST, SECOND)  # `row` counts from 1 in its request
DIFFERENCE, LABELS_DIFFER, RELATIVE = "difference", "labels_differ", "relative_difference"
Answers = Mapping[str, list[Any]]  # by the columns of the target, a value for each row


class Differences(NamedTuple):
    """How two answers differ, row by row, and as the columns of a log.

    `scaled` lies on one scale for all targets: for classes the largest difference of a probability;
    for amounts the difference over the width of the champion's interval, NaN where it has none.
    """

    scaled: Vector
    columns: dict[str, list[Any]]


def between(task: TaskName, first: Answers, second: Answers) -> Differences:
    """The differences of a champion's answers and a shadow's."""
    return BETWEEN[task](first, second)


def _of_classes(first: Answers, second: Answers) -> Differences:
    names = [name for name in second if name.startswith("probability_")] or ["probability"]
    apart = np.abs(_matrix(first, names) - _matrix(second, names)).max(axis=0, initial=0.0)
    pairs = zip(first["label"], second["label"], strict=True)
    labels_differ = [one != other for one, other in pairs]
    return Differences(apart, {DIFFERENCE: apart.tolist(), LABELS_DIFFER: labels_differ})


def _of_amounts(first: Answers, second: Answers) -> Differences:
    value, low, high = _matrix(first, ["value", "low", "high"])
    apart, width = np.abs(value - _matrix(second, ["value"])[0]), high - low
    relative = np.divide(apart, width, out=np.full_like(apart, np.nan), where=width > 0)
    relative[apart == 0] = 0.0
    return Differences(relative, {DIFFERENCE: apart.tolist(), RELATIVE: relative.tolist()})


BETWEEN: Mapping[TaskName, Callable[[Answers, Answers], Differences]] = {
    **dict.fromkeys(CLASSIFICATION, _of_classes),
    **dict.fromkeys(AMOUNT, _of_amounts),
}


def _matrix(answers: Answers, names: Sequence[str]) -> Vector:
    """Columns x rows; NaN for null."""
    return np.array([answers[name] for name in names], dtype=np.float64)


def why_incomparable(first: Contract, second: Contract) -> str:
    """How the second model takes other requests than the first, or answers another question.

    "" where neither is so.
    """
    for name in dict.fromkeys([*first.columns, *second.columns]):
        if name not in second.columns:
            return f"it has no column {name!r}"
        if name not in first.columns:
            return f"it has the column {name!r}, which the champion has not"
        kinds = second.columns[name].kind, first.columns[name].kind
        if kinds[0] != kinds[1]:
            return f"its column {name!r} is of the kind {kinds[0]}, and the champion's {kinds[1]}"
    for what, there, here in (
        ("predicts", second.task.name, first.task.name),
        ("has the target", second.target, first.target),
        ("has the classes", list(second.classes), list(first.classes)),
        ("has the positive class", second.positive, first.positive),
    ):
        if there != here:
            return f"it {what} {there!r}, and the champion {here!r}"
    return ""
