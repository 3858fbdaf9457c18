"""Cross-validation: folds, out-of-fold predictions and their metrics."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin, clone
from sklearn.model_selection import StratifiedKFold

from pipeline.evaluation import metrics
from pipeline.results import Probabilities
from pipeline.tasks import CLASSIFICATION, Task, TaskName

Fold = tuple[NDArray[np.intp], NDArray[np.intp]]  # places of the training and test rows
SPLITTERS: dict[TaskName, Callable[..., Any]] = {**dict.fromkeys(CLASSIFICATION, StratifiedKFold)}


def make_folds(task: Task, y: "pd.Series[Any]", count: int, seed: int) -> list[Fold]:
    """The shuffled folds of a target; the same for the same seed."""
    splitter = SPLITTERS[task.name](count, shuffle=True, random_state=seed)
    return list(splitter.split(np.zeros(len(y)), y))


def out_of_fold(
    model: ClassifierMixin, X: pd.DataFrame, y: "pd.Series[Any]", folds: list[Fold]
) -> Probabilities:
    """Each row's class probabilities by the clone that was fitted without its fold."""
    predicted = np.empty((len(y), y.nunique()))
    for train, test in folds:
        fitted = clone(model).fit(X.iloc[train], y.iloc[train])
        predicted[test] = fitted.predict_proba(X.iloc[test])
    return predicted


def score(
    y: "pd.Series[Any]",
    probabilities: Probabilities,
    folds: list[Fold],
    positive: int | None,
    thresholds: Sequence[float | None] = (),
) -> tuple[dict[str, float], dict[str, float]]:
    """Mean and standard deviation over the folds of the task's search metrics.

    `thresholds` holds one per fold; without, it is 0.5 where the task has one.
    """
    all_rows = metrics.Predictions(np.unique(y, return_inverse=True)[1], probabilities, positive)
    rows = []
    for (_, test), threshold in zip(folds, thresholds or (None,) * len(folds), strict=True):
        fold = replace(all_rows.where(test), threshold=threshold)
        rows.append({name: metrics.value(name, fold) for name in fold.task.search_metrics})
    table = pd.DataFrame(rows)
    means, spread = (
        {str(name): value for name, value in each.items()} for each in (table.mean(), table.std())
    )
    return means, spread
