"""The MLflow run that `mlflow run . -e serve` made for the server."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import psutil

from pipeline.server import background_call

VERB = "serve"
VARIABLE = "MLFLOW_RUN_ID"
CHECK_SECONDS = 1.0  # between two checks whether mlflow is there
END_SECONDS = 3.0  # to say how the run ended: the tracking server may be away


@contextmanager
def project_run(stop: Callable[[], None]) -> Iterator[None]:
    """Calls `stop` when `mlflow run` has ended, and ends its run.

    The run is FINISHED when the server was told to stop, KILLED when `mlflow run` was. A server
    that was started in any other way has no such run: its parent may end as it likes.
    """
    run_id = os.environ.get(VARIABLE)
    launcher = None if run_id is None else _launcher(run_id)  # first: it may end any moment
    if run_id is None or not background_call.start(_claim, run_id).result():
        yield
        return
    is_orphan = threading.Event()

    def watch(process: psutil.Process) -> None:
        while _is_alive(process):
            time.sleep(CHECK_SECONDS)
        is_orphan.set()
        stop()

    if launcher is not None:
        threading.Thread(target=watch, args=(launcher,), name="mlflow run", daemon=True).start()
    yield
    status = "KILLED" if is_orphan.is_set() else "FINISHED"
    with suppress(Exception):  # the next run of the project closes it as KILLED
        background_call.start(_end, run_id, status).result(END_SECONDS)


def _claim(run_id: str) -> bool:
    """Returns whether the run is that of the entry point `serve`; it then names this process."""
    from pipeline.tracking import runs

    if runs.entry_point(run_id) != VERB:  # nor one that is not there
        return False
    runs.claim(run_id, VERB)
    return True


def _launcher(run_id: str) -> psutil.Process | None:
    """Returns the nearest parent that was started without the run's id: it made the run."""
    for process in psutil.Process().parents():
        try:
            if process.environ().get(VARIABLE) != run_id:
                return process
        except psutil.Error:  # of another user: not below the run
            return process
    return None


def _is_alive(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _end(run_id: str, status: str) -> None:
    from pipeline.tracking import runs

    os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"  # the log's lines are JSON
    runs.end(run_id, status)
