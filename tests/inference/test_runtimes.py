"""Graphs and the collapsed model against scikit-learn's."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from pipeline.export.compilation import collapse
from pipeline.export.onnx_graph import translate
from pipeline.inference.runtimes import CHUNK, FEW, Linear, of_estimator, of_graph
from pipeline.schema.columns import NumberColumn
from pipeline.schema.contract import Contract


def rows(count: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    X = rng.normal(5, [1, 30, 0.01], (count, 3))
    return np.where(rng.random(X.shape) < 0.2, np.nan, X)


TRAINED = rows(200)
LABELS = np.nan_to_num(TRAINED[:, 1]) > 5


@pytest.fixture(scope="module")
def model():
    return make_pipeline(
        SimpleImputer(strategy="median"), StandardScaler(), LogisticRegression()
    ).fit(TRAINED, LABELS)


@pytest.fixture(scope="module", params=["linear", "graph", "classifier"])
def predict(request, model):
    if request.param == "linear":
        return collapse(model).predict_proba
    if request.param == "graph":
        return of_graph(translate(model, 3).SerializeToString())
    contract = Contract(
        columns=dict.fromkeys("abc", NumberColumn()),
        target="y",
        classes=(False, True),
        positive=True,
    )
    named = clone(model).fit(pd.DataFrame(TRAINED, columns=list("abc")), LABELS)
    return of_estimator(named, contract)


@pytest.mark.parametrize("count", [0, 1, 2, FEW, FEW + 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK])
def test_probabilities_are_those_of_the_pipeline_in_the_order_of_the_rows(model, predict, count):
    X = rows(count)
    expected = model.predict_proba(X) if count else np.empty((0, 2))
    np.testing.assert_allclose(predict(X), expected, rtol=0, atol=1e-9)


def test_layout_of_the_matrix_does_not_matter(predict):
    X = rows(50)
    wide = np.full((len(X), 6), 7.0)
    wide[:, ::2] = X
    locked = X.copy()
    locked.flags.writeable = False
    for same in (np.asfortranarray(X), wide[:, ::2], locked, X[::-1][::-1]):
        np.testing.assert_array_equal(predict(same), predict(X))


@pytest.mark.parametrize("count", [1, FEW + 1])
@pytest.mark.parametrize(("odds", "probability"), [(-1e4, 0.0), (1e4, 1.0), (0.0, 0.5)])
def test_very_likely_and_very_unlikely_rows_have_a_probability(count, odds, probability):
    linear = Linear(fill=[0.0], weights=[odds], intercept=0.0)
    answers = linear.predict_proba(np.ones((count, 1)))
    assert answers.tolist() == [[1 - probability, probability]] * count


@pytest.mark.parametrize("count", [1, FEW, FEW + 1, 100])
@pytest.mark.parametrize(
    "row",
    [
        [1e308, 1e308, 0.0],  # beyond all doubles
        [-1e308, -1e308, 0.0],
        [1e308, 1e308, -1e308],  # in all it is not, and it would be in another order
        [1e308, -1e308, np.nan],
    ],
)
def test_a_sum_beyond_all_doubles_has_no_probability(count, row):
    linear = Linear(fill=[0.0, 0.0, 0.0], weights=[2.0, 2.0, 4.0], intercept=0.0)
    answers = linear.predict_proba(np.array([row] * count))
    assert np.isnan(answers).all()


def test_the_other_rows_keep_their_probabilities():
    linear = Linear(fill=[0.0], weights=[2.0], intercept=1.0)
    X = np.linspace(-3, 3, 50)[:, None]
    X[7] = 1.5e308
    answers = linear.predict_proba(X)
    assert np.flatnonzero(np.isnan(answers).any(axis=1)).tolist() == [7]
    assert answers[8, 1] == pytest.approx(1 / (1 + np.exp(-1 - 2 * X[8, 0])), rel=1e-15)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("rows", [3, 3000])
def test_weighted_sum_leaves_the_rows_that_it_is_asked_as_they_are(order, rows):
    X = np.random.default_rng(0).normal(size=(rows, 4)).astype(np.float64, order=order)
    X[::3, 1] = np.nan
    before = X.copy()
    Linear([1.0] * 4, [0.5, -2.0, 0.1, 1.0], 0.3).predict_proba(X)
    np.testing.assert_array_equal(X, before)
