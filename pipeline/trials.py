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
from joblib.externals.loky import get_reusable_executor
from threadpoolctl import threadpool_limits

from pipeline import crossval, models
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


def warm_up(tune: Tune) -> None:
    """Starts the workers, which takes them seconds of imports, and does not wait for them."""
    workers = _workers(tune)
    if workers > 1:
        pool = _pool(workers)
        for _ in range(workers):
            pool.submit(threadpool_limits, 1)


@contextmanager
def evaluator(task: Task, tune: Tune) -> Iterator[tuple[Start, int]]:
    """A function that starts a trial and returns one that waits for it; the number of workers."""
    workers = _workers(tune)
    if workers == 1:
        with threadpool_limits(1):
            yield lambda number, point: lambda: evaluate(task, number, point), 1
        return
    pool = _pool(workers)
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "task.joblib")
        joblib.dump(task, path)
        try:
            yield (
                lambda number, point: pool.submit(_evaluate_at, path, number, point).result,
                workers,
            )
        finally:
            pool.shutdown(wait=True, kill_workers=True)


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


def _workers(tune: Tune) -> int:
    wanted = joblib.cpu_count() if tune.parallelism == "auto" else tune.parallelism
    return int(min(wanted, tune.max_evals))


def _pool(workers: int) -> Any:
    """The same pool at each call while it lives; BLAS is held to one thread per worker."""
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return get_reusable_executor(max_workers=workers, timeout=600, env=one_thread)


@lru_cache(maxsize=1)
def _task_at(path: str) -> Task:
    """Read once per worker."""
    task: Task = joblib.load(path)
    return task


def _evaluate_at(path: str, number: int, point: Params) -> Outcome:
    return evaluate(_task_at(path), number, point)
