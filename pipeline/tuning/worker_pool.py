"""The pool of worker processes: started early, shared, and ended with the run.

It imports next to nothing, so that it can be called before the seconds of imports begin.
"""

import multiprocessing
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import forkserver
from multiprocessing.context import BaseContext
from typing import Any

import joblib
from pebble import CONSTS, ProcessPool

from pipeline.config.tune import Tune

# One BLAS thread each: there is a worker per core already.
ENVIRONMENT = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
HEAVY = "pipeline.tuning.trial"  # with all that trials need
PATIENCE = 0.2  # seconds that a worker has to end: it holds nothing, and a fit hears no signal
NICENESS = 5  # the process that feeds them comes first

SERVER: Any = vars(forkserver)["_forkserver"]  # Python's own, one for all of a process

_pools: dict[int, ProcessPool] = {}
_servers: set[int] = set()  # the process that forks workers, if it was started here


def count(tune: Tune) -> int:
    """How many processes of this machine the search takes, no more than there are trials."""
    if tune.backend != "local":
        return 0
    wanted = cores() if tune.parallelism == "auto" else tune.parallelism
    return int(min(wanted, tune.max_evals))


def cores() -> int:
    """The cores that this process may use; a container may have fewer than the machine."""
    return int(joblib.cpu_count())


def needed(tune: Tune) -> bool:
    """Whether the search takes a pool; a trial that may have to be ended needs one even alone."""
    return count(tune) > 1 or (count(tune) == 1 and tune.trial_timeout is not None)


def warm_up(tune: Tune) -> None:
    """Starts on the workers' imports, which take seconds, and does not wait for them."""
    if needed(tune):
        _context()


def pool(size: int) -> ProcessPool:
    """The same pool at each call until it is stopped; its workers start with the first task."""
    CONSTS.term_timeout = PATIENCE
    if size not in _pools:
        _pools[size] = ProcessPool(max_workers=size, initializer=_begin, context=_context())
    return _pools[size]


def stop() -> None:
    """Ends all workers, whatever they are at."""
    while _pools:
        _, one = _pools.popitem()
        one.stop()  # type: ignore[no-untyped-call]
        one.join()


def end() -> None:
    """Ends all workers, and the process that forks them if it was started here."""
    stop()
    while _servers:
        if (pid := _servers.pop()) == SERVER._forkserver_pid:
            os.kill(pid, signal.SIGTERM)  # it may be at its imports
            SERVER._stop()
            forkserver.set_forkserver_preload(["__main__"])  # as Python has it


def _begin() -> None:
    if hasattr(os, "nice"):
        os.nice(NICENESS)


def _context() -> BaseContext:
    """A server that imports once and forks each worker, where the system has such a thing."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    is_new = SERVER._forkserver_pid is None
    if is_new:
        context.set_forkserver_preload([HEAVY])
    with _environment():
        forkserver.ensure_running()
    if is_new:
        _servers.add(SERVER._forkserver_pid)
    return context


@contextmanager
def _environment() -> Iterator[None]:
    """Processes that start inside inherit the workers' environment."""
    before = {name: os.environ.get(name) for name in ENVIRONMENT}
    os.environ.update(ENVIRONMENT)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
