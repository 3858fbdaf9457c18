from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from pipeline.config.paths import PROJECT
from pipeline.config.ranges import Choice
from pipeline.config.tune import Estimator
from pipeline.models.families import BUILT_IN, build, plain, tutorial
from pipeline.tasks import BINARY, Family

EVERY_FAMILY = pytest.mark.parametrize("family", BINARY.every_family)
# Columns of any scale are what the tutorial's model takes as they are.
MAY_NOT_CONVERGE = pytest.param(
    "raw_logistic_regression",
    marks=pytest.mark.filterwarnings("ignore:lbfgs failed to converge"),
)
AWKWARD = {
    "missing values": lambda rng, n: np.where(rng.random(n) < 0.3, np.nan, rng.normal(size=n)),
    "all missing": lambda rng, n: np.full(n, np.nan),
    "one value": lambda rng, n: np.r_[np.full(n - 1, np.nan), 7.0],
    "constant": lambda rng, n: np.full(n, 7.0),
    "constant zero": lambda rng, n: np.zeros(n),
    "binary": lambda rng, n: rng.integers(0, 2, n).astype(float),
    "nearly constant": lambda rng, n: np.r_[np.ones(n - 1), 2.0],
    "huge": lambda rng, n: rng.normal(1e6, 1e5, n),
}


@pytest.fixture(autouse=True)
def one_thread():
    """On 60 rows threads only cost."""
    with threadpool_limits(1):
        yield


def small_table(columns: tuple[str, ...], classes: int) -> tuple[pd.DataFrame, pd.Series]:
    rng = np.random.default_rng(0)
    y = pd.Series(np.arange(60) % classes)
    signal = pd.DataFrame({"signal": rng.normal(y, 1.0)})
    return signal.assign(**{name: AWKWARD[name](rng, 60) for name in columns}), y


def corner(family: Family, end: int) -> dict[str, Any]:
    """The lowest or highest value of every dimension."""
    return {
        name: (each.options if isinstance(each, Choice) else each.bounds)[end]
        for name, each in BUILT_IN[family].space.items()
    }


@EVERY_FAMILY
def test_default_lies_in_the_space(family):
    model = BUILT_IN[family]
    assert model.default.keys() == model.space.keys()
    for name, distribution in model.space.items():
        assert distribution.contains(model.default[name])


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("column", AWKWARD)
@pytest.mark.parametrize("family", [*BINARY.every_family[:-1], MAY_NOT_CONVERGE])
def test_default_predicts_probabilities_with_an_awkward_column(family, column, classes):
    if (family, column) == ("hist_gradient_boosting", "all missing"):
        pytest.skip("cannot bin a column without a value, which ingest refuses")
    X, y = small_table((column,), classes)
    model = build(family, BUILT_IN[family].default, seed=0).fit(X, y)
    probabilities = model.predict_proba(X)
    assert probabilities.shape == (60, classes)
    assert np.isfinite(probabilities).all()
    assert probabilities.min() >= 0
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    assert (probabilities.argmax(axis=1) == y).mean() > 1 / classes


@pytest.mark.parametrize("end", [0, -1])
@pytest.mark.parametrize("family", [name for name in BINARY.every_family if BUILT_IN[name].space])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")  # ends are extreme
def test_corners_of_the_space_fit(family, end):
    X, y = small_table(("missing values", "constant", "binary"), classes=3)
    predicted = build(family, corner(family, end), seed=0).fit(X, y).predict_proba(X)
    assert np.isfinite(predicted).all()
    np.testing.assert_allclose(predicted.sum(axis=1), 1)


@EVERY_FAMILY
def test_column_that_is_complete_in_training_may_miss_later(family):
    X, y = small_table(("binary",), classes=2)
    model = build(family, BUILT_IN[family].default, seed=0).fit(X, y)
    predicted = model.predict_proba(X.assign(signal=np.nan, binary=np.nan))
    assert np.isfinite(predicted).all()


@EVERY_FAMILY
def test_same_seed_gives_the_same_model_and_another_may_give_another(family):
    X, y = small_table(("missing values",), classes=2)
    first, again, other = (build(family, {}, n).fit(X, y).predict_proba(X) for n in (3, 3, 4))
    assert (first == again).all()
    assert (first != other).any() == (family in ("extra_trees", "hist_gradient_boosting", "mlp"))


@EVERY_FAMILY
def test_build_gives_an_unfitted_pipeline_that_starts_from_the_default(family):
    model = build(family, {}, seed=3)
    assert type(model) is Pipeline
    assert not model.__sklearn_is_fitted__()
    default = build(family, BUILT_IN[family].default, seed=3, estimators=OTHERS)
    assert repr(model.get_params()) == repr(default.get_params())


@pytest.mark.parametrize(
    ("family", "params"),
    [
        ("logistic_regression", {"transform": "power", "C": 0.07}),
        ("spline_logistic_regression", {"n_knots": 5, "C": 0.07}),
        ("extra_trees", {"min_samples_leaf": 9, "max_features": 0.45}),
        ("hist_gradient_boosting", {"learning_rate": 0.11, "max_leaf_nodes": 12, "max_iter": 33}),
        ("mlp", {"alpha": 4.5}),
    ],
)
def test_build_hands_the_params_to_the_steps(family, params):
    default = BUILT_IN[family].default
    built = build(family, default | params, seed=0).get_params()
    for name in params.keys() - {"transform"}:
        assert params[name] in [value for key, value in built.items() if key.endswith(f"__{name}")]
    assert ("powertransformer" in built) is (params.get("transform") == "power")


def test_build_hands_params_to_the_machine_inside_the_calibration_and_to_the_hidden_layer():
    params = {"C": 7.5, "gamma": 0.15, "estimator__shrinking": False}
    inner = build("svc", params, seed=0)[-1].estimator
    assert (inner.C, inner.gamma, inner.shrinking) == (7.5, 0.15, False)
    model = build("mlp", {"alpha": 4.5, "hidden_units": 20}, seed=0)
    assert model[-1].hidden_layer_sizes == (20,)


# Further parameters and other families.


@pytest.mark.parametrize(
    ("family", "params"),
    [
        ("logistic_regression", {"max_iter": 7, "class_weight": "balanced"}),
        ("svc", {"cv": 4, "method": "isotonic", "estimator__kernel": "poly"}),
        ("extra_trees", {"n_estimators": 7, "max_depth": None, "bootstrap": True}),
        ("mlp", {"activation": "relu", "hidden_layer_sizes": [4, 3]}),
    ],
)
def test_params_that_a_family_lacks_go_to_its_last_step(family, params):
    before, changed = (build(family, given, seed=0)[-1].get_params() for given in ({}, params))
    assert {name: changed[name] for name in params} == params
    others = before.keys() - params.keys() - {"estimator"}  # of svc, which is changed itself
    assert {name: changed[name] for name in others} == {name: before[name] for name in others}


def test_params_that_nothing_takes_are_refused():
    with pytest.raises(ValueError, match="Invalid parameter 'depth'"):
        build("extra_trees", {"depth": 3}, seed=0)


OTHERS = {
    "knn": Estimator(
        estimator="sklearn.neighbors.KNeighborsClassifier",
        params={"p": 1, "n_neighbors": 3},
        preprocessing=("scale",),
    ),
    "trees": Estimator(estimator="sklearn.ensemble.ExtraTreesClassifier"),
}


def test_family_of_the_others_is_built_from_the_config():
    model = build("knn", {"n_neighbors": 9}, 5, estimators=OTHERS)
    assert [type(step) for _, step in model.steps] == [StandardScaler, KNeighborsClassifier]
    assert (model[-1].n_neighbors, model[-1].p) == (9, 1)
    assert build("trees", {}, 5, estimators=OTHERS)[-1].random_state == 5


@pytest.mark.parametrize("others", [None, OTHERS], ids=["none", "others"])
def test_family_that_is_nowhere_is_not_built(others):
    with pytest.raises(KeyError, match="boosting"):
        build("boosting", {}, 0, estimators=others)


def test_plain_model_is_scikit_learns_logistic_regression_behind_an_imputer_and_a_scaler():
    imputer, scaler, last = (step for _, step in plain().steps)
    assert (type(imputer), imputer.strategy) == (SimpleImputer, "median")
    assert type(scaler) is StandardScaler
    assert repr(last.get_params()) == repr(LogisticRegression().get_params())


def test_tutorial_model_has_the_tutorials_accuracy():
    table = pd.read_csv(PROJECT / "data" / "pima.csv")
    X, y = table.drop(columns="Outcome"), table["Outcome"]
    X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.3, random_state=1)
    right = (tutorial().fit(X_train, y_train).predict(X_test) == y_test).sum()
    assert (right, len(y_test)) == (181, 231)
