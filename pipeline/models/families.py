"""The table of model families: how each is built, its search space and its default."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf
from typing import Any

from sklearn.calibration import CalibratedClassifierCV
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import PowerTransformer, SplineTransformer, StandardScaler
from sklearn.svm import SVC

from pipeline.config.ranges import Space, parse
from pipeline.config.tune import Estimator
from pipeline.models import custom
from pipeline.models.encoders import NUMBERS, Features, encoded, impute, native
from pipeline.results import Params
from pipeline.tasks import CLASSIFICATION, Family, TaskName


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
    pipeline[-1].set_params(**rest)
    return pipeline


def plain(features: Features = NUMBERS) -> Pipeline:
    """Logistic regression with scikit-learn's defaults, behind an imputer and a scaler."""
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


def _space(ranges: dict[str, dict[str, list[Any]]]) -> Space:
    return {name: parse(distribution) for name, distribution in ranges.items()}


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
}


def dummy(_: Features = NUMBERS) -> DummyClassifier:
    """The shares of the classes, whatever the row."""
    return DummyClassifier(strategy="prior")


# By task, what a model is held against on the test part.
BASELINES: dict[TaskName, dict[str, Callable[[Features], Any]]] = {
    task: {"dummy": dummy, "tutorial": tutorial} for task in CLASSIFICATION
}
