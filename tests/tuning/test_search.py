import time
from collections.abc import Callable
from contextlib import contextmanager
from functools import partial
from math import inf
from typing import Any

import numpy as np
import pytest

from pipeline.config.tune import Estimator, Tune
from pipeline.evaluation.cross_validation import make_folds, out_of_fold
from pipeline.models.families import BUILT_IN, build
from pipeline.results import Params, Trial
from pipeline.tasks import BINARY, Family
from pipeline.tuning import search
from pipeline.tuning.trial import TrialInputs, TrialResult
from tests.support.builders import make_dataset, make_trial

NOTHING = np.empty((0, 2))


class Bench:
    """Stands in for the evaluator: losses by a formula, and a diary of what was asked."""

    def __init__(self, loss: Callable[[int, Params], float], workers: int = 1) -> None:
        self.loss = loss
        self.workers = workers
        self.diary: list[tuple[str, int]] = []
        self.points: list[tuple[Family, Params]] = []
        self.waiting: list[tuple[int, Family, Params]] = []

    @contextmanager
    def evaluator(self, task: Any, tune: Tune):
        yield self

    def start(self, number: int, family: Family, params: Params) -> None:
        self.diary.append(("start", number))
        self.points.append((family, params))
        self.waiting.append((number, family, params))

    def next(self) -> TrialResult:
        number, family, params = self.waiting.pop(self.turn())
        self.diary.append(("result", number))
        loss = self.loss(number, params)
        return TrialResult(make_trial(number, family, loss, params), NOTHING)

    def turn(self) -> int:
        """Which of the waiting trials ends next: the first."""
        return 0


class LastFirst(Bench):
    """Trials end in the worst order that the window lets them."""

    def turn(self) -> int:
        return -1


def by_params(number: int, params: Params) -> float:
    """A loss that TPE can follow."""
    return sum(abs(np.log(value) - 1) for value in params.values() if isinstance(value, float))


def find(tune: Tune, *, task=None, finished=None, on_end=None, on_result=None) -> None:
    """`search.search`, which reports to nobody unless asked to."""

    def ignore(result: TrialResult) -> None:
        pass

    search.search(task, tune, finished or {}, on_end or ignore, on_result or ignore)


@pytest.fixture
def run(monkeypatch) -> Callable[..., tuple[list[Trial], Bench]]:
    """Searches on a bench: `run(loss, workers, **tune) -> trials, bench`."""

    def on_bench(
        loss=by_params, workers=1, *, kind=Bench, finished=None, on_end=None, **settings
    ) -> tuple[list[Trial], Bench]:
        bench = kind(loss, workers)
        monkeypatch.setattr(search, "evaluator", bench.evaluator)
        trials: list[Trial] = []
        find(
            Tune(**settings),
            finished=finished,
            on_end=partial(on_end, bench) if on_end else None,
            on_result=lambda result: trials.append(result.trial),
        )
        return trials, bench

    return on_bench


def real_search(**settings) -> tuple[TrialInputs, list[TrialResult]]:
    """What a real search by cross-validation was given, and its trials."""
    tune = Tune(**{"families": ("logistic_regression",), "folds": 2, **settings})
    dataset = make_dataset(rows=80)
    folds = make_folds(BINARY, dataset.y_train, tune.folds, tune.seed)
    points: list[TrialResult] = []
    X, y = dataset.X_train, dataset.y_train
    task = TrialInputs(X, y, folds, positive=1, seed=tune.seed, estimators=tune.estimators)
    find(tune, task=task, on_result=points.append)
    return task, points


def defaults(families) -> list[tuple[Family, Params]]:
    return [(family, BUILT_IN[family].default) for family in families]


@pytest.mark.parametrize(
    "families", [BINARY.every_family, ("mlp", "svc"), ("raw_logistic_regression", "extra_trees")]
)
def test_search_starts_with_each_familys_default_in_the_order_of_the_config(run, families):
    trials, _ = run(families=families, max_evals=len(families) + 3)
    points = [(trial.family, trial.params) for trial in trials]
    assert points[: len(families)] == defaults(families)
    assert all(point not in defaults(families) for point in points[len(families) :] if point[1])


@pytest.mark.parametrize("max_evals", [1, 3, 6])
def test_search_runs_max_evals_trials_in_order(run, max_evals):
    trials, bench = run(families=("logistic_regression", "svc", "mlp"), max_evals=max_evals)
    assert [trial.number for trial in trials] == list(range(max_evals))
    assert len(bench.points) == max_evals


def test_search_comes_closer_to_the_lowest_loss_than_chance(run):
    def loss(number: int, params: Params) -> float:
        return abs(np.log(params["C"] / 5))

    trials, _ = run(loss, families=("logistic_regression",), max_evals=60)
    by_chance, by_tpe = trials[1:21], trials[40:]
    assert np.median([t.loss for t in by_tpe]) < np.median([t.loss for t in by_chance])


def test_search_is_the_same_for_the_same_seed_and_another_for_another(run):
    first, again, other = (
        [
            (t.family, t.params)
            for t in run(families=BINARY.every_family, max_evals=28, seed=seed)[0]
        ]
        for seed in (5, 5, 6)
    )
    assert first == again
    assert first[7:] != other[7:]


@pytest.mark.parametrize(("workers", "window"), [(1, 4), (4, 4), (6, 6)])
def test_search_runs_a_window_of_trials_at_a_time(run, workers, window):
    _, bench = run(workers=workers, families=("logistic_regression",), max_evals=10)
    running = np.cumsum([1 if what == "start" else -1 for what, _ in bench.diary])
    assert running.max() == window
    assert running[-1] == 0
    for number in range(window, 10):
        before = bench.diary[: bench.diary.index(("start", number))]
        assert ("result", number - window) in before


@pytest.mark.parametrize(
    ("losses", "patience", "length"),
    [
        ([3.0, 2.0, *[2.5] * 20], 1, 3),
        ([3.0, 2.0, 2.5, 1.0, *[1.5] * 20], 3, 7),
        ([1.0] * 20, 3, 4),
        ([inf] * 20, 3, 4),
        ([inf, 1.0, inf, inf, inf, *[2.0] * 20], 3, 5),
    ],
)
def test_search_stops_when_patience_ends(run, losses, patience, length):
    settings = {"families": ("svc",), "max_evals": 20, "patience": patience}
    trials, _ = run(lambda number, params: losses[number], **settings)
    assert len(trials) == length


@pytest.mark.parametrize("every", [1, 3])
def test_search_goes_on_after_failed_trials(run, every):
    def loss(number: int, params: Params) -> float:
        return inf if number % every == 0 else by_params(number, params)

    trials, _ = run(loss, families=("logistic_regression", "svc"), max_evals=25)
    assert [trial.number for trial in trials if trial.error] == list(range(0, 25, every))
    assert len(trials) == 25


def test_search_starts_no_trial_after_the_timeout(run):
    def slow(number: int, params: Params) -> float:
        time.sleep(0.3)
        return 1.0

    trials, bench = run(slow, families=("logistic_regression",), max_evals=200, timeout=1.0)
    assert 1 <= len(trials) <= 4
    assert len(bench.points) <= len(trials) + 4


def test_search_passes_on_the_fault_of_a_trial(run):
    def fail_on_third(number: int, params: Params) -> float:
        if number == 2:
            raise ZeroDivisionError("in the third")
        return 1.0

    with pytest.raises(ZeroDivisionError, match="in the third"):
        run(fail_on_third, families=("logistic_regression",), max_evals=5)


def test_search_by_cross_validation_does_not_depend_on_parallelism():
    families = ("logistic_regression", "spline_logistic_regression")
    one, two = (real_search(families=families, max_evals=6, parallelism=n)[1] for n in (1, 2))
    for here, there in zip(one, two, strict=True):
        assert here.trial.number == there.trial.number
        assert (here.trial.family, here.trial.params) == (there.trial.family, there.trial.params)
        assert here.trial.loss == pytest.approx(there.trial.loss, abs=1e-9)
        np.testing.assert_allclose(here.out_of_fold, there.out_of_fold, atol=1e-9)


# Trials that end in another order than they were suggested.


@pytest.mark.parametrize("workers", [1, 4])
def test_search_does_not_depend_on_the_order_in_which_trials_end(run, workers):
    in_order, out_of_order = (
        run(kind=kind, workers=workers, families=BINARY.every_family, max_evals=28)
        for kind in (Bench, LastFirst)
    )
    assert out_of_order[1].diary != in_order[1].diary
    assert out_of_order[0] == in_order[0]


def test_search_reports_each_trial_the_moment_it_ends(run):
    def report(bench: Bench, result: TrialResult) -> None:
        assert bench.diary[-1] == ("result", result.trial.number)
        bench.diary.append(("reported", result.trial.number))

    settings = {"families": ("logistic_regression",), "max_evals": 12}
    trials, bench = run(kind=LastFirst, on_end=report, **settings)
    reported = [number for what, number in bench.diary if what == "reported"]
    assert reported != sorted(reported)
    assert [trial.number for trial in trials] == sorted(reported) == list(range(12))


# A search that goes on.


def as_finished(trials: list[Trial]) -> dict[int, TrialResult]:
    return {trial.number: TrialResult(trial, NOTHING) for trial in trials}


@pytest.mark.parametrize(
    "finished_before", [range(3), range(22), range(28), [*range(19), 21, 23], [0, 27]]
)
def test_search_that_goes_on_is_the_one_that_never_stopped(run, finished_before):
    settings = {"families": BINARY.every_family, "max_evals": 28}
    whole, _ = run(**settings)
    finished = as_finished([whole[number] for number in finished_before])
    again, bench = run(finished=finished, **settings)
    assert again == whole
    started = [number for what, number in bench.diary if what == "start"]
    assert started == [number for number in range(28) if number not in finished_before]


def test_search_with_more_trials_goes_on_with_the_fewer(run):
    few, _ = run(families=BINARY.every_family, max_evals=24)
    more, bench = run(finished=as_finished(few), families=BINARY.every_family, max_evals=48)
    assert more[:24] == few
    assert more == run(families=BINARY.every_family, max_evals=48)[0]
    assert len(bench.points) == 24


def test_search_does_not_report_trials_that_ended_before(run):
    whole, _ = run(families=("svc",), max_evals=6)
    reported: list[int] = []
    run(
        finished=as_finished(whole[:4]),
        on_end=lambda _, result: reported.append(result.trial.number),
        families=("svc",),
        max_evals=6,
    )
    assert reported == [4, 5]


def test_search_that_goes_on_counts_failed_trials_as_tried(run):
    def loss(number: int, params: Params) -> float:
        return inf if number % 4 == 1 else by_params(number, params)

    settings = {"families": ("svc", "mlp"), "max_evals": 30}
    whole, _ = run(loss, **settings)
    again, bench = run(loss, finished=as_finished(whole[:26]), **settings)
    assert again == whole
    assert len(bench.points) == 4


def test_patience_counts_trials_of_before(run):
    whole, _ = run(lambda number, params: 1.0, families=("svc",), max_evals=4)
    settings = {"families": ("svc",), "max_evals": 20, "patience": 3}
    trials, bench = run(lambda number, params: 1.0, finished=as_finished(whole), **settings)
    assert len(trials) == 4
    assert all(number > 3 for what, number in bench.diary)


# Spaces of the config.


def test_search_stays_inside_the_ranges_of_the_config(run):
    trials, _ = run(
        families=("logistic_regression", "svc"),
        space={
            "logistic_regression": {"C": {"loguniform": [2, 3]}, "transform": "power"},
            "svc": {"C": {"choice": [1, 2.5]}, "gamma": {"qloguniform": [0.01, 0.1, 0.01]}},
        },
        max_evals=60,
    )
    lr = [trial.params for trial in trials if trial.family == "logistic_regression"]
    svc = [trial.params for trial in trials if trial.family == "svc"]
    assert all(2 <= params["C"] <= 3 and params["transform"] == "power" for params in lr)
    assert {params["C"] for params in svc} == {1, 2.5}
    assert lr[0]["C"] == 2.0  # the default, 0.3, moved to the nearest end
    assert svc[0] == {"C": 1, "gamma": 0.02}


def test_search_tries_an_estimator_of_the_config_by_cross_validation():
    neighbors = Estimator(
        estimator="sklearn.neighbors.KNeighborsClassifier",
        space={"n_neighbors": {"uniformint": [5, 20]}},
        default={"n_neighbors": 9},
    )
    estimators = {"knn": neighbors}
    task, points = real_search(estimators=estimators, families=("knn",), max_evals=3, parallelism=1)
    assert [result.trial.error for result in points] == [""] * 3
    assert points[0].trial.params == {"n_neighbors": 9}
    model = build("knn", {"n_neighbors": 9}, 0, estimators=estimators)
    expected = out_of_fold(model, task.X, task.y, task.folds)
    np.testing.assert_array_equal(points[0].out_of_fold, expected)
