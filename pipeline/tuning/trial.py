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

from pipeline.config.tune import Estimator, Tune
from pipeline.evaluation import metrics
from pipeline.evaluation.cross_validation import Fold, out_of_fold, score
from pipeline.models.encoders import NUMBERS, Features
from pipeline.models.families import build
from pipeline.results import Metadata, Outputs, Params, Trial, is_amount
from pipeline.tasks import REGRESSION, Family, Task, classification
from pipeline.tuning import worker_pool

TIMED_OUT = "passed tune.trial_timeout"


@dataclass(frozen=True)
class TrialInputs:
    """What every trial of a search has in common."""

    X: pd.DataFrame
    y: "pd.Series[Any]"
    folds: list[Fold]
    positive: int | None
    seed: int
    estimators: dict[str, Estimator] = field(default_factory=dict)
    metadata: Metadata = field(default_factory=Metadata)  # of the same rows
    features: Features = NUMBERS

    @property
    def task(self) -> Task:
        """The kind of prediction."""
        return REGRESSION if is_amount(self.y) else classification(self.positive)


@dataclass(frozen=True)
class TrialResult:
    """A finished trial with its out-of-fold predictions, None when it failed."""

    trial: Trial
    out_of_fold: Outputs | None


class Evaluator(Protocol):
    """Takes trials and gives each back when it has ended, in whatever order they end."""

    workers: int

    def start(self, number: int, family: Family, params: Params) -> None:
        """Takes a trial."""

    def next(self) -> TrialResult:
        """Waits for a trial that has ended and was not given back yet."""


@contextmanager
def evaluator(inputs: TrialInputs, tune: Tune) -> Iterator[Evaluator]:
    """In this process one trial after another, or in as many workers as the config says."""
    if not worker_pool.needed(tune):
        with threadpool_limits(1):
            yield _InProcess(inputs)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "inputs.joblib")
        joblib.dump(inputs, path)
        try:
            yield _Pooled(path, tune)
        finally:
            worker_pool.stop()


class _InProcess:
    """Evaluates a trial in this process when it is asked for."""

    workers = 1

    def __init__(self, inputs: TrialInputs) -> None:
        self.inputs = inputs
        self.waiting: deque[tuple[int, Family, Params]] = deque()

    def start(self, number: int, family: Family, params: Params) -> None:
        self.waiting.append((number, family, params))

    def next(self) -> TrialResult:
        return evaluate(self.inputs, *self.waiting.popleft())


class _Pooled:
    """Evaluates in the pool: a trial that hangs or takes its process down fails, and no other."""

    def __init__(self, path: str, tune: Tune) -> None:
        self.path = path
        self.timeout = tune.trial_timeout
        self.workers = worker_pool.count(tune)
        self.pool = worker_pool.pool(self.workers)
        self.running: dict[Future[TrialResult], tuple[int, Family, Params]] = {}

    def start(self, number: int, family: Family, params: Params) -> None:
        trial = (number, family, params)
        future = self.pool.schedule(_evaluate_at, (self.path, *trial), timeout=self.timeout)
        self.running[future] = trial

    def next(self) -> TrialResult:
        ended, _ = wait(self.running, return_when=FIRST_COMPLETED)
        future = min(ended, key=lambda one: self.running[one][0])
        return _result(future, self.timeout, *self.running.pop(future))


def _result(
    future: Future[TrialResult], timeout: float | None, number: int, family: Family, params: Params
) -> TrialResult:
    """What a worker returned, or how it was lost."""
    try:
        return future.result()
    except TimeoutError:
        seconds = timeout or 0.0
        return failed(number, family, params, seconds, f"{TIMED_OUT} of {seconds:g} s")
    except ProcessExpired as error:
        memory = " (out of memory?)" if error.exitcode == -SIGKILL else ""
        reason = f"its process ended with status {error.exitcode}{memory}"
        return failed(number, family, params, 0.0, reason)


def failed(number: int, family: Family, params: Params, seconds: float, reason: str) -> TrialResult:
    """A trial without a result."""
    return TrialResult(Trial(number, family, params, {}, {}, seconds, reason), None)


def may_end_now(trial: Trial, tune: Tune) -> bool:
    """Whether the trial passed a limit that is higher today."""
    limit = tune.trial_timeout
    return trial.error.startswith(TIMED_OUT) and (limit is None or limit > trial.seconds)


def evaluate(inputs: TrialInputs, number: int, family: Family, params: Params) -> TrialResult:
    """Cross-validates a configuration on the folds of the inputs.

    A fit that raises or does not converge is a failed trial: one configuration must not end the
    search.
    """
    start = time.perf_counter()
    try:
        model = build(family, params, inputs.seed, inputs.features, inputs.estimators)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a poor fit shows in its loss
            warnings.simplefilter("error", ConvergenceWarning)  # and this is no fit
            predicted = out_of_fold(model, inputs.X, inputs.y, inputs.folds, inputs.metadata)
        predictions = metrics.out_of_fold(inputs.y, predicted, inputs.positive, inputs.metadata)
        means, spread = score(predictions, inputs.folds)
    except Exception as error:  # whatever a library may raise
        seconds = time.perf_counter() - start
        return failed(number, family, params, seconds, f"{type(error).__name__}: {error}")
    seconds = time.perf_counter() - start
    return TrialResult(Trial(number, family, params, means, spread, seconds), predicted)


def evaluate_within(
    seconds: float, inputs: TrialInputs, number: int, family: Family, params: Params
) -> TrialResult:
    """As `evaluate`, in a process of its own that is ended after so many seconds."""
    with ProcessPool(max_workers=1, context=multiprocessing.get_context("fork")) as pool:
        future = pool.schedule(evaluate, (inputs, number, family, params), timeout=seconds)
        return _result(future, seconds, number, family, params)


@lru_cache(maxsize=1)
def _inputs_at(path: str) -> TrialInputs:
    """Read once per worker."""
    inputs: TrialInputs = joblib.load(path)
    return inputs


def _evaluate_at(path: str, number: int, family: Family, params: Params) -> TrialResult:
    return evaluate(_inputs_at(path), number, family, params)
