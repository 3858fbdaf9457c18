"""A search that is killed, terminated or interrupted, and the command that goes on with it."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

import pipeline
from tests.end_to_end.conftest import environment, working_in
from tests.support.stores import experiments

MOST = 12
FAMILIES = "[logistic_regression, spline_logistic_regression]"
COMMAND = (sys.executable, "-m", "pipeline", "tune", "configs/pima.yaml")
COMMAND += ("--tune.families", FAMILIES, "--tune.max_evals", str(MOST))


def runs(store: MlflowClient, step: str) -> list[Run]:
    return list(store.search_runs(experiments(store), f"tags.step = '{step}'"))


def complete(store: MlflowClient) -> list[Run]:
    """The trials that were written to their end."""
    return [run for run in runs(store, "trial") if "seconds" in run.data.metrics]


def tried(store: MlflowClient) -> dict[int, tuple[dict[str, str], float]]:
    """Params and loss of each trial by its number; none may be there twice."""
    finished = complete(store)
    numbers = Counter(int(run.data.tags["trial"]) for run in finished)
    assert not numbers or max(numbers.values()) == 1
    losses = [(run.data.params, run.data.metrics["cv/log_loss"]) for run in finished]
    return dict(zip([int(run.data.tags["trial"]) for run in finished], losses, strict=True))


class Store:
    """A store of its own in the project's folder, and commands that use it."""

    def __init__(self, project: Path, name: str) -> None:
        self.project = project
        self.file = project / f"{name}.db"
        self.address = f"sqlite:///{self.file}"
        self.client = MlflowClient(self.address)

    def start(self) -> subprocess.Popen[str]:
        """The search in a process group of its own."""
        return subprocess.Popen(
            COMMAND,
            cwd=self.project,
            env={**environment(), "MLFLOW_TRACKING_URI": self.address},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, most: int = MOST) -> None:
        """The search to its end, in this process, which has MLflow already."""
        settings = {"tune.families": FAMILIES, "tune.max_evals": most}
        with working_in(self.project, self.address):
            pipeline.run("configs/pima.yaml", settings, verb="tune")


@pytest.fixture(scope="module")
def whole(project: Path) -> Store:
    """A search that nothing disturbed."""
    store = Store(project, "whole")
    store.run()
    return store


def stop(store: Store, number: int) -> tuple[int, str, int]:
    """Sends the signal in the midst of a search: exit status, output, trials that had ended."""
    process = store.start()
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and len(ended(store, process)) < 3:
            time.sleep(0.05)
        below = psutil.Process(process.pid).children(recursive=True)
        os.killpg(process.pid, number)
        output, _ = process.communicate(timeout=60)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    gone, alive = psutil.wait_procs(below, timeout=10)
    assert (len(gone) > 0, alive) == (True, [])
    return process.returncode, output, len(tried(store.client))


def ended(store: Store, process: subprocess.Popen[str]) -> list[Run]:
    assert process.poll() is None, process.communicate()[0]
    if not store.file.exists():  # a look at it would make another
        return []
    try:
        return complete(store.client)
    except (MlflowException, SQLAlchemyError):  # its tables are being made
        return []


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGKILL, -9), (signal.SIGTERM, 143)], ids=["killed", "ended"]
)
def test_search_that_was_stopped_goes_on_and_repeats_no_trial(
    project: Path, whole: Store, caplog: pytest.LogCaptureFixture, number: int, status: int
) -> None:
    caplog.set_level("INFO", "pipeline")
    store = Store(project, f"stopped{number}")
    returned, output, before = stop(store, number)
    assert (returned, "Traceback" in output) == (status, False)
    assert 0 < before < MOST
    left = {run.info.status for run in runs(store.client, "tune")}
    assert left == ({"RUNNING"} if number == signal.SIGKILL else {"KILLED"})

    store.run()

    assert f"tune goes on: {before} of {MOST} trials have finished and are read back" in caplog.text
    assert ("closed as KILLED: " in caplog.text) or number != signal.SIGKILL
    everything = store.client.search_runs(experiments(store.client), max_results=1000)
    assert {run.info.status for run in everything} == {"FINISHED", "KILLED"}
    assert tried(store.client) == tried(whole.client)


def test_search_with_more_trials_goes_on_with_what_there_is(
    whole: Store, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "pipeline")
    whole.run(MOST + 4)
    message = f"tune goes on: {MOST} of {MOST + 4} trials have finished and are read back"
    assert f"{message} (tune.max_evals {MOST} -> {MOST + 4})" in caplog.text
    assert sorted(tried(whole.client)) == list(range(MOST + 4))
    tunes = sorted(runs(whole.client, "tune"), key=lambda run: run.info.start_time)
    assert [run.data.metrics["trials"] for run in tunes] == [MOST, MOST + 4]
    assert [run.data.metrics["trials_read_back"] for run in tunes] == [0, MOST]
    assert "read back from earlier runs" in tunes[-1].data.tags["mlflow.note.content"]
