import time
from collections.abc import Callable
from contextlib import contextmanager
from math import inf
from typing import Any, get_args

import numpy as np
import pytest
from pydantic import ValidationError

from pipeline import crossval, models, search
from pipeline.config import Family, Tune
from pipeline.results import Params, Trial
from pipeline.trials import Outcome, Task
from tests.builders import make_dataset, make_trial

EVERY_FAMILY = get_args(Family)
NOTHING = np.empty((0, 2))


class Bench:
    """Stands in for the evaluator: losses by a formula, and a diary of what was asked."""

    def __init__(self, loss: Callable[[int, Params], float], workers: int = 1) -> None:
        self.loss = loss
        self.workers = workers
        self.diary: list[tuple[str, int]] = []
        self.points: list[Params] = []

    @contextmanager
    def evaluator(self, task: Any, tune: Tune):
        yield self.start, self.workers

    def start(self, number: int, point: Params) -> Callable[[], Outcome]:
        self.diary.append(("start", number))
        self.points.append(point)

        def result() -> Outcome:
            self.diary.append(("result", number))
            loss = self.loss(number, point["params"])
            return Outcome(make_trial(number, point["family"], loss, point["params"]), NOTHING)

        return result


def by_params(number: int, params: Params) -> float:
    """A loss that TPE can follow."""
    return sum(abs(np.log(value) - 1) for value in params.values() if isinstance(value, float))


@pytest.fixture
def run(monkeypatch) -> Callable[..., tuple[list[Trial], Bench]]:
    """Searches on a bench: `run(loss, workers, **tune) -> trials, bench`."""

    def on_bench(loss=by_params, workers=1, **settings) -> tuple[list[Trial], Bench]:
        bench = Bench(loss, workers)
        monkeypatch.setattr(search, "evaluator", bench.evaluator)
        trials: list[Trial] = []
        search.search(None, Tune(**settings), lambda outcome: trials.append(outcome.trial))
        return trials, bench

    return on_bench


def outcomes(**settings) -> list[Outcome]:
    """A real search by cross-validation."""
    tune = Tune(**{"families": ("logistic_regression",), "folds": 2, **settings})
    dataset = make_dataset(rows=80)
    folds = crossval.folds(dataset.y_train, tune.folds, tune.seed)
    found: list[Outcome] = []
    task = Task(dataset.X_train, dataset.y_train, folds, positive=1, seed=tune.seed)
    search.search(task, tune, found.append)
    return found


def defaults(families) -> list[tuple[Family, Params]]:
    return [(family, models.MODELS[family].default) for family in families]


@pytest.mark.parametrize(
    "families", [EVERY_FAMILY, ("mlp", "svc"), ("raw_logistic_regression", "extra_trees")]
)
def test_search_starts_with_each_familys_default_in_the_order_of_the_config(run, families):
    trials, _ = run(families=families, max_evals=len(families) + 3)
    found = [(trial.family, trial.params) for trial in trials]
    assert found[: len(families)] == defaults(families)
    assert all(point not in defaults(families) for point in found[len(families) :] if point[1])


@pytest.mark.parametrize("max_evals", [1, 2, 3, 4, 6])
def test_search_runs_max_evals_trials_in_order(run, max_evals):
    families = ("logistic_regression", "svc", "mlp")
    trials, bench = run(families=families, max_evals=max_evals)
    assert [trial.number for trial in trials] == list(range(max_evals))
    assert len(bench.points) == max_evals
    found = [(trial.family, trial.params) for trial in trials]
    assert found[:3] == defaults(families)[:max_evals]


def test_search_of_a_family_without_a_space_repeats_its_default(run):
    trials, _ = run(families=("raw_logistic_regression",), max_evals=25)
    assert [trial.params for trial in trials] == [{}] * 25


def test_search_stays_inside_every_space_with_whole_numbers_where_they_belong(run):
    trials, _ = run(families=EVERY_FAMILY, max_evals=80)
    assert {trial.family for trial in trials} == set(EVERY_FAMILY)
    for trial in trials:
        space = models.MODELS[trial.family].space
        assert set(trial.params) == set(space)
        for name, dimension in space.items():
            ((distribution, bounds),) = dimension.items()
            value = trial.params[name]
            if distribution == "choice":
                assert value in bounds
            else:
                assert bounds[0] <= value <= bounds[1]
                assert type(value) is (int if distribution == "uniformint" else float)


def test_search_reaches_both_ends_of_whole_numbers_and_every_choice(run):
    trials, _ = run(lambda number, params: 1.0, families=("spline_logistic_regression",))
    assert {trial.params["n_knots"] for trial in trials} == {3, 4, 5, 6, 7}
    trials, _ = run(lambda number, params: 1.0, families=("logistic_regression",))
    assert {trial.params["transform"] for trial in trials} == {"standard", "power"}


def test_search_comes_closer_to_the_lowest_loss_than_chance(run):
    def loss(number: int, params: Params) -> float:
        return abs(np.log(params["C"] / 5))

    trials, _ = run(loss, families=("logistic_regression",), max_evals=60)
    by_chance, by_tpe = trials[1:21], trials[40:]
    assert np.median([t.loss for t in by_tpe]) < np.median([t.loss for t in by_chance])


def test_search_is_the_same_for_the_same_seed_and_another_for_another(run):
    first, again, other = (
        [(t.family, t.params) for t in run(families=EVERY_FAMILY, max_evals=40, seed=seed)[0]]
        for seed in (5, 5, 6)
    )
    assert first == again
    assert first[7:] != other[7:]


@pytest.mark.parametrize("workers", [2, 4])
def test_search_suggests_the_same_for_up_to_four_workers(run, workers):
    alone, several = (
        [(t.family, t.params) for t in run(workers=n, families=EVERY_FAMILY, max_evals=40)[0]]
        for n in (1, workers)
    )
    assert alone == several


@pytest.mark.parametrize(("workers", "window"), [(1, 4), (4, 4), (6, 6)])
def test_search_keeps_a_window_of_trials_in_the_air(run, workers, window):
    _, bench = run(workers=workers, families=("logistic_regression",), max_evals=10)
    in_the_air = np.cumsum([1 if what == "start" else -1 for what, _ in bench.diary])
    assert in_the_air.max() == window
    assert in_the_air[-1] == 0
    for number in range(window, 10):
        before = bench.diary[: bench.diary.index(("start", number))]
        assert ("result", number - window) in before


def test_search_tells_of_a_trial_before_it_starts_the_one_a_window_later(run, monkeypatch):
    bench = Bench(by_params)
    monkeypatch.setattr(search, "evaluator", bench.evaluator)
    tune = Tune(families=("logistic_regression",), max_evals=8)
    search.search(None, tune, lambda outcome: bench.diary.append(("told", outcome.trial.number)))
    for number in range(4, 8):
        before = bench.diary[: bench.diary.index(("start", number))]
        assert ("told", number - 4) in before


@pytest.mark.parametrize("patience", [1, 2, 3, 5])
def test_search_stops_when_patience_ends(run, patience):
    losses = [3.0, 2.0, 2.5, 1.0, *[1.5] * 20] if patience > 1 else [3.0, 2.0, *[2.5] * 20]
    best = losses.index(min(losses))
    trials, _ = run(
        lambda number, params: losses[number],
        families=("logistic_regression",),
        max_evals=20,
        patience=patience,
    )
    assert len(trials) == best + 1 + patience


@pytest.mark.parametrize(
    "patience",
    [
        1,
        3,
    ],
)
def test_search_stops_when_patience_ends_after_the_first_trial(run, patience):
    trials, _ = run(
        lambda number, params: 1.0,
        families=("logistic_regression",),
        max_evals=10,
        patience=patience,
    )
    assert len(trials) == 1 + patience


def test_search_without_patience_runs_all_trials(run):
    trials, _ = run(lambda number, params: 1.0, families=("logistic_regression",), max_evals=30)
    assert len(trials) == 30


def test_search_goes_on_after_a_failed_trial(run):
    trials, _ = run(
        lambda number, params: inf if number % 3 == 0 else by_params(number, params),
        families=("logistic_regression", "svc"),
        max_evals=30,
    )
    assert [trial.number for trial in trials if trial.error] == list(range(0, 30, 3))


def test_search_of_failed_trials_alone_ends_with_all_of_them(run):
    trials, _ = run(lambda number, params: inf, families=("svc",), max_evals=25)
    assert len(trials) == 25


@pytest.mark.parametrize(
    ("losses", "length"),
    [([inf] * 6, 4), ([inf, 1.0, inf, inf, inf, 2.0], 5)],
)
def test_failed_trials_try_the_patience(run, losses, length):
    trials, _ = run(lambda n, params: losses[n], families=("svc",), max_evals=6, patience=3)
    assert len(trials) == length


def test_search_starts_no_trial_after_the_timeout(run):
    def slow(number: int, params: Params) -> float:
        time.sleep(0.3)
        return 1.0

    trials, bench = run(slow, families=("logistic_regression",), max_evals=200, timeout=1.0)
    assert 1 <= len(trials) <= 4
    assert len(bench.points) <= len(trials) + 4


def test_search_with_a_timeout_of_next_to_nothing_has_no_trial(run):
    trials, _ = run(families=("logistic_regression",), max_evals=5, timeout=1e-9)
    assert trials == []


def test_search_passes_on_the_fault_of_a_trial(run):
    def fail_on_third(number: int, params: Params) -> float:
        if number == 2:
            raise ZeroDivisionError("in the third")
        return 1.0

    with pytest.raises(ZeroDivisionError, match="in the third"):
        run(fail_on_third, families=("logistic_regression",), max_evals=5)


def test_family_that_is_named_twice_is_refused_before_the_search():
    with pytest.raises(ValidationError, match="svc"):
        Tune(families=("svc", "svc"))


def test_search_by_cross_validation_does_not_depend_on_parallelism():
    one, two = (
        outcomes(
            families=("logistic_regression", "spline_logistic_regression"),
            max_evals=28,
            parallelism=n,
        )
        for n in (1, 2)
    )
    assert [(o.trial.number, o.trial.family, o.trial.params) for o in one] == [
        (o.trial.number, o.trial.family, o.trial.params) for o in two
    ]
    for here, there in zip(one, two, strict=True):
        assert here.trial.loss == pytest.approx(there.trial.loss, abs=1e-9)
        np.testing.assert_allclose(here.out_of_fold, there.out_of_fold, atol=1e-9)


def test_search_by_cross_validation_gives_each_trial_its_own_predictions():
    found = outcomes(max_evals=5, parallelism=1)
    losses = [outcome.trial.loss for outcome in found]
    assert min(losses) > 0
    assert max(losses) < inf
    assert len(set(losses)) == 5
    assert len({outcome.out_of_fold.tobytes() for outcome in found}) == 5
