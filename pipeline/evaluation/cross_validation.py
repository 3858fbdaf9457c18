"""Stratified cross-validation on the training part: folds, predictions, metrics."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin, clone
from sklearn.model_selection import StratifiedKFold

from pipeline.evaluation import metrics
from pipeline.results import Probabilities

Fold = tuple[NDArray[np.intp], NDArray[np.intp]]  # places of the training and test rows


def folds(y: "pd.Series[Any]", count: int, seed: int) -> list[Fold]:
    """The same folds for every trial."""
    splitter = StratifiedKFold(count, shuffle=True, random_state=seed)
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
    thresholds: list[float] | None = None,
) -> tuple[dict[str, float], dict[str, float]]:
    """Mean and standard deviation over the folds of the metrics that a search shows."""
    codes = np.unique(y, return_inverse=True)[1]
    rows = []
    for number, (_, test) in enumerate(folds):
        truth = metrics.Predictions(
            codes[test], probabilities[test], positive, thresholds[number] if thresholds else None
        )
        rows.append({name: metrics.value(name, truth) for name in metrics.SEARCH_METRICS})
    table = pd.DataFrame(rows)
    names = [str(name) for name in table]
    return dict(zip(names, table.mean(), strict=True)), dict(zip(names, table.std(), strict=True))
