"""Fits a model with what its rows carry beside features and target."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pandas as pd
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import VotingClassifier
from sklearn.model_selection import FixedThresholdClassifier

from pipeline.datasets.splits import Places, group_folds
from pipeline.results import Metadata

NO_METADATA = Metadata()


def fit(model: Any, X: pd.DataFrame, y: "pd.Series[Any]", metadata: Metadata = NO_METADATA) -> Any:
    """The model, fitted.

    With groups, the cross-validation inside of a calibrated classifier keeps them together. It does
    not follow times: it needs each row predicted once, and all its rows are training rows.
    """
    if metadata.groups is None:
        return model.fit(X, y)
    with _calibrated_by_group(model, y, metadata.groups):
        return model.fit(X, y)


@contextmanager
def _calibrated_by_group(
    model: Any, y: "pd.Series[Any]", groups: "pd.Series[Any]"
) -> Iterator[None]:
    """Sets the folds of each calibrated classifier in the model, meanwhile.

    scikit-learn hands no groups on to them where one curve is fitted to all predictions. The
    fitted model does not keep the places: they would be as many as the training rows.
    """
    params = model.get_params().items()
    within = {
        f"{name}__": each for name, each in params if isinstance(each, CalibratedClassifierCV)
    }
    if isinstance(model, CalibratedClassifierCV):
        within[""] = model
    counts = {f"{prefix}cv": one.cv for prefix, one in within.items() if isinstance(one.cv, int)}
    folds: dict[str, list[tuple[Places, Places]]] = {
        name: group_folds(y, groups, count, seed=0) for name, count in counts.items()
    }
    model.set_params(**folds)
    try:
        yield
    finally:
        _reset(model, counts)


def _reset(model: Any, params: dict[str, Any]) -> None:
    """Sets the params of a model, and of the fitted clones in it, that it has."""
    model.set_params(**params)
    if isinstance(model, FixedThresholdClassifier) and hasattr(model, "estimator_"):
        inner = {name.removeprefix("estimator__"): value for name, value in params.items()}
        _reset(model.estimator_, inner)
    if isinstance(model, VotingClassifier) and hasattr(model, "estimators_"):
        for (name, _), fitted in zip(model.estimators, model.estimators_, strict=True):
            prefix = f"{name}__"
            inner = {n.removeprefix(prefix): v for n, v in params.items() if n.startswith(prefix)}
            _reset(fitted, inner)
