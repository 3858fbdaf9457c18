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

from pipeline.config.load import PROJECT
from pipeline.config.sections import BUILT_IN, Estimator, Family
from pipeline.models import families as models

EVERY_FAMILY = BUILT_IN
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
    told = pd.DataFrame({"told": rng.normal(y, 1.0)})
    return told.assign(**{name: AWKWARD[name](rng, 60) for name in columns}), y


def corner(family: Family, end: int) -> dict[str, Any]:
    """The lowest or highest value of every dimension."""
    space = models.MODELS[family].space
    return {name: next(iter(dimension.values()))[end] for name, dimension in space.items()}


def test_every_family_of_the_config_is_in_the_table():
    assert set(models.MODELS) == set(EVERY_FAMILY)


@pytest.mark.parametrize("family", EVERY_FAMILY)
def test_default_lies_in_the_space(family):
    model = models.MODELS[family]
    assert set(model.default) == set(model.space)
    for name, dimension in model.space.items():
        ((distribution, bounds),) = dimension.items()
        value = model.default[name]
        if distribution == "choice":
            assert value in bounds
        else:
            assert bounds[0] <= value <= bounds[1]
        if distribution == "uniformint":
            assert isinstance(value, int)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("column", AWKWARD)
@pytest.mark.parametrize("family", [*EVERY_FAMILY[:-1], MAY_NOT_CONVERGE])
def test_default_predicts_probabilities_with_an_awkward_column(family, column, classes):
    if (family, column) == ("hist_gradient_boosting", "all missing"):
        pytest.skip("cannot bin a column without a value, which ingest refuses")
    X, y = small_table((column,), classes)
    model = models.build(family, models.MODELS[family].default, seed=0).fit(X, y)
    found = model.predict_proba(X)
    assert found.shape == (60, classes)
    assert np.isfinite(found).all()
    assert found.min() >= 0
    np.testing.assert_allclose(found.sum(axis=1), 1)
    assert (found.argmax(axis=1) == y).mean() > 1 / classes


@pytest.mark.parametrize("end", [0, -1])
@pytest.mark.parametrize("family", [name for name in EVERY_FAMILY if models.MODELS[name].space])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")  # ends are extreme
def test_corners_of_the_space_fit(family, end):
    X, y = small_table(("missing values", "constant", "binary"), classes=3)
    found = models.build(family, corner(family, end), seed=0).fit(X, y).predict_proba(X)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found.sum(axis=1), 1)


@pytest.mark.parametrize("family", EVERY_FAMILY)
def test_column_that_is_complete_in_training_may_miss_later(family):
    X, y = small_table(("binary",), classes=2)
    model = models.build(family, models.MODELS[family].default, seed=0).fit(X, y)
    found = model.predict_proba(X.assign(told=np.nan, binary=np.nan))
    assert np.isfinite(found).all()


@pytest.mark.parametrize("family", EVERY_FAMILY)
def test_same_seed_gives_the_same_model(family):
    X, y = small_table(("missing values",), classes=2)
    first, again = (
        models.build(family, models.MODELS[family].default, seed=3).fit(X, y).predict_proba(X)
        for _ in range(2)
    )
    assert (first == again).all()


@pytest.mark.parametrize("family", ["extra_trees", "mlp"])
def test_another_seed_gives_another_model(family):
    X, y = small_table(("missing values",), classes=2)
    first, other = (
        models.build(family, models.MODELS[family].default, seed).fit(X, y).predict_proba(X)
        for seed in (3, 4)
    )
    assert (first != other).any()


@pytest.mark.parametrize("family", EVERY_FAMILY)
def test_build_hands_out_an_unfitted_scikit_learn_pipeline(family):
    model = models.build(family, models.MODELS[family].default, seed=0)
    assert type(model) is Pipeline
    assert not model.__sklearn_is_fitted__()


@pytest.mark.parametrize(
    ("family", "params"),
    [
        ("logistic_regression", {"transform": "power", "C": 0.07}),
        ("spline_logistic_regression", {"n_knots": 5, "C": 0.07}),
        ("extra_trees", {"min_samples_leaf": 9, "max_features": 0.45}),
        (
            "hist_gradient_boosting",
            {
                "learning_rate": 0.11,
                "max_leaf_nodes": 12,
                "max_iter": 33,
                "l2_regularization": 4.5,
            },
        ),
        ("mlp", {"alpha": 4.5}),
    ],
)
def test_build_hands_the_params_to_the_steps(family, params):
    default = models.MODELS[family].default
    built = models.build(family, default | params, seed=0).get_params()
    for name in params.keys() - {"transform"}:
        assert params[name] in [value for key, value in built.items() if key.endswith(f"__{name}")]
    assert ("powertransformer" in built) is (params.get("transform") == "power")


def test_build_hands_the_params_to_the_machine_inside_the_calibration():
    model = models.build("svc", {"C": 7.5, "gamma": 0.15}, seed=0)
    inner = model[-1].estimator
    assert (inner.C, inner.gamma) == (7.5, 0.15)


def test_build_hands_the_hidden_units_to_the_one_hidden_layer():
    model = models.build("mlp", {"alpha": 4.5, "hidden_units": 20}, seed=0)
    assert model[-1].hidden_layer_sizes == (20,)


# Further parameters and other families.


@pytest.mark.parametrize(
    ("family", "params"),
    [
        ("logistic_regression", {"max_iter": 7, "class_weight": "balanced"}),
        ("spline_logistic_regression", {"tol": 0.125}),
        ("svc", {"cv": 4, "method": "isotonic", "estimator__kernel": "poly"}),
        ("extra_trees", {"n_estimators": 7, "max_depth": None, "bootstrap": True}),
        ("hist_gradient_boosting", {"min_samples_leaf": 7, "early_stopping": False}),
        ("mlp", {"activation": "relu", "hidden_layer_sizes": [4, 3]}),
        ("raw_logistic_regression", {"C": 0.125}),
    ],
)
def test_params_that_a_family_lacks_go_to_its_last_step(family, params):
    plain, changed = (
        models.build(family, given, seed=0)[-1].get_params() for given in ({}, params)
    )
    assert {name: changed[name] for name in params} == params
    kept = plain.keys() - params.keys() - {"estimator"}  # of svc, which is changed itself
    assert {name: changed[name] for name in kept} == {name: plain[name] for name in kept}


@pytest.mark.parametrize("family", EVERY_FAMILY)
def test_family_starts_from_its_default_where_the_params_are_silent(family):
    silent = models.build(family, {}, seed=3)
    default = models.build(family, models.MODELS[family].default, seed=3)
    assert repr(silent.get_params()) == repr(default.get_params())


def test_params_of_a_family_go_on_beside_further_ones():
    params = {"C": 7.5, "estimator__shrinking": False}
    inner = models.build("svc", params, seed=0)[-1].estimator
    assert (inner.C, inner.gamma, inner.shrinking) == (7.5, 0.02, False)


def test_params_that_nothing_knows_are_refused():
    with pytest.raises(ValueError, match="Invalid parameter 'depth'"):
        models.build("extra_trees", {"depth": 3}, seed=0)


def test_model_with_further_params_predicts_probabilities():
    X, y = small_table(("missing values",), classes=3)
    model = models.build("extra_trees", {"n_estimators": 5, "max_depth": 2}, seed=0).fit(X, y)
    assert len(model[-1].estimators_) == 5
    np.testing.assert_allclose(model.predict_proba(X).sum(axis=1), 1)


OTHERS = {
    "knn": Estimator(
        estimator="sklearn.neighbors.KNeighborsClassifier",
        params={"p": 1, "n_neighbors": 3},
        preprocessing=("scale",),
    ),
    "bayes": Estimator(estimator="sklearn.naive_bayes.GaussianNB"),
    "trees": Estimator(estimator="sklearn.ensemble.ExtraTreesClassifier"),
}


def test_family_of_the_others_is_built_from_the_config():
    model = models.build("knn", {"n_neighbors": 9}, 5, OTHERS)
    assert [type(step) for _, step in model.steps] == [StandardScaler, KNeighborsClassifier]
    assert (model[-1].n_neighbors, model[-1].p) == (9, 1)
    assert models.build("trees", {}, 5, OTHERS)[-1].random_state == 5


@pytest.mark.parametrize("family", EVERY_FAMILY)
def test_family_of_the_table_is_built_beside_others(family):
    alone, beside = (models.build(family, {}, 5, others) for others in (None, OTHERS))
    assert repr(alone.get_params()) == repr(beside.get_params())


@pytest.mark.parametrize("others", [None, {}, OTHERS], ids=["none", "no others", "others"])
def test_family_that_is_nowhere_is_not_built(others):
    with pytest.raises(KeyError, match="boosting"):
        models.build("boosting", {}, 0, others)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("family", ["bayes", "trees"])
def test_family_of_the_others_predicts_probabilities(family, classes):
    X, y = small_table(("missing values", "binary"), classes)
    found = models.build(family, {}, 0, OTHERS).fit(X, y).predict_proba(X)
    assert found.shape == (60, classes)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    assert (found.argmax(axis=1) == y).mean() > 1 / classes


def test_plain_model_is_scikit_learns_logistic_regression_behind_an_imputer_and_a_scaler():
    model = models.plain()
    assert [type(step) for _, step in model.steps] == [
        SimpleImputer,
        StandardScaler,
        LogisticRegression,
    ]
    assert model[0].strategy == "median"
    assert repr(model[-1].get_params()) == repr(LogisticRegression().get_params())
    assert not model.__sklearn_is_fitted__()


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("column", AWKWARD)
def test_plain_model_predicts_probabilities_with_an_awkward_column(column, classes):
    X, y = small_table((column,), classes)
    found = models.plain().fit(X, y).predict_proba(X)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    assert (found.argmax(axis=1) == y).mean() > 1 / classes


def test_tutorial_model_has_the_tutorials_accuracy():
    table = pd.read_csv(PROJECT / "data" / "pima.csv")
    X, y = table.drop(columns="Outcome"), table["Outcome"]
    X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.3, random_state=1)
    right = (models.tutorial().fit(X_train, y_train).predict(X_test) == y_test).sum()
    assert (right, len(y_test)) == (181, 231)
