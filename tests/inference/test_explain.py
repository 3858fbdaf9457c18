from itertools import permutations

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression

from pipeline.inference.explain import MOST_EXACT, PAIRS, contributions
from pipeline.schema.targets import log_odds

EXACT = (1, 2, 4, MOST_EXACT)
SAMPLED = (MOST_EXACT + 1, 13, 30)


def rows(columns, count=200):
    """Normal rows and classes that depend on the first columns, and on two of them together."""
    rng = np.random.default_rng(columns)
    X = rng.normal(size=(count, columns))
    margin = X[:, 0] + X[:, 0] * X[:, -1] - X[:, columns // 2] + rng.normal(size=count)
    return X, (margin > 0).astype(int)


def value_of(model):
    return lambda X: log_odds(model.predict_proba(X)[:, 1])


def product(X):
    """Columns that interact, all of them, and none alike."""
    return np.prod(1 + X * np.linspace(0.1, 0.5, X.shape[1]), axis=1)


@pytest.fixture(params=[*EXACT, *SAMPLED])
def columns(request):
    return request.param


@pytest.mark.parametrize("has_gap", [False, True])
def test_contributions_add_up_to_the_distance_from_the_reference(columns, has_gap):
    X, y = rows(columns)
    value = value_of(RandomForestClassifier(20, max_depth=6, random_state=0).fit(X, y))
    if has_gap:
        X[0, 0] = np.nan

    first, second = (contributions(value, X[0], X[1]) for _ in range(2))

    assert first.shape == (columns,)
    assert first.sum() == pytest.approx(value(X[:1])[0] - value(X[1:2])[0], abs=1e-12)
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("equal", [slice(0, 1), slice(None)], ids=["a column", "all columns"])
def test_column_that_is_as_in_the_reference_gets_nothing(columns, equal):
    X, _ = rows(columns)
    X[0, equal] = X[1, equal]

    np.testing.assert_allclose(contributions(product, X[0], X[1])[equal], 0, atol=1e-12)


def test_linear_models_contributions_are_its_terms(columns):
    X, y = rows(columns)
    model = LogisticRegression().fit(X, y)

    shares = contributions(value_of(model), X[0], X[1])

    np.testing.assert_allclose(shares, model.coef_[0] * (X[0] - X[1]), atol=1e-9)


def test_column_that_the_model_does_not_use_gets_nothing(columns):
    X, _ = rows(columns + 1)

    shares = contributions(lambda X: product(X[:, :-1]), X[0], X[1])

    assert shares[-1] == pytest.approx(0, abs=1e-12)
    assert np.all(np.abs(shares[:-1]) > 1e-6)


@pytest.mark.parametrize("columns", EXACT)
def test_columns_that_play_the_same_part_get_the_same_share(columns):
    shares = contributions(lambda X: np.prod(X, axis=1), np.full(columns, 2.0), np.ones(columns))

    np.testing.assert_allclose(shares, (2**columns - 1) / columns)


def test_sampled_columns_that_play_the_same_part_get_nearly_the_same_share():
    shares = contributions(lambda X: np.sqrt(X.sum(axis=1)), np.full(13, 2.0), np.ones(13))

    np.testing.assert_allclose(shares, shares.mean(), rtol=0.02)


def test_contributions_are_the_mean_gain_over_all_orders():
    """The definition, word for word."""
    row, reference = np.random.default_rng(0).normal(size=(2, 4))
    gains = []
    for order in permutations(range(4)):
        now, gain = reference.copy(), np.zeros(4)
        for column in order:
            before = product(now[None])[0]
            now[column] = row[column]
            gain[column] = product(now[None])[0] - before
        gains.append(gain)

    np.testing.assert_allclose(contributions(product, row, reference), np.mean(gains, axis=0))


def test_sampled_contributions_come_near_to_the_exact_ones(monkeypatch):
    row, reference = np.random.default_rng(0).normal(size=(2, MOST_EXACT))
    exact = contributions(product, row, reference)
    monkeypatch.setattr("pipeline.inference.explain.MOST_EXACT", 0)

    sampled = contributions(product, row, reference)

    assert not np.array_equal(sampled, exact)
    np.testing.assert_allclose(sampled, exact, atol=0.1 * np.abs(exact).max())


@pytest.mark.parametrize(
    ("columns", "most"), [(8, 2**8), (10, 2**10), (11, 2 * PAIRS * 12), (60, 2 * PAIRS * 61)]
)
def test_cost_does_not_grow_beyond_bounds(columns, most):
    asked = []

    def value(X):
        asked.append(len(X))
        return X.sum(axis=1)

    contributions(value, np.ones(columns), np.zeros(columns))

    assert asked == [most]


@pytest.mark.parametrize(
    ("probability", "expected"),
    [(0.5, 0), (0.9, np.log(9)), (1e-9, np.log(1e-9)), (0, -27.63), (1, 27.63)],
)
def test_log_odds_are_finite(probability, expected):
    assert log_odds(np.array([probability]))[0] == pytest.approx(expected, abs=1e-2)
