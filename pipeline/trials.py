"""Evaluates trials: in this process, or in a pool of workers that holds the data."""

import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import joblib
import pandas as pd
from threadpoolctl import threadpool_limits

from pipeline import crossval, models, workers
from pipeline.config import Tune
from pipeline.crossval import Fold
from pipeline.results import Params, Probabilities, Trial


@dataclass(frozen=True)
class Task:
    """What every trial of a search has in common."""

    X: pd.DataFrame
    y: "pd.Series[Any]"
    folds: list[Fold]
    positive: int | None
    seed: int


@dataclass(frozen=True)
class Outcome:
    """A finished trial with its out-of-fold predictions, None when it failed."""

    trial: Trial
    out_of_fold: Probabilities | None


Start = Callable[[int, Params], Callable[[], Outcome]]


@contextmanager
def evaluator(task: Task, tune: Tune) -> Iterator[tuple[Start, int]]:
    """A function that starts a trial and returns one that waits for it; the number of workers."""
    size = workers.count(tune)
    if size == 1:
        with threadpool_limits(1):
            yield lambda number, point: lambda: evaluate(task, number, point), 1
        return
    pool = workers.pool(size)
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "task.joblib")
        joblib.dump(task, path)
        try:
            yield lambda number, point: pool.submit(_evaluate_at, path, number, point).result, size
        finally:
            workers.stop(tune)


def evaluate(task: Task, number: int, point: Params) -> Outcome:
    """Cross-validates `{"family": name, "params": {...}}` on the task's folds.

    A fit that raises is a failed trial: one configuration must not end the search.
    """
    start = time.perf_counter()
    family, params = point["family"], point["params"]
    try:
        model = models.build(family, params, task.seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a poor fit shows in its loss
            predicted = crossval.out_of_fold(model, task.X, task.y, task.folds)
        means, spread = crossval.score(task.y, predicted, task.folds, task.positive)
    except Exception as error:  # whatever a library may raise
        reason = f"{type(error).__name__}: {error}"
        failed = Trial(number, family, params, {}, {}, time.perf_counter() - start, reason)
        return Outcome(failed, None)
    seconds = time.perf_counter() - start
    return Outcome(Trial(number, family, params, means, spread, seconds), predicted)


@lru_cache(maxsize=1)
def _task_at(path: str) -> Task:
    """Read once per worker."""
    task: Task = joblib.load(path)
    return task


def _evaluate_at(path: str, number: int, point: Params) -> Outcome:
    return evaluate(_task_at(path), number, point)
