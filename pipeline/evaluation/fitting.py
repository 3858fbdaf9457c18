"""Fits a model with what its rows carry beside features and target."""

import inspect
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn import config_context
from sklearn.base import BaseEstimator
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import VotingClassifier, VotingRegressor
from sklearn.model_selection import FixedThresholdClassifier, LeaveOneGroupOut
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import TargetEncoder

from pipeline.datasets.splits import Places, group_folds
from pipeline.errors import ConfigError
from pipeline.results import Metadata

NO_METADATA = Metadata()


def fit(model: Any, X: pd.DataFrame, y: "pd.Series[Any]", metadata: Metadata = NO_METADATA) -> Any:
    """The model, fitted.

    Weights go to its classifiers, and not to the steps before them. With groups, the
    cross-validation inside of a calibrated classifier and of an encoder by target keeps them
    together. It does not follow times: it needs each row predicted once, and all its rows are
    training rows. Raises ConfigError for a classifier that takes no weights.
    """
    if metadata.weights is None and metadata.groups is None:
        return model.fit(X, y)
    encoders = _params_of(model, TargetEncoder)
    with ExitStack() as stack:
        if metadata.groups is not None:
            stack.enter_context(_calibrated_by_group(model, y, metadata.groups))
        if metadata.weights is None and not encoders:
            return model.fit(X, y)
        stack.enter_context(config_context(enable_metadata_routing=True))
        params: dict[str, NDArray[Any] | None] = {}
        if metadata.weights is not None:
            _request_weights(model, str(metadata.weights.name))
            params["sample_weight"] = metadata.sample_weight
        if encoders:
            params["groups"] = stack.enter_context(_encoded_by_fold(model, encoders, y, metadata))
        return model.fit(X, y, **params)


def takes_weights(kind: Any) -> bool:
    """Whether the fit of a classifier, or of a class of them, has a `sample_weight`."""
    return "sample_weight" in inspect.signature(kind.fit).parameters


def _request_weights(model: Any, column: str) -> None:
    """Has scikit-learn hand the weights on to each classifier in the model, and to nothing else."""
    if isinstance(model, Pipeline):
        for _, step in model.steps[:-1]:
            for part in (step, *step.get_params().values()):  # a step may hold encoders by column
                if isinstance(part, BaseEstimator) and takes_weights(part):
                    part.set_fit_request(sample_weight=False)
        _request_weights(model[-1], column)
    elif isinstance(model, (VotingClassifier, VotingRegressor)):
        for _, member in model.estimators:
            _request_weights(member, column)
    elif isinstance(model, (FixedThresholdClassifier, TransformedTargetRegressor)):
        _request_weights(_inside(model), column)
    elif takes_weights(model):
        model.set_fit_request(sample_weight=True)
        if isinstance(model, CalibratedClassifierCV):
            _request_weights(model.estimator, column)
    else:
        raise ConfigError(
            f"data.weight is {column!r}, and {type(model).__name__} takes no sample_weight in its "
            "fit; leave it out of tune.families, or unset data.weight"
        )


def _inside(model: FixedThresholdClassifier | TransformedTargetRegressor) -> Any:
    return model.regressor if isinstance(model, TransformedTargetRegressor) else model.estimator


@contextmanager
def _calibrated_by_group(
    model: Any, y: "pd.Series[Any]", groups: "pd.Series[Any]"
) -> Iterator[None]:
    """Sets the folds of each calibrated classifier in the model, meanwhile.

    scikit-learn hands no groups on to them where one curve is fitted to all predictions. The
    fitted model does not keep the places: they would be as many as the training rows.
    """
    within = {f"{name}__": one for name, one in _params_of(model, CalibratedClassifierCV).items()}
    if isinstance(model, CalibratedClassifierCV):
        within[""] = model
    counts = {f"{prefix}cv": one.cv for prefix, one in within.items() if isinstance(one.cv, int)}
    folds: dict[str, list[tuple[Places, Places]]] = {
        name: _inner_folds(y, groups, count) for name, count in counts.items()
    }
    model.set_params(**folds)
    try:
        yield
    finally:
        _reset(model, counts)


@contextmanager
def _encoded_by_fold(
    model: Any, encoders: dict[str, TargetEncoder], y: "pd.Series[Any]", metadata: Metadata
) -> Iterator[NDArray[np.intp]]:
    """Yields the fold of each row, by which the model's target encoders leave out one, meanwhile.

    Once metadata is routed, scikit-learn 1.9 wants groups for them, and other splitters refuse
    them. Without groups the folds are those of an encoder itself, as where nothing is routed.
    """
    splitters = {f"{name}__cv": encoder.cv for name, encoder in encoders.items()}
    splitter = next(iter(splitters.values()))
    folds = (
        splitter.split(y, y)
        if metadata.groups is None
        else _inner_folds(y, metadata.groups, splitter.n_splits)
    )
    fold_of_row = np.empty(len(y), dtype=np.intp)
    for place, (_, test) in enumerate(folds):
        fold_of_row[test] = place
    model.set_params(**dict.fromkeys(splitters, LeaveOneGroupOut()))
    try:
        yield fold_of_row
    finally:
        _reset(model, splitters)


def _inner_folds(
    y: "pd.Series[Any]", groups: "pd.Series[Any]", count: int
) -> list[tuple[Places, Places]]:
    """Folds of whole groups, no more than there are groups; of rows, where there is one group."""
    distinct = int(groups.nunique())
    if distinct == 1:
        return group_folds(y, pd.Series(range(len(y)), y.index), count, seed=0)
    return group_folds(y, groups, min(count, distinct), seed=0)


def _params_of(model: Any, kind: type[Any]) -> dict[str, Any]:
    """The estimators of a class inside a model, by their names among its params."""
    return {name: each for name, each in model.get_params().items() if isinstance(each, kind)}


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
