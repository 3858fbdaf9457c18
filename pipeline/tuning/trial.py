"""Evaluates trials: in this process, or in a pool of workers that holds the data."""

import multiprocessing
import tempfile
import time
import warnings
from collections import deque
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from signal import SIGKILL
from typing import Any, Protocol

import joblib
import pandas as pd
from pebble import ProcessExpired, ProcessPool
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

from pipeline.config.sections import Estimator, Family, Tune
from pipeline.evaluation import cross_validation as crossval
from pipeline.evaluation.cross_validation import Fold
from pipeline.models import families as models
from pipeline.results import Params, Probabilities, Trial
from pipeline.tuning import worker_pool as workers

TIMED_OUT = "passed tune.trial_timeout"


@dataclass(frozen=True)
class Task:
    """What every trial of a search has in common."""

    X: pd.DataFrame
    y: "pd.Series[Any]"
    folds: list[Fold]
    positive: int | None
    seed: int
    estimators: dict[str, Estimator] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """A finished trial with its out-of-fold predictions, None when it failed."""

    trial: Trial
    out_of_fold: Probabilities | None


class Evaluator(Protocol):
    """Takes trials and gives each back when it has ended, in whatever order they end."""

    workers: int

    def start(self, number: int, family: Family, params: Params) -> None:
        """Takes a trial."""

    def next(self) -> Outcome:
        """Waits for a trial that has ended and was not given back yet."""


@contextmanager
def evaluator(task: Task, tune: Tune) -> Iterator[Evaluator]:
    """One process after another, or as many at a time as the config says."""
    if not workers.needed(tune):
        with threadpool_limits(1):
            yield _Here(task)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "task.joblib")
        joblib.dump(task, path)
        try:
            yield _Pool(path, tune)
        finally:
            workers.stop()


class _Here:
    """In this process, a trial when it is asked for."""

    workers = 1

    def __init__(self, task: Task) -> None:
        self.task = task
        self.waiting: deque[tuple[int, Family, Params]] = deque()

    def start(self, number: int, family: Family, params: Params) -> None:
        self.waiting.append((number, family, params))

    def next(self) -> Outcome:
        return evaluate(self.task, *self.waiting.popleft())


class _Pool:
    """In the pool: a trial that hangs or takes its process down has failed, and no other has."""

    def __init__(self, path: str, tune: Tune) -> None:
        self.path = path
        self.timeout = tune.trial_timeout
        self.workers = workers.count(tune)
        self.pool = workers.pool(self.workers)
        self.running: dict[Future[Outcome], tuple[int, Family, Params]] = {}

    def start(self, number: int, family: Family, params: Params) -> None:
        trial = (number, family, params)
        future = self.pool.schedule(_evaluate_at, (self.path, *trial), timeout=self.timeout)
        self.running[future] = trial

    def next(self) -> Outcome:
        ended, _ = wait(self.running, return_when=FIRST_COMPLETED)
        future = min(ended, key=lambda one: self.running[one][0])
        return _result(future, self.timeout, *self.running.pop(future))


def _result(
    future: Future[Outcome], timeout: float | None, number: int, family: Family, params: Params
) -> Outcome:
    """What a worker has found, or how it was lost."""
    try:
        return future.result()
    except TimeoutError:
        seconds = timeout or 0.0
        return failed(number, family, params, seconds, f"{TIMED_OUT} of {seconds:g} s")
    except ProcessExpired as error:
        memory = " (out of memory?)" if error.exitcode == -SIGKILL else ""
        reason = f"its process ended with status {error.exitcode}{memory}"
        return failed(number, family, params, 0.0, reason)


def failed(number: int, family: Family, params: Params, seconds: float, reason: str) -> Outcome:
    """A trial without a result."""
    return Outcome(Trial(number, family, params, {}, {}, seconds, reason), None)


def may_end_now(trial: Trial, tune: Tune) -> bool:
    """Whether the trial passed a limit that is higher today."""
    limit = tune.trial_timeout
    return trial.error.startswith(TIMED_OUT) and (limit is None or limit > trial.seconds)


def evaluate(task: Task, number: int, family: Family, params: Params) -> Outcome:
    """Cross-validates a configuration on the task's folds.

    A fit that raises or does not converge is a failed trial: one configuration must not end the
    search.
    """
    start = time.perf_counter()
    try:
        model = models.build(family, params, task.seed, task.estimators)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a poor fit shows in its loss
            warnings.simplefilter("error", ConvergenceWarning)  # and this is none
            predicted = crossval.out_of_fold(model, task.X, task.y, task.folds)
        means, spread = crossval.score(task.y, predicted, task.folds, task.positive)
    except Exception as error:  # whatever a library may raise
        seconds = time.perf_counter() - start
        return failed(number, family, params, seconds, f"{type(error).__name__}: {error}")
    seconds = time.perf_counter() - start
    return Outcome(Trial(number, family, params, means, spread, seconds), predicted)


def evaluate_within(
    seconds: float, task: Task, number: int, family: Family, params: Params
) -> Outcome:
    """As `evaluate`, in a process of its own that is ended after so many seconds."""
    with ProcessPool(max_workers=1, context=multiprocessing.get_context("fork")) as pool:
        future = pool.schedule(evaluate, (task, number, family, params), timeout=seconds)
        return _result(future, seconds, number, family, params)


@lru_cache(maxsize=1)
def _task_at(path: str) -> Task:
    """Read once per worker."""
    task: Task = joblib.load(path)
    return task


def _evaluate_at(path: str, number: int, family: Family, params: Params) -> Outcome:
    return evaluate(_task_at(path), number, family, params)
