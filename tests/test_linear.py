"""The collapsed model against scikit-learn's."""

import numpy as np
import pytest
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from pipeline.compilation import collapse
from pipeline.linear import FEW, Linear


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
