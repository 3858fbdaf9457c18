import numpy as np
import pandas as pd
import pytest
from sklearn.dummy import DummyRegressor
from threadpoolctl import threadpool_limits

from pipeline.models.encoders import NUMBERS
from pipeline.models.intervals import MOST_REFITTED, cross_val_amounts, fit_intervals
from pipeline.results import Metadata
from pipeline.schema.columns import NumberColumn
from pipeline.schema.contract import Contract
from pipeline.schema.targets import target_of

CONTRACT = Contract(columns={"x": NumberColumn()}, target="y", classes=(), positive=None)


def make_errors(rows, spread, seed):
    """A column and errors (true minus predicted) that are skewed, and wider as `spread` says."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(0, 1, rows)
    errors = (rng.exponential(1.0, rows) - 1) * (0.2 + spread * x)
    return pd.DataFrame({"x": x}), errors


@pytest.fixture(autouse=True)
def one_thread():
    """More than the machine has free only wait for each other."""
    with threadpool_limits(1):
        yield


@pytest.mark.parametrize(("rows", "spread"), [(60, 0.0), (800, 0.0), (800, 4.0)])
@pytest.mark.parametrize("coverage", [0.5, 0.9])
def test_intervals_hold_as_many_new_rows_as_they_promise(rows, spread, coverage):
    X, errors = make_errors(rows, spread, seed=1)
    new, new_errors = make_errors(20_000, spread, seed=2)

    difficulty, scores = fit_intervals(X, errors, Metadata(), NUMBERS, seed=0)

    outputs = np.column_stack([np.zeros(len(new)), difficulty.predict(new)])
    _, low, high = target_of(CONTRACT, None, scores).bounds(outputs, coverage)
    held = (low <= new_errors) & (new_errors <= high)
    assert held.mean() == pytest.approx(coverage, abs=0.05 if rows > 100 else 0.12)
    assert scores == sorted(scores)
    if spread:
        easy, hard = new["x"] < 0.2, new["x"] > 0.8
        assert (high - low)[hard].mean() > 3 * (high - low)[easy].mean()
        assert held[easy].mean() == pytest.approx(held[hard].mean(), abs=0.1)
    else:
        assert np.ptp(high - low) < 0.5 * (high - low).mean()


def test_few_rows_are_equally_difficult():
    X, errors = make_errors(60, 4.0, seed=1)

    difficulty, scores = fit_intervals(X, errors, Metadata(), NUMBERS, seed=0)

    assert isinstance(difficulty, DummyRegressor)
    assert set(difficulty.predict(X)) == {1.0}
    np.testing.assert_allclose(scores, np.sort(errors))


def test_groups_stay_together_where_the_difficulty_is_learnt():
    X, errors = make_errors(300, 4.0, seed=1)
    groups = pd.Series(np.arange(300) // 30, X.index, name="who")
    times = pd.Series(np.arange(300), X.index, name="when")

    alone = fit_intervals(X, errors, Metadata(times=times), NUMBERS, seed=0)
    grouped = fit_intervals(X, errors, Metadata(groups=groups), NUMBERS, seed=0)

    assert len(alone.scores) == len(grouped.scores) == 300
    assert alone.scores != grouped.scores


def test_rows_that_count_more_say_more_of_how_far_intervals_reach():
    rng = np.random.default_rng(0)
    is_heavy, new_is_heavy = (rng.random(3000) < 0.5 for _ in range(2))
    X = pd.DataFrame({"x": rng.uniform(size=3000)})
    weights = pd.Series(np.where(is_heavy, 9.0, 1.0), X.index, name="people")
    errors = rng.normal(size=3000) * np.where(is_heavy, 1.0, 5.0)

    difficulty, scores = fit_intervals(X, errors, Metadata(weights=weights), NUMBERS, seed=0)

    outputs = np.column_stack([np.zeros(3000), difficulty.predict(X)])
    _, low, high = target_of(CONTRACT, None, scores).bounds(outputs, 0.9)
    new_errors = rng.normal(size=3000) * np.where(new_is_heavy, 1.0, 5.0)
    held = (low <= new_errors) & (new_errors <= high)
    new_weights = np.where(new_is_heavy, 9.0, 1.0)
    assert np.average(held, weights=new_weights) == pytest.approx(0.9, abs=0.02)
    assert held.mean() < 0.85
    assert len(scores) == int(weights.sum() ** 2 / (weights**2).sum())


def test_weights_that_are_all_the_same_change_no_interval():
    X, errors = make_errors(60, 1.0, seed=1)
    weights = pd.Series(3.0, X.index, name="people")

    alike = fit_intervals(X, errors, Metadata(weights=weights), NUMBERS, seed=0)

    np.testing.assert_allclose(alike.scores, np.sort(errors))


@pytest.mark.parametrize(("rows", "groups", "folds"), [(100, None, 10), (100, 7, 7)])
def test_amounts_for_the_intervals_are_of_models_of_cross_val_amounts(rows, groups, folds):
    y = pd.Series(np.random.default_rng(0).normal(size=rows))
    metadata = Metadata(groups=None if groups is None else pd.Series(y.index % groups, name="who"))

    predicted = cross_val_amounts(DummyRegressor(), y.to_frame("x"), y, metadata, seed=0)

    assert len(set(predicted.round(9))) == folds


@pytest.mark.parametrize(("rows", "times"), [(MOST_REFITTED + 1, False), (100, True)])
def test_many_rows_and_rows_in_time_are_not_fitted_again(rows, times):
    y = pd.Series(np.arange(float(rows)))
    metadata = Metadata(times=pd.Series(y.index, name="when") if times else None)

    assert cross_val_amounts(DummyRegressor(), y.to_frame("x"), y, metadata, seed=0) is None
