"""The pool of worker processes: started early, shared, and ended with the run.

It imports next to nothing, so that it can be called before the seconds of imports begin.
"""

import importlib
import os
from concurrent.futures import Future, wait
from types import ModuleType
from typing import Any

import joblib
from joblib.externals.loky import get_reusable_executor

from pipeline.config import Tune

# One BLAS thread each: there is a worker per core already.
ENVIRONMENT = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
HEAVY = "pipeline.trials"  # what a worker imports, with all that trials need
NICENESS = 5  # the process that feeds them comes first


_warming: list["Future[ModuleType]"] = []


def count(tune: Tune) -> int:
    """How many workers the config asks for, no more than there are trials."""
    wanted = joblib.cpu_count() if tune.parallelism == "auto" else tune.parallelism
    return int(min(wanted, tune.max_evals))


def pool(size: int) -> Any:
    """The same pool at each call while it lives."""
    return get_reusable_executor(
        max_workers=size,
        timeout=60,
        env=ENVIRONMENT,
        initializer=getattr(os, "nice", None),
        initargs=(NICENESS,),
    )


def warm_up(tune: Tune) -> None:
    """Starts the workers on their imports, which take seconds, and does not wait for them."""
    size = count(tune)
    if size > 1:
        executor = pool(size)
        _warming.extend(executor.submit(importlib.import_module, HEAVY) for _ in range(size))


def stop(tune: Tune) -> None:
    """Ends the workers, whatever trials they are at."""
    wait(_warming)  # to kill a worker while it starts makes loky stumble
    _warming.clear()
    if count(tune) > 1:
        pool(count(tune)).shutdown(wait=True, kill_workers=True)
