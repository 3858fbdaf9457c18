"""Graphs against the classifiers that they were made of: the same probabilities."""

import numpy as np
import onnx
import pandas as pd
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import (
    ExtraTreesClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, PowerTransformer, SplineTransformer
from sklearn.svm import SVC

from pipeline.export.onnx_graph import TranslationError, translate
from pipeline.inference.runtimes import CHUNK, DIFFICULTY, of_graph, outputs
from pipeline.models import families as models
from pipeline.models.encoders import Features
from pipeline.models.intervals import fit_intervals
from pipeline.results import Metadata
from pipeline.tasks import BINARY, REGRESSION
from tests.support.builders import make_dataset

CLOSE = 1e-9
PARAMS = {
    "logistic_regression": [{}, {"transform": "standard"}, {"transform": "power", "C": 0.01}],
    "spline_logistic_regression": [{}, {"n_knots": 5, "C": 3.0}, {"n_knots": 7}],
    "svc": [{}, {"C": 30.0, "gamma": 0.2}],
    "extra_trees": [{}, {"min_samples_leaf": 2, "max_features": 1.0, "n_estimators": 7}],
    "hist_gradient_boosting": [{"max_iter": 30}, {"max_iter": 20, "max_leaf_nodes": 31}],
    "mlp": [{}, {"hidden_units": 8, "alpha": 1.0}, {"activation": "relu", "max_iter": 2000}],
    "raw_logistic_regression": [{}, {"C": 0.1}],
}
CASES = [(family, params) for family, choices in PARAMS.items() for params in choices]
TWO, THREE = ((0, 1), 1), (("a", "b", "c"), None)


@pytest.fixture(scope="module")
def two():
    return make_dataset(*TWO)


@pytest.fixture(scope="module")
def three():
    return make_dataset(*THREE, rows=150)


def some_rows(X, count=400, beyond=1.0):
    """By turns values of X, shuffled, and any within their range or beyond; some are missing."""
    rng = np.random.default_rng(0)
    low, high = np.nanmin(X, axis=0), np.nanmax(X, axis=0)
    wide = beyond * (high - low + 1)
    rows = rng.uniform(low - wide, high + wide, (count, X.shape[1]))
    shuffled = np.column_stack([rng.choice(column, count) for column in X.T])
    rows[::2] = shuffled[::2]
    rows[rng.random(rows.shape) < 0.15] = np.nan
    return rows


def compile_(model, columns):
    return of_graph(translate(model, columns).SerializeToString())


def check_equal(model, frame, *more, beyond=1.0):
    """On the rows that it was fitted on, on others, one at a time, in chunks, and on none."""
    X = frame.to_numpy()
    predict = compile_(model, X.shape[1])
    few = some_rows(X, 20, beyond)
    for rows in (X, some_rows(X, 2 * CHUNK + 1, beyond), few, *more):
        expected = outputs(model, pd.DataFrame(rows, columns=list(frame)))
        given = [predict(rows)]
        if rows is few:
            given.append(np.concatenate([predict(row[None]) for row in few]))
        atol = CLOSE * (1.0 if hasattr(model, "classes_") else np.abs(expected).mean())
        for one in given:
            np.testing.assert_allclose(one, expected, rtol=CLOSE, atol=atol)
    assert predict(X[:0]).shape == (0, expected.shape[1])


# The built-in families.


def test_every_built_in_family_is_among_the_cases():
    assert list(PARAMS) == list(BINARY.every_family)


@pytest.mark.parametrize(("family", "params"), CASES, ids=str)
def test_family_answers_as_scikit_learn(two, three, family, params):
    for dataset in (two, three):
        model = models.build(family, params, 0).fit(dataset.X_train, dataset.y_train)
        check_equal(model, dataset.X_train)


AMOUNTS = {
    "ridge": [{}, {"transform": "standard", "target": "log"}],
    "elastic_net": [{}, {"transform": "power", "target": "sqrt"}],
    "spline_ridge": [{}, {"n_knots": 6, "target": "log"}],
    "svr": [{}, {"target": "sqrt"}],
    "extra_trees_regressor": [{"n_estimators": 9}, {"n_estimators": 9, "target": "log"}],
    "hist_gradient_boosting_regressor": [
        {"max_iter": 30, "loss": loss} for loss in ("squared_error", "absolute_error", "poisson")
    ]
    + [{"max_iter": 30, "loss": "gamma", "target": "sqrt"}],
    "mlp_regressor": [{}, {"target": "log"}],
}


@pytest.fixture(scope="module")
def amounts():
    return make_dataset(None, None)


def with_difficulty(model, dataset):
    """The fitted model with one of its errors, as training leaves it."""
    X, y = dataset.X_train, dataset.y_train
    errors = (y - model.fit(X, y).predict(X)).to_numpy() + np.linspace(-1, 1, len(y))
    fitted = fit_intervals(X, errors, Metadata(), Features.of(dataset.contract), 0)
    setattr(model, DIFFICULTY, fitted.difficulty)
    return model


def test_every_built_in_family_of_amounts_is_among_the_cases():
    assert list(AMOUNTS) == list(REGRESSION.every_family)


@pytest.mark.parametrize(
    ("family", "params"),
    [(name, each) for name, several in AMOUNTS.items() for each in several],
    ids=str,
)
def test_amounts_and_their_difficulties_are_as_scikit_learns(amounts, family, params):
    check_equal(with_difficulty(models.build(family, params, 0), amounts), amounts.X_train)


def test_blend_of_all_families_of_amounts_answers_as_scikit_learn(amounts):
    members = [(name, models.build(name, several[-1], 0)) for name, several in AMOUNTS.items()]
    voting = VotingRegressor(members, weights=[1, 2, 3, 1, 4, 1, 2])

    check_equal(with_difficulty(voting, amounts), amounts.X_train)


def blend(families, **options):
    members = [(name, models.build(name, PARAMS[name][0], 0)) for name in families]
    return VotingClassifier(members, voting="soft", **options)


@pytest.mark.parametrize(
    ("labels", "weights"),
    [
        (TWO, None),
        (TWO, [1, 2, 0, 3, 1, 1, 4]),
        (THREE, None),
        (THREE, [3, 1, 2, 0, 1, 1, 2]),
    ],
)
def test_blend_of_all_families_answers_as_scikit_learn(labels, weights):
    dataset = make_dataset(*labels, rows=150)
    model = blend(PARAMS, weights=weights).fit(dataset.X_train, dataset.y_train)

    check_equal(model, dataset.X_train)


@pytest.mark.parametrize("labels", [(0, 1), ("no", "yes"), (False, True)])
@pytest.mark.parametrize("place", [0, 1])
def test_threshold_around_a_model_leaves_its_probabilities(labels, place):
    dataset = make_dataset(labels, labels[place])
    model = FixedThresholdClassifier(
        blend(["logistic_regression", "extra_trees"], weights=[1, 3]),
        threshold=0.3,
        pos_label=labels[place],
        response_method="predict_proba",
    ).fit(dataset.X_train, dataset.y_train)

    check_equal(model, dataset.X_train)


def test_members_of_a_blend_share_their_preprocessing(two):
    families = ["logistic_regression", "spline_logistic_regression", "svc", "mlp"]

    def imputers(names):
        model = blend(names).fit(two.X_train, two.y_train)
        nodes = translate(model, two.X_train.shape[1]).graph.node
        return sum(node.op_type == "IsNaN" for node in nodes)

    assert imputers(families[:1]) == imputers(families) == 1


# Awkward tables.


def awkward(rows=90):
    """A constant column, one with a single other value, ties, giants, dwarfs, and far from 0."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame(
        {
            "constant": np.full(rows, 3.7),
            "once": np.r_[5.0, np.zeros(rows - 1)],
            "counts": rng.poisson(0.7, rows).astype(float),
            "giant": rng.normal(size=rows) * 1e9,
            "dwarf": rng.normal(size=rows) * 1e-5,
            "far": rng.normal(size=rows) + 1e5,
        }
    )
    y = (X["counts"] + X["giant"] / 1e9 + rng.normal(size=rows) > 0.7).astype(int)
    return X, y


@pytest.mark.parametrize("family", BINARY.every_family)
def test_family_on_an_awkward_table(family):
    X, y = awkward()
    model = models.build(family, PARAMS[family][0], 0)

    check_equal(model.fit(X, y), X, beyond=0.0)


TIED = {
    "at the low end": np.r_[np.zeros(60), np.linspace(1, 5, 40)],
    "at the high end": np.r_[np.linspace(-5, -1, 40), np.zeros(60)],
    "in the midst": np.r_[np.linspace(-5, -1, 25), np.zeros(50), np.linspace(1, 5, 25)],
    "at both ends": np.r_[np.zeros(45), np.linspace(1, 2, 10), np.full(45, 3.0)],
    "of three values": np.r_[np.zeros(30), np.ones(40), np.full(30, 2.0)],
    "of one value": np.zeros(100),
}


@pytest.mark.parametrize("n_knots", [3, 5, 7])
@pytest.mark.parametrize("tied", TIED)
def test_splines_with_ties_in_their_quantiles(tied, n_knots):
    """Knots coincide there, and beyond the last of them scikit-learn takes no part of some."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"tied": TIED[tied], "other": rng.normal(size=100)})
    y = (X["tied"] + 2 * X["other"] + rng.normal(size=100) > X["tied"].median()).astype(int)
    model = models.build("spline_logistic_regression", {"n_knots": n_knots, "C": 3.0}, 0).fit(X, y)
    places = np.unique(TIED[tied])
    beside = np.concatenate([places, np.nextafter(places, -9), np.nextafter(places, 9)])

    check_equal(model, X, np.column_stack([beside, np.zeros(len(beside))]))


@pytest.mark.parametrize("lambdas", [[0, 2, 1], [-3.5, 5, 0.5], [1e-20, 2 - 1e-3, 1e-3]])
@pytest.mark.parametrize("standardize", [True, False])
def test_yeo_johnson_with_every_kind_of_exponent(lambdas, standardize):
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(50, 3)), columns=list("abc"))
    model = make_pipeline(
        SimpleImputer(), PowerTransformer(standardize=standardize), LogisticRegression()
    ).fit(X, X["a"] > 0)
    model[1].lambdas_ = np.array(lambdas, dtype=float)

    check_equal(model, X, np.array([[0.0, -0.0, 0.0], [-1e-12, 1e-12, -1e-12]]))


# Trees.


TREES = [
    ExtraTreesClassifier(10, random_state=0),
    RandomForestClassifier(10, random_state=0),
    HistGradientBoostingClassifier(max_iter=10, random_state=0),
]


@pytest.mark.parametrize("share", [0.0, 0.3])
@pytest.mark.parametrize("labels", [2, 3])
@pytest.mark.parametrize("trees", TREES, ids=lambda trees: type(trees).__name__)
def test_trees_send_missing_values_where_they_learnt_to(trees, labels, share):
    """Also where none was missing while they learnt."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 3))
    y = np.digitize(X[:, 0] + X[:, 1] * X[:, 2], np.linspace(-0.5, 0.5, labels - 1))
    X[rng.random(X.shape) < share] = np.nan
    frame = pd.DataFrame(X, columns=list("abc"))

    check_equal(trees.fit(frame, y), frame, np.full((1, 3), np.nan))


def test_boosting_splits_missing_values_from_all_others():
    """Such a split lies at infinity."""
    X = pd.DataFrame({"a": np.where(np.arange(200) % 2, np.nan, np.linspace(-1, 1, 200))})
    model = HistGradientBoostingClassifier(max_iter=3).fit(X, np.arange(200) % 2)
    splits = [node["num_threshold"] for node in model._predictors[0][0].nodes]

    assert np.inf in splits
    check_equal(model, X, np.array([[1.79e308], [-1.79e308]]))


@pytest.mark.parametrize("labels", [TWO, THREE])
@pytest.mark.parametrize(
    ("family", "params"),
    [
        ("extra_trees", {"min_samples_leaf": 1000}),
        ("hist_gradient_boosting", {"min_samples_leaf": 1000, "max_iter": 3}),
        ("extra_trees", {"min_samples_leaf": 40, "n_estimators": 30}),
    ],
    ids=["forest", "boosting", "some of a forest"],
)
def test_trees_of_a_single_leaf(labels, family, params):
    dataset = make_dataset(*labels)
    model = models.build(family, params, 0).fit(dataset.X_train, dataset.y_train)

    check_equal(model, dataset.X_train)


def test_forest_compares_in_single_precision_as_scikit_learn_does():
    """A double just above a split is on its lower side once it is rounded."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"a": rng.normal(size=200).astype(np.float32).astype(float)})
    forest = RandomForestClassifier(20, random_state=0).fit(X, rng.integers(0, 2, 200))
    splits = np.concatenate([tree.tree_.threshold for tree in forest.estimators_])
    near = np.concatenate([splits, *(np.nextafter(splits, side) for side in (-9, 9))])

    check_equal(forest, X, np.concatenate([near, near * (1 + 1e-9), near * (1 - 1e-9)])[:, None])


def test_boosting_compares_in_double_precision_as_scikit_learn_does():
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"a": rng.normal(size=200)})
    model = HistGradientBoostingClassifier(max_iter=20).fit(X, rng.integers(0, 2, 200))
    nodes = np.concatenate([each[0].nodes for each in model._predictors])
    splits = nodes["num_threshold"][nodes["is_leaf"] == 0]

    check_equal(model, X, np.concatenate([splits, np.nextafter(splits, 9)])[:, None])


# The graph.


def test_graph_is_valid_and_takes_any_number_of_rows(two):
    model = blend(BINARY.every_family).fit(two.X_train, two.y_train)
    graph = translate(model, two.X_train.shape[1])

    onnx.checker.check_model(graph, full_check=True)
    (X,), (probabilities,) = graph.graph.input, graph.graph.output
    assert (X.name, probabilities.name) == ("X", "probabilities")
    shapes = [[d.dim_value for d in t.type.tensor_type.shape.dim] for t in (X, probabilities)]
    assert shapes == [[0, 4], [0, 2]]
    assert all(t.type.tensor_type.elem_type == onnx.TensorProto.DOUBLE for t in (X, probabilities))


# What has no translation.


class Custom(LogisticRegression):
    """A user's: it may predict in any way."""


def with_splines(**settings):
    return make_pipeline(SplineTransformer(**settings), LogisticRegression())


SPLINES = "SplineTransformer with other than linear extrapolation"
CALIBRATION = "calibration of other than a support vector machine by curves"
UNTRANSLATED = [
    (Custom(), "Custom has no translation"),
    (GaussianNB(), "GaussianNB has no translation"),
    (make_pipeline(MinMaxScaler(), LogisticRegression()), "MinMaxScaler has no translation"),
    (
        VotingClassifier([("a", LogisticRegression()), ("b", GaussianNB())], voting="soft"),
        "GaussianNB has no translation",
    ),
    (VotingClassifier([("a", LogisticRegression())]), "votes without probabilities"),
    (FixedThresholdClassifier(GaussianNB()), "GaussianNB has no translation"),
    (
        make_pipeline(PowerTransformer("box-cox"), LogisticRegression()),
        "PowerTransformer with box-cox",
    ),
    (with_splines(extrapolation="constant"), SPLINES),
    (with_splines(extrapolation="linear", include_bias=False), SPLINES),
    (
        CalibratedClassifierCV(SVC(kernel="poly"), ensemble=False),
        "a support vector machine with the kernel poly",
    ),
    (CalibratedClassifierCV(SVC(), ensemble=False, method="isotonic"), CALIBRATION),
    (CalibratedClassifierCV(GaussianNB(), ensemble=False), CALIBRATION),
]


@pytest.mark.parametrize(("model", "reason"), UNTRANSLATED)
def test_what_has_no_translation_is_named(model, reason):
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.uniform(1, 2, (60, 3)), columns=["a", "b", "flag"])
    X["flag"] = 1.0 + np.arange(60) % 3
    fitted = model.fit(X, X["flag"] > 1)

    with pytest.raises(TranslationError, match=f"^{reason}$"):
        translate(fitted, 3)
