"""Cross-validation: folds, out-of-fold predictions and their metrics."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.model_selection import StratifiedKFold

from pipeline.datasets.splits import cut_times, group_folds, strata, without_groups_of
from pipeline.errors import ContractError
from pipeline.evaluation import metrics
from pipeline.evaluation.fitting import fit
from pipeline.inference.runtimes import outputs
from pipeline.results import Metadata, Outputs, is_amount
from pipeline.tasks import AMOUNT, CLASSIFICATION, Task, TaskName

NONE = Metadata()
Fold = tuple[NDArray[np.intp], NDArray[np.intp]]  # places of the training and test rows
SPLITTERS: dict[TaskName, Callable[..., Any]] = {  # of strata
    **dict.fromkeys((*CLASSIFICATION, *AMOUNT), StratifiedKFold)
}


def make_folds(
    task: Task, y: "pd.Series[Any]", count: int, seed: int, metadata: Metadata = NONE
) -> list[Fold]:
    """The folds of a target; the same for the same seed. `metadata` is of the same rows.

    By chance and by groups every row is in one test fold. With times each fold is trained on what
    came before it, so the earliest rows are in none (forward chaining); with groups as well, it is
    trained without the groups that it holds. Raises ContractError where the rows do not suffice.
    """
    if metadata.times is not None:
        folds = _by_time(count, metadata.times, metadata.groups)
    elif metadata.groups is not None:
        folds = _by_group(y, count, seed, metadata.groups)
    else:
        splitter = SPLITTERS[task.name](count, shuffle=True, random_state=seed)
        return list(splitter.split(np.zeros(len(y)), strata(y)))
    if not is_amount(y):
        _check_classes(y, folds, metadata)
    return folds


def _by_time(count: int, times: "pd.Series[Any]", groups: "pd.Series[Any] | None") -> list[Fold]:
    try:
        before = cut_times(times.to_numpy(), [(n + 1) / (count + 1) for n in range(count)])
    except ValueError as error:
        raise ContractError(
            f"{count} folds need {count + 1} distinct values of split.time {times.name!r}, and "
            f"{len(times)} rows have {error}: ask for fewer folds, or name a finer column"
        ) from None
    until = [*before[1:], np.ones(len(times), dtype=bool)]
    pairs = [
        (np.flatnonzero(past), np.flatnonzero(here & ~past))
        for past, here in zip(before, until, strict=True)
    ]
    return [without_groups_of(groups, train, test) for train, test in pairs]


def _by_group(y: "pd.Series[Any]", count: int, seed: int, groups: "pd.Series[Any]") -> list[Fold]:
    if groups.nunique() < count:
        raise ContractError(
            f"{count} folds need as many groups of split.group {groups.name!r}, and {len(y)} rows "
            f"have {groups.nunique()}: ask for fewer folds, or add rows of more groups"
        )
    try:
        return group_folds(y, groups, count, seed)
    except ValueError:
        raise ContractError(
            f"{count} folds are more than the {y.value_counts().max()} rows of the largest class: "
            "ask for fewer folds, or add rows"
        ) from None


def _check_classes(y: "pd.Series[Any]", folds: list[Fold], metadata: Metadata) -> None:
    """Raises ContractError for a class without a row in the training side of a fold."""
    by = {"split.time": metadata.times, "split.group": metadata.groups}
    columns = {key: each.name for key, each in by.items() if each is not None}
    cause = " and ".join(f"{key} {name!r}" for key, name in columns.items())
    for place, (train, _) in enumerate(folds, 1):
        absent = sorted(set(y.tolist()) - set(y.iloc[train].tolist()))
        if absent:
            raise ContractError(
                f"fold {place} of {len(folds)} has no row of the class {absent[0]!r} among the "
                f"{len(train)} to train on, by {cause}: ask for fewer folds, add rows of the "
                f"class, or leave {'it' if len(columns) == 1 else 'one of the two settings'} out"
            )


def predicted_rows(folds: list[Fold], rows: int) -> NDArray[np.bool_]:
    """Which rows are in a test fold: all, but with folds by time the earliest."""
    where = np.zeros(rows, dtype=bool)
    for _, test in folds:
        where[test] = True
    return where


def out_of_fold(
    model: Any,
    X: pd.DataFrame,
    y: "pd.Series[Any]",
    folds: list[Fold],
    metadata: Metadata = NONE,
) -> Outputs:
    """Each row's class probabilities, or amount, by the clone that was fitted without its fold.

    NaN for a row that is in no test fold.
    """
    predicted = np.full((len(y), 1 if is_amount(y) else y.nunique()), np.nan)
    for train, test in folds:
        fitted = fit(clone(model), X.iloc[train], y.iloc[train], metadata.where(train))
        predicted[test] = outputs(fitted, X.iloc[test])
    return predicted


def score(
    predictions: metrics.AnyPredictions, folds: list[Fold], thresholds: Sequence[float | None] = ()
) -> tuple[dict[str, float], dict[str, float]]:
    """Mean and standard deviation over the folds of the task's search metrics.

    `predictions` are out of fold; `thresholds` holds one per fold, without it is 0.5 where the
    task has one. A fold on which a metric is not defined does not count for it.
    """
    rows = []
    for (_, test), threshold in zip(folds, thresholds or (None,) * len(folds), strict=True):
        fold = predictions.where(test)
        if threshold is not None:
            fold = replace(fold, threshold=threshold)  # type: ignore[arg-type]  # amounts have none
        rows.append({name: metrics.value(name, fold) for name in fold.task.search_metrics})
    table = pd.DataFrame(rows)
    means, spread = (
        {str(name): value for name, value in each.items()} for each in (table.mean(), table.std())
    )
    return means, spread
