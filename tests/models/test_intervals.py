import numpy as np
import pandas as pd
import pytest
from sklearn.dummy import DummyRegressor
from threadpoolctl import threadpool_limits

from pipeline.models.encoders import NUMBERS
from pipeline.models.intervals import fit_intervals
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
