"""The table of model families: how each is built, its search space and its default."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf
from typing import Any

import numpy as np
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import ElasticNet, LogisticRegression, Ridge
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    PowerTransformer,
    SplineTransformer,
    StandardScaler,
)
from sklearn.svm import SVC, SVR

from pipeline.config.ranges import Space, parse
from pipeline.config.tune import Estimator
from pipeline.models import custom
from pipeline.models.encoders import NUMBERS, Features, encoded, impute, native
from pipeline.results import Params
from pipeline.tasks import AMOUNT, CLASSIFICATION, Family, TaskName


@dataclass(frozen=True)
class ModelFamily:
    """A way to build a pipeline, the space to search, and where to start.

    `build(params, seed, features)` imputes and encodes inside the pipeline, so inside each fold.
    It takes out of the params what is for other steps than the last, which gets the others.
    `most_rows` is where its time or its memory grow out of proportion, None for nowhere.
    """

    build: Callable[[Params, int, Features], Pipeline]
    space: Space
    default: Params
    most_rows: int | None = None


def most_rows(family: Family) -> float:
    """The rows that a family can be fitted on; of the config's estimators that is not known."""
    model = BUILT_IN.get(family)
    return inf if model is None or model.most_rows is None else model.most_rows


def build(
    family: Family,
    params: Params,
    seed: int,
    features: Features = NUMBERS,
    estimators: Mapping[str, Estimator] | None = None,
) -> Pipeline:
    """An unfitted pipeline of a built-in family, or of one of the config's estimators.

    Params that the family does not take itself go to its last step.
    """
    if estimators and family in estimators:
        return custom.build(estimators[family], params, seed, features)
    model = BUILT_IN[family]
    rest = {**model.default, **params}
    pipeline = model.build(rest, seed, features)
    innermost(pipeline).set_params(**rest)
    return pipeline


def innermost(pipeline: Pipeline) -> Any:
    """The estimator at the end of a pipeline, without what transforms its target."""
    last = pipeline[-1]
    return last.regressor if isinstance(last, TransformedTargetRegressor) else last


def plain(features: Features = NUMBERS) -> Pipeline:
    """Logistic or ridge regression with scikit-learn's defaults, behind an imputer and a scaler."""
    if features.is_amount:
        return make_pipeline(*encoded(features, [impute(), StandardScaler()], 0), Ridge())
    return make_pipeline(*encoded(features, [impute(), StandardScaler()], 0), LogisticRegression())


def tutorial(features: Features = NUMBERS) -> Pipeline:
    """The 2020 tutorial's model: logistic regression on the raw columns."""
    return build("raw_logistic_regression", {}, 0, features)


def _logistic_regression(params: Params, seed: int, features: Features) -> Pipeline:
    scale = PowerTransformer() if params.pop("transform") == "power" else StandardScaler()
    steps = encoded(features, [impute(), scale], seed)
    return make_pipeline(*steps, LogisticRegression(max_iter=1000))


def _spline_logistic_regression(params: Params, seed: int, features: Features) -> Pipeline:
    splines = SplineTransformer(
        n_knots=params.pop("n_knots"), knots="quantile", extrapolation="linear"
    )
    steps = encoded(features, [impute(), StandardScaler(), splines], seed)
    return make_pipeline(*steps, LogisticRegression(max_iter=1000))


def _svc(params: Params, seed: int, features: Features) -> Pipeline:
    svc = SVC(kernel="rbf", C=params.pop("C"), gamma=params.pop("gamma"))
    calibrated = CalibratedClassifierCV(svc, ensemble=False, cv=3)
    return make_pipeline(*encoded(features, [impute(), StandardScaler()], seed), calibrated)


def _extra_trees(params: Params, seed: int, features: Features) -> Pipeline:
    trees = ExtraTreesClassifier(n_estimators=100, random_state=seed)
    return make_pipeline(*encoded(features, [impute()], seed), trees)


def _hist_gradient_boosting(params: Params, seed: int, features: Features) -> Pipeline:
    # Missing values go down the branch that lowers the loss, learnt in each fold.
    steps, places = native(features, seed)
    boosting = HistGradientBoostingClassifier(random_state=seed, categorical_features=places)
    return make_pipeline(*steps, boosting)


def _mlp(params: Params, seed: int, features: Features) -> Pipeline:
    network = MLPClassifier(
        hidden_layer_sizes=(params.pop("hidden_units"),),
        activation="tanh",  # smooth: lbfgs comes to rest in tens of steps, with relu hundreds
        solver="lbfgs",  # on small tables better and faster than adam
        tol=1e-3,
        max_iter=500,
        random_state=seed,
    )
    return make_pipeline(*encoded(features, [impute(), StandardScaler()], seed), network)


def _raw_logistic_regression(params: Params, seed: int, features: Features) -> Pipeline:
    zeros = SimpleImputer(strategy="constant", fill_value=0, keep_empty_features=True)
    steps = encoded(features, [zeros], seed)
    return make_pipeline(*steps, LogisticRegression(solver="lbfgs", max_iter=1000))


def _with_target(
    steps: list[Any], regressor: Any, params: Params, is_scaled: bool = True
) -> Pipeline:
    """The regressor behind the steps, on a target that is transformed as `params` says.

    `is_scaled` is for those whose hyperparameters depend on the unit of the target.
    """
    transformers = [*TARGETS[params.pop("target")](), *([StandardScaler()] if is_scaled else [])]
    if not transformers:
        return make_pipeline(*steps, regressor)
    transformer = make_pipeline(*transformers) if len(transformers) > 1 else transformers[0]
    return make_pipeline(
        *steps,
        TransformedTargetRegressor(regressor, transformer=transformer, check_inverse=False),
    )


def _no_transformer() -> list[Any]:
    return []


def _logarithm() -> list[Any]:
    return [FunctionTransformer(np.log, np.exp)]


def _root() -> list[Any]:
    return [FunctionTransformer(np.sqrt, np.square)]


# What becomes of the target. Powers that are fitted (Yeo-Johnson) have no inverse beyond a bound:
# a model that goes past it would answer NaN.
TARGETS: Mapping[str, Callable[[], list[Any]]] = {
    "as_is": _no_transformer,
    "sqrt": _root,
    "log": _logarithm,
}


def _ridge(params: Params, seed: int, features: Features) -> Pipeline:
    scale = PowerTransformer() if params.pop("transform") == "power" else StandardScaler()
    return _with_target(encoded(features, [impute(), scale], seed), Ridge(), params)


def _elastic_net(params: Params, seed: int, features: Features) -> Pipeline:
    scale = PowerTransformer() if params.pop("transform") == "power" else StandardScaler()
    net = ElasticNet(max_iter=5000, tol=1e-3)
    return _with_target(encoded(features, [impute(), scale], seed), net, params)


def _spline_ridge(params: Params, seed: int, features: Features) -> Pipeline:
    splines = SplineTransformer(
        n_knots=params.pop("n_knots"), knots="quantile", extrapolation="linear"
    )
    steps = encoded(features, [impute(), StandardScaler(), splines], seed)
    return _with_target(steps, Ridge(), params)


def _svr(params: Params, seed: int, features: Features) -> Pipeline:
    return _with_target(encoded(features, [impute(), StandardScaler()], seed), SVR(), params)


def _extra_trees_regressor(params: Params, seed: int, features: Features) -> Pipeline:
    trees = ExtraTreesRegressor(n_estimators=100, random_state=seed)
    return _with_target(encoded(features, [impute()], seed), trees, params, is_scaled=False)


def _hist_gradient_boosting_regressor(params: Params, seed: int, features: Features) -> Pipeline:
    steps, places = native(features, seed)
    boosting = HistGradientBoostingRegressor(random_state=seed, categorical_features=places)
    return _with_target(steps, boosting, params, is_scaled=False)


def _mlp_regressor(params: Params, seed: int, features: Features) -> Pipeline:
    network = MLPRegressor(
        hidden_layer_sizes=(params.pop("hidden_units"),),
        activation="tanh",
        solver="lbfgs",
        tol=1e-3,
        max_iter=500,
        random_state=seed,
    )
    return _with_target(encoded(features, [impute(), StandardScaler()], seed), network, params)


def _space(ranges: dict[str, dict[str, list[Any]]]) -> Space:
    return {name: parse(distribution) for name, distribution in ranges.items()}


TARGET: dict[str, list[Any]] = {"choice": list(TARGETS)}
BUILT_IN: dict[Family, ModelFamily] = {
    "logistic_regression": ModelFamily(
        _logistic_regression,
        space=_space(
            {"transform": {"choice": ["standard", "power"]}, "C": {"loguniform": [0.01, 10]}}
        ),
        default={"transform": "power", "C": 0.3},
    ),
    "spline_logistic_regression": ModelFamily(
        _spline_logistic_regression,
        space=_space({"n_knots": {"uniformint": [3, 7]}, "C": {"loguniform": [0.01, 3]}}),
        default={"n_knots": 3, "C": 0.5},
    ),
    "svc": ModelFamily(
        _svc,
        space=_space({"C": {"loguniform": [1, 30]}, "gamma": {"loguniform": [0.001, 0.2]}}),
        default={"C": 3.0, "gamma": 0.02},
        most_rows=10_000,  # 9 s a fit on so many of 20 numbers, and in proportion to the columns
    ),
    "extra_trees": ModelFamily(
        _extra_trees,
        space=_space(
            {"min_samples_leaf": {"uniformint": [2, 15]}, "max_features": {"uniform": [0.3, 1]}}
        ),
        default={"min_samples_leaf": 5, "max_features": 0.6},
        most_rows=100_000,  # a model of 210 MB, and so on with the rows
    ),
    "hist_gradient_boosting": ModelFamily(
        _hist_gradient_boosting,
        space=_space(
            {
                "learning_rate": {"loguniform": [0.03, 0.3]},
                "max_leaf_nodes": {"uniformint": [3, 31]},
                "max_iter": {"uniformint": [30, 200]},
                "l2_regularization": {"loguniform": [1, 30]},
                "max_features": {"uniform": [0.2, 1.0]},
            }
        ),
        default={
            "learning_rate": 0.06,
            "max_leaf_nodes": 7,
            "max_iter": 80,
            "l2_regularization": 10.0,
            "max_features": 0.4,
        },
    ),
    "mlp": ModelFamily(
        _mlp,
        space=_space({"alpha": {"loguniform": [1, 30]}, "hidden_units": {"uniformint": [8, 64]}}),
        default={"alpha": 5.0, "hidden_units": 16},
    ),
    "raw_logistic_regression": ModelFamily(_raw_logistic_regression, space={}, default={}),
    "ridge": ModelFamily(
        _ridge,
        space=_space(
            {
                "target": TARGET,
                "transform": {"choice": ["standard", "power"]},
                "alpha": {"loguniform": [0.1, 300]},
            }
        ),
        default={"target": "as_is", "transform": "power", "alpha": 3.0},
    ),
    "elastic_net": ModelFamily(
        _elastic_net,
        space=_space(
            {
                "target": TARGET,
                "transform": {"choice": ["standard", "power"]},
                "alpha": {"loguniform": [0.001, 0.3]},
                "l1_ratio": {"uniform": [0.05, 1]},
            }
        ),
        default={"target": "as_is", "transform": "standard", "alpha": 0.02, "l1_ratio": 0.5},
    ),
    "spline_ridge": ModelFamily(
        _spline_ridge,
        space=_space(
            {
                "target": TARGET,
                "n_knots": {"uniformint": [3, 7]},
                "alpha": {"loguniform": [0.01, 30]},
            }
        ),
        default={"target": "as_is", "n_knots": 4, "alpha": 1.0},
    ),
    "svr": ModelFamily(
        _svr,
        space=_space(
            {
                "target": TARGET,
                "C": {"loguniform": [0.3, 30]},
                "gamma": {"loguniform": [0.002, 0.2]},
                "epsilon": {"loguniform": [0.03, 0.5]},
            }
        ),
        default={"target": "as_is", "C": 3.0, "gamma": 0.03, "epsilon": 0.1},
        most_rows=10_000,
    ),
    "extra_trees_regressor": ModelFamily(
        _extra_trees_regressor,
        space=_space(
            {
                "target": TARGET,
                "min_samples_leaf": {"uniformint": [1, 8]},
                "max_features": {"uniform": [0.3, 1]},
            }
        ),
        default={"target": "as_is", "min_samples_leaf": 2, "max_features": 0.7},
        most_rows=100_000,
    ),
    "hist_gradient_boosting_regressor": ModelFamily(
        _hist_gradient_boosting_regressor,
        space=_space(
            {
                "target": TARGET,
                "loss": {"choice": ["squared_error", "absolute_error", "poisson", "gamma"]},
                "learning_rate": {"loguniform": [0.03, 0.3]},
                "max_leaf_nodes": {"uniformint": [3, 31]},
                "max_iter": {"uniformint": [50, 400]},
                "l2_regularization": {"loguniform": [0.1, 30]},
                "max_features": {"uniform": [0.2, 1.0]},
            }
        ),
        default={
            "target": "as_is",
            "loss": "squared_error",
            "learning_rate": 0.06,
            "max_leaf_nodes": 10,
            "max_iter": 200,
            "l2_regularization": 3.0,
            "max_features": 0.5,
        },
    ),
    "mlp_regressor": ModelFamily(
        _mlp_regressor,
        space=_space(
            {
                "target": TARGET,
                "alpha": {"loguniform": [0.1, 30]},
                "hidden_units": {"uniformint": [8, 64]},
            }
        ),
        default={"target": "as_is", "alpha": 3.0, "hidden_units": 16},
    ),
}


def dummy(features: Features = NUMBERS) -> DummyClassifier | DummyRegressor:
    """The shares of the classes, or the mean of the amounts, whatever the row."""
    return DummyRegressor() if features.is_amount else DummyClassifier(strategy="prior")


def boosting(features: Features = NUMBERS) -> Pipeline:
    """Histogram gradient boosting with scikit-learn's defaults."""
    steps, places = native(features, 0)
    kinds = (HistGradientBoostingClassifier, HistGradientBoostingRegressor)
    model = kinds[features.is_amount](random_state=0, categorical_features=places)
    return make_pipeline(*steps, model)


# By task, what a model is held against on the test part.
BASELINES: dict[TaskName, dict[str, Callable[[Features], Any]]] = {
    **{task: {"dummy": dummy, "tutorial": tutorial} for task in CLASSIFICATION},
    **{task: {"dummy": dummy, "ridge": plain, "boosting": boosting} for task in AMOUNT},
}
