"""The collapsed model against scikit-learn's."""

import numpy as np
import pytest
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from pipeline.export.compilation import collapse
from pipeline.inference.runtimes import FEW, Linear


def rows(count: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    X = rng.normal(5, [1, 30, 0.01], (count, 3))
    return np.where(rng.random(X.shape) < 0.2, np.nan, X)


@pytest.fixture(scope="module")
def model():
    X = rows(200)
    y = np.nan_to_num(X[:, 1]) > 5
    return make_pipeline(
        SimpleImputer(strategy="median"), StandardScaler(), LogisticRegression()
    ).fit(X, y)


@pytest.mark.parametrize("count", [1, 2, FEW, FEW + 1, 500])
def test_probabilities_are_those_of_the_pipeline(model, count):
    X = rows(count)
    linear = collapse(model)
    assert linear is not None
    np.testing.assert_allclose(linear.predict_proba(X), model.predict_proba(X), rtol=0, atol=1e-12)


def test_no_rows_have_no_probabilities(model):
    linear = collapse(model)
    assert linear is not None
    assert linear.predict_proba(np.empty((0, 3))).shape == (0, 2)


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
