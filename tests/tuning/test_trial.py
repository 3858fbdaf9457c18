import os
from collections.abc import Callable
from dataclasses import replace
from math import inf
from pathlib import Path

import joblib
import numpy as np
import pytest
from threadpoolctl import threadpool_info

from pipeline.config.tune import Estimator, Tune
from pipeline.evaluation.cross_validation import make_folds, out_of_fold, score
from pipeline.evaluation.metrics import Predictions
from pipeline.models import families as models
from pipeline.tasks import BINARY
from pipeline.tuning import search
from pipeline.tuning import worker_pool as workers_module
from pipeline.tuning.trial import (
    TrialInputs,
    TrialResult,
    evaluate,
    evaluate_within,
    evaluator,
    may_end_now,
)
from tests.support.builders import make_dataset, make_trial, with_scales_far_apart

POINT = ("logistic_regression", {"transform": "standard", "C": 1.0})


def make_task(labels=(0, 1), positive=1) -> TrialInputs:
    dataset = make_dataset(labels, positive, rows=80)
    folds = make_folds(BINARY, dataset.y_train, 2, seed=0)
    place = dataset.contract.positive_index
    return TrialInputs(dataset.X_train, dataset.y_train, folds, positive=place, seed=0)


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
    outcome = evaluate(task, 7, *POINT)
    model = models.build(*POINT, task.seed)
    expected = out_of_fold(model, task.X, task.y, task.folds)
    np.testing.assert_array_equal(outcome.out_of_fold, expected)
    assert (outcome.trial.number, outcome.trial.family, outcome.trial.params) == (7, *POINT)
    codes = np.unique(task.y, return_inverse=True)[1]
    means, spread = score(Predictions(codes, expected, task.positive), task.folds)
    assert (outcome.trial.metrics, outcome.trial.spread) == (means, spread)
    assert outcome.trial.seconds > 0


def test_evaluate_tells_of_a_fit_that_does_not_converge_as_a_failed_trial():
    dataset = with_scales_far_apart(make_dataset(rows=80))
    folds = make_folds(BINARY, dataset.y_train, 2, seed=0)
    task = TrialInputs(dataset.X_train, dataset.y_train, folds, positive=1, seed=0)
    outcome = evaluate(task, 0, "raw_logistic_regression", {"max_iter": 5})
    assert outcome.out_of_fold is None
    assert outcome.trial.error.startswith("ConvergenceWarning: lbfgs failed to converge")


def test_evaluate_tells_of_a_fit_that_raises_as_a_failed_trial():
    task = make_task()
    empty = TrialInputs(task.X.assign(noise=np.nan), task.y, task.folds, task.positive, task.seed)
    params = models.BUILT_IN["hist_gradient_boosting"].default
    outcome = evaluate(empty, 5, "hist_gradient_boosting", params)
    assert outcome.out_of_fold is None
    assert (outcome.trial.number, outcome.trial.family) == (5, "hist_gradient_boosting")
    assert (outcome.trial.params, outcome.trial.metrics, outcome.trial.spread) == (params, {}, {})
    assert outcome.trial.error.startswith("ValueError: ")
    assert outcome.trial.loss == inf


def test_evaluator_with_one_worker_stays_in_this_process_and_thread():
    task = make_task()
    tune = Tune(families=("logistic_regression",), max_evals=4, parallelism=1)
    with evaluator(task, tune) as run:
        assert run.workers == 1
        assert {pool["num_threads"] for pool in threadpool_info()} == {1}
        run.start(3, *POINT)
        result = run.next()
    expected = evaluate(task, 3, *POINT)
    assert result.trial.metrics == expected.trial.metrics
    np.testing.assert_array_equal(result.out_of_fold, expected.out_of_fold)


@pytest.mark.parametrize(
    ("parallelism", "max_evals", "workers"),
    [("auto", 48, 6), ("auto", 4, 4), (3, 48, 3), (9, 48, 9), (9, 2, 2), ("auto", 1, 1)],
)
def test_workers_are_as_many_as_asked_for_and_never_more_than_trials(
    parallelism, max_evals, workers, monkeypatch
):
    monkeypatch.setattr(joblib, "cpu_count", lambda: 6)
    assert workers_module.count(Tune(parallelism=parallelism, max_evals=max_evals)) == workers


@pytest.mark.parametrize(
    ("settings", "needed"),
    [
        ({"parallelism": 1}, False),
        ({"parallelism": 8, "max_evals": 1}, False),
        ({"parallelism": 1, "trial_timeout": 9.0}, True),
        ({"parallelism": 2}, True),
        ({"parallelism": 2, "backend": "spark"}, False),
    ],
)
def test_processes_are_started_only_where_trials_run_in_them(settings, needed, monkeypatch):
    started: list[str] = []
    monkeypatch.setattr(workers_module, "_context", lambda: started.append("server"))
    tune = Tune(**settings)
    workers_module.warm_up(tune)
    assert workers_module.needed(tune) is needed
    assert started == ["server"] * needed


def test_evaluator_uses_the_pool_and_leaves_neither_it_nor_files(temporary_files):
    task, tune = make_task(), two_workers()
    with evaluator(task, tune) as run:
        for number in range(4):
            run.start(number, *POINT)
        actual = sorted((run.next() for _ in range(4)), key=lambda outcome: outcome.trial.number)
        pool = workers_module.pool(2)
        pids = {pool.schedule(os.getpid).result() for _ in range(20)}
        threads = pool.schedule(os.getenv, ("OMP_NUM_THREADS",)).result()
        assert run.workers == 2
    assert os.getpid() not in pids
    assert threads == "1"
    assert [outcome.trial.number for outcome in actual] == [0, 1, 2, 3]
    expected = evaluate(task, 0, *POINT)
    assert actual[3].trial.metrics == pytest.approx(expected.trial.metrics)
    assert not any(map(alive, pids))
    assert list(temporary_files.rglob("task*")) == []


def test_environment_of_the_workers_is_not_that_of_the_program(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    with workers_module._environment():
        assert (os.environ["OMP_NUM_THREADS"], os.environ["MKL_NUM_THREADS"]) == ("1", "1")
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert "MKL_NUM_THREADS" not in os.environ


@pytest.fixture
def troublemaker(tmp_path, monkeypatch) -> Callable[[str], Estimator]:
    """A classifier of the user's whose fit does what it is told."""
    (tmp_path / "trouble.py").write_text(
        "import os, time\n"
        "from sklearn.dummy import DummyClassifier\n"
        "class Trouble(DummyClassifier):\n"
        "    def __init__(self, what='pass', random_state=None):\n"
        "        super().__init__(random_state=random_state)\n"
        "        self.what = what\n"
        "    def fit(self, X, y, sample_weight=None):\n"
        "        exec(self.what)\n"
        "        return super().fit(X, y)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    return lambda what: Estimator(estimator="trouble.Trouble", params={"what": what})


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("time.sleep(60)", "passed tune.trial_timeout of 2 s"),
        ("os._exit(3)", "its process ended with status 3"),
        ("os.kill(os.getpid(), 9)", "its process ended with status -9 (out of memory?)"),
        ("raise MemoryError('too much')", "MemoryError: too much"),
    ],
)
def test_trial_that_hangs_or_dies_has_failed_and_the_others_go_on(troublemaker, what, reason):
    tune = Tune(
        estimators={"bad": troublemaker(what), "good": troublemaker("pass")},
        families=("bad", "good"),
        parallelism=2,
        trial_timeout=2.0,
    )
    task = replace(make_task(), estimators=tune.estimators)
    with evaluator(task, tune) as run:
        for number, family in enumerate(("good", "bad", "good", "bad", "good")):
            run.start(number, family, {})
        result = [run.next().trial for _ in range(5)]
    assert {trial.number for trial in result} == set(range(5))
    assert {trial.error for trial in result if trial.family == "bad"} == {reason}
    assert {trial.error for trial in result if trial.family == "good"} == {""}


def test_trial_within_its_limit_is_what_it_is_without():
    task = make_task()
    assert_same(evaluate_within(60, task, 5, *POINT), evaluate(task, 5, *POINT))


def test_trial_that_passes_its_limit_is_ended(troublemaker):
    estimators = {"bad": troublemaker("time.sleep(60)")}
    outcome = evaluate_within(0.3, replace(make_task(), estimators=estimators), 2, "bad", {})
    assert outcome.trial.error == "passed tune.trial_timeout of 0.3 s"
    assert (outcome.trial.number, outcome.trial.seconds) == (2, 0.3)


@pytest.mark.parametrize(
    ("error", "limit", "again"),
    [
        ("passed tune.trial_timeout of 5 s", None, True),
        ("passed tune.trial_timeout of 5 s", 9.0, True),
        ("passed tune.trial_timeout of 5 s", 5.0, False),
        ("passed tune.trial_timeout of 5 s", 1.0, False),
        ("ValueError: no way", None, False),
        ("", None, False),
    ],
)
def test_trial_may_end_now_when_it_has_more_time_than_it_had(error, limit, again):
    trial = replace(make_trial(0, "svc", inf), error=error, seconds=5.0)
    assert may_end_now(trial, Tune(trial_timeout=limit)) is again


def test_workers_are_gone_when_a_search_fails(temporary_files):
    task = make_task(("a", "b", "c"), None)  # not the one of the search before
    pids: list[int] = []

    def fail(outcome: TrialResult) -> None:
        expected = evaluate(task, 0, "svc", outcome.trial.params)
        np.testing.assert_allclose(outcome.out_of_fold, expected.out_of_fold, atol=1e-9)
        pids.extend(workers_module.pool(2).schedule(os.getpid).result() for _ in range(4))
        raise ZeroDivisionError

    tune = Tune(families=("svc",), max_evals=4, parallelism=2)
    with pytest.raises(ZeroDivisionError):
        search.search(task, tune, {}, fail, fail)
    assert pids
    assert not any(map(alive, pids))
    assert list(temporary_files.rglob("task*")) == []


def assert_same(result: TrialResult, expected: TrialResult) -> None:
    """But for the seconds."""
    assert replace(result.trial, seconds=0.0) == replace(expected.trial, seconds=0.0)
    np.testing.assert_array_equal(result.out_of_fold, expected.out_of_fold)
