"""A server under `mlflow run` ends with it, and ends its run; another is left alone."""

import os
import subprocess
import sys
import threading

import psutil
import pytest
from mlflow import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_PROJECT_ENTRY_POINT

from pipeline.config.paths import PROJECT
from pipeline.server import project_run as project_runs
from pipeline.server.project_run import VARIABLE, project_run
from pipeline.tracking import runs


@pytest.fixture
def run_id(monkeypatch):
    """Of a run of the entry point `serve`, in whose process this is."""
    run = MlflowClient().create_run("0", tags={MLFLOW_PROJECT_ENTRY_POINT: "serve"})
    monkeypatch.setenv(VARIABLE, run.info.run_id)
    return run.info.run_id


@pytest.fixture
def launcher(monkeypatch):
    """A process in place of `mlflow run`."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    monkeypatch.setattr(project_runs, "CHECK_SECONDS", 0.02)
    monkeypatch.setattr(project_runs, "_launcher", lambda _: psutil.Process(process.pid))
    yield process
    process.kill()
    process.wait()


def status(run_id):
    return MlflowClient().get_run(run_id).info.status


def test_run_is_of_this_process_and_finished_when_the_server_was_stopped(run_id, launcher):
    """The next run of the project closes that of a process which was killed."""
    stopped = threading.Event()
    with project_run(stopped.set):
        run = MlflowClient().get_run(run_id)
        assert (run.info.status, run.data.tags["verb"]) == ("RUNNING", "serve")
        assert str(os.getpid()) in run.data.tags[runs.PROCESS]
    assert status(run_id) == "FINISHED"
    assert not stopped.is_set()


def test_server_stops_and_its_run_is_killed_when_mlflow_was(run_id, launcher):
    """Killed, and not waited for by anybody: a zombie is no process that runs."""
    stopped = threading.Event()
    with project_run(stopped.set):
        launcher.kill()
        assert stopped.wait(30)
    assert status(run_id) == "KILLED"


def test_failure_is_left_to_mlflow(run_id, launcher):
    with pytest.raises(ZeroDivisionError), project_run(lambda: None):
        raise ZeroDivisionError
    assert status(run_id) == "RUNNING"


@pytest.mark.parametrize("entry_point", [None, "deploy", "main", "a run that is not there"])
def test_run_of_another_kind_is_left_alone(monkeypatch, launcher, entry_point):
    """Its entry point may start a server and leave it behind."""
    tags = {} if entry_point is None else {MLFLOW_PROJECT_ENTRY_POINT: entry_point}
    run_id = MlflowClient().create_run("0", tags=tags).info.run_id
    monkeypatch.setenv(VARIABLE, "0" * 32 if entry_point == "a run that is not there" else run_id)
    stopped = threading.Event()

    with project_run(stopped.set):
        launcher.kill()
        assert not stopped.wait(0.1)

    assert status(run_id) == "RUNNING"


def test_server_without_a_run_needs_no_tracking_server(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr(project_runs, "_claim", lambda _: pytest.fail("asked for a run"))
    with project_run(lambda: pytest.fail("stopped")):
        entered = True
    assert entered


LAUNCHER = """
import psutil
from pipeline.server import project_run
print(project_run._launcher("r1").pid)
"""


@pytest.mark.parametrize("shells", [0, 1])
def test_launcher_is_the_process_that_has_not_the_run_of_those_that_it_starts(shells):
    """Also where a shell is between them, which activates an environment."""
    command = [sys.executable, "-c", LAUNCHER]
    if shells:
        command = ["sh", "-c", '"$@"; true', "sh", *command]

    done = subprocess.run(
        command,
        env={**os.environ, VARIABLE: "r1"},
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    )

    assert int(done.stdout) == os.getpid()
