import os
from math import inf
from pathlib import Path

import joblib
import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_info, threadpool_limits

from pipeline import crossval, models, search, trials
from pipeline import workers as workers_module
from pipeline.config import Tune
from pipeline.trials import Task, evaluate, evaluator
from pipeline.workers import warm_up
from tests.builders import make_dataset, with_scales_far_apart

POINT = {"family": "logistic_regression", "params": {"transform": "standard", "C": 1.0}}


def make_task(labels=(0, 1), positive=1) -> Task:
    dataset = make_dataset(labels, positive, rows=80)
    folds = crossval.folds(dataset.y_train, 2, seed=0)
    place = dataset.contract.positive_index
    return Task(dataset.X_train, dataset.y_train, folds, positive=place, seed=0)


def two_workers(max_evals: int = 4) -> Tune:
    return Tune(families=("logistic_regression",), max_evals=max_evals, parallelism=2)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture
def temporary_files(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("labels", "positive"), [((0, 1), 1), (("no", "yes"), "no"), ((0, 1, 2), None)]
)
def test_evaluate_cross_validates_the_point(labels, positive):
    task = make_task(labels, positive)
    outcome = evaluate(task, 7, POINT)
    model = models.build(POINT["family"], POINT["params"], task.seed)
    expected = crossval.out_of_fold(model, task.X, task.y, task.folds)
    np.testing.assert_array_equal(outcome.out_of_fold, expected)
    assert (outcome.trial.number, outcome.trial.family) == (7, POINT["family"])
    assert outcome.trial.params == POINT["params"]
    means, spread = crossval.score(task.y, expected, task.folds, task.positive)
    assert (outcome.trial.metrics, outcome.trial.spread) == (means, spread)
    assert outcome.trial.seconds > 0


def test_evaluate_says_nothing_of_a_fit_that_does_not_converge():
    dataset = with_scales_far_apart(make_dataset(rows=80))
    folds = crossval.folds(dataset.y_train, 2, seed=0)
    task = Task(dataset.X_train, dataset.y_train, folds, positive=1, seed=0)
    with pytest.warns(ConvergenceWarning), threadpool_limits(1):  # what it would say
        crossval.out_of_fold(models.tutorial(), task.X, task.y, folds)
    outcome = evaluate(task, 0, {"family": "raw_logistic_regression", "params": {}})
    assert np.isfinite(outcome.trial.loss)


def test_evaluate_tells_of_a_fit_that_raises_as_a_failed_trial():
    task = make_task()
    empty = Task(task.X.assign(noise=np.nan), task.y, task.folds, task.positive, task.seed)
    params = models.MODELS["hist_gradient_boosting"].default
    outcome = evaluate(empty, 5, {"family": "hist_gradient_boosting", "params": params})
    assert outcome.out_of_fold is None
    assert (outcome.trial.number, outcome.trial.family) == (5, "hist_gradient_boosting")
    assert (outcome.trial.params, outcome.trial.metrics, outcome.trial.spread) == (params, {}, {})
    assert outcome.trial.error.startswith("ValueError: ")
    assert outcome.trial.loss == inf


def test_evaluator_with_one_worker_stays_in_this_process_and_thread():
    task = make_task()
    tune = Tune(families=("logistic_regression",), max_evals=4, parallelism=1)
    with evaluator(task, tune) as (start, workers):
        assert workers == 1
        assert {pool["num_threads"] for pool in threadpool_info()} == {1}
        found = start(3, POINT)()
    expected = evaluate(task, 3, POINT)
    assert found.trial.metrics == expected.trial.metrics
    np.testing.assert_array_equal(found.out_of_fold, expected.out_of_fold)


@pytest.mark.parametrize(
    ("parallelism", "max_evals", "workers"),
    [("auto", 48, 6), ("auto", 4, 4), (3, 48, 3), (9, 48, 9), (9, 2, 2), ("auto", 1, 1)],
)
def test_workers_are_as_many_as_asked_for_and_never_more_than_trials(
    parallelism, max_evals, workers, monkeypatch
):
    monkeypatch.setattr(joblib, "cpu_count", lambda: 6)
    assert workers_module.count(Tune(parallelism=parallelism, max_evals=max_evals)) == workers


@pytest.mark.parametrize("tune", [Tune(parallelism=1), Tune(parallelism=8, max_evals=1)])
def test_warm_up_starts_no_process_for_one_worker(tune, monkeypatch):
    def refuse(workers: int) -> None:
        raise AssertionError(f"a pool of {workers}")

    monkeypatch.setattr(workers_module, "pool", refuse)
    warm_up(tune)


def test_evaluator_uses_the_warm_workers_and_leaves_neither_them_nor_files(temporary_files):
    task, tune = make_task(), two_workers()
    warm_up(tune)
    pool = workers_module.pool(2)
    pids = list(pool._processes)
    assert len(pids) == 2
    with evaluator(task, tune) as (start, workers):
        waiting = [start(number, POINT) for number in range(4)]
        found = [wait() for wait in waiting]
        assert {pool.submit(os.getpid).result() for _ in range(4)} <= set(pids)
        assert pool.submit(os.getenv, "OMP_NUM_THREADS").result() == "1"
    assert workers == 2
    assert [outcome.trial.number for outcome in found] == [0, 1, 2, 3]
    expected = evaluate(task, 0, POINT)
    assert found[3].trial.metrics == pytest.approx(expected.trial.metrics)
    assert not any(map(alive, pids))
    assert list(temporary_files.iterdir()) == []


def test_workers_are_gone_when_a_search_fails(temporary_files):
    task = make_task(("a", "b", "c"), None)  # not the one of the search before
    pids: list[int] = []

    def fail(outcome: trials.Outcome) -> None:
        expected = evaluate(task, 0, {"family": "svc", "params": outcome.trial.params})
        np.testing.assert_allclose(outcome.out_of_fold, expected.out_of_fold, atol=1e-9)
        pids.extend(workers_module.pool(2)._processes)
        raise ZeroDivisionError

    tune = Tune(families=("svc",), max_evals=4, parallelism=2)
    with pytest.raises(ZeroDivisionError):
        search.search(task, tune, fail)
    assert len(pids) == 2
    assert not any(map(alive, pids))
    assert list(temporary_files.iterdir()) == []
