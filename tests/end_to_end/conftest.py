"""A copy of the project in an empty folder, driven from outside as a user drives it."""

import atexit
import fcntl
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from importlib.util import cache_from_source, find_spec
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
SHIPPED = ("MLproject", "conda.yaml", "requirements.txt", "configs", "data", "pipeline", "mlruns")
# Packages may have come without bytecode: some fifty processes would compile them, each for itself.
HAS_BYTECODE = Path(cache_from_source(str(find_spec("mlflow").origin))).exists()
SESSION = os.environ.get("PYTEST_XDIST_TESTRUNUID", str(os.getpid()))
BYTECODE = Path(tempfile.gettempdir(), f"bytecode-{SESSION}")  # of all processes of the session
HOME = tempfile.mkdtemp(prefix="home-")
for temporary in (BYTECODE, HOME):
    atexit.register(shutil.rmtree, temporary, ignore_errors=True)
# A tracking server has four workers and a runner of jobs otherwise, each with MLflow's imports.
ONE_PROCESS = {"MLFLOW_WORKERS": "1", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
MAIN_JOB = "mlflow run . --env-manager local"
Run = Callable[..., subprocess.CompletedProcess[str]]


def environment() -> dict[str, str]:
    """The user's environment, in an empty home, without what this session has set for MLflow."""
    left_out = ("MLFLOW_", "PYTHONDONTWRITEBYTECODE", "XDG_", "MPLCONFIGDIR", "SKB_", "ORT_")
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(left_out)}
    path = f"{BIN}{os.pathsep}{inherited['PATH']}"
    bytecode = {} if HAS_BYTECODE else {"PYTHONPYCACHEPREFIX": str(BYTECODE)}
    return {**inherited, **bytecode, **ONE_PROCESS, "PATH": path, "HOME": HOME}


@dataclass(frozen=True)
class MainJob:
    """Where the main job ran, and what it has printed, and written into the user's home."""

    folder: str
    stdout: str
    home: list[str]


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that a clone has, without what runs have left."""
    return clone(tmp_path_factory.mktemp("clone"))


def clone(folder: Path) -> Path:
    """The folder, with the files that a clone has."""
    for name in SHIPPED:
        if (ROOT / name).is_file():
            shutil.copy(ROOT / name, folder)
        elif name == "mlruns":
            (folder / name).mkdir()
        else:
            shutil.copytree(
                ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__")
            )
    return folder


def command_in(
    folder: Path, *command: str, stdin: str | None = None
) -> subprocess.CompletedProcess[str]:
    """What came of a command that was run in the folder, as by a user."""
    return subprocess.run(
        command,
        cwd=folder,
        env=environment(),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=600,  # seconds: of a command that hangs
        check=False,
    )


@contextmanager
def working_in(folder: Path, address: str, **variables: str) -> Iterator[None]:
    """Meanwhile this process, which has MLflow already, is in the folder and uses the store."""
    import mlflow

    before = mlflow.get_tracking_uri()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name, value in {"MLFLOW_TRACKING_URI": address, **variables}.items():
            patch.setenv(name, value)
        mlflow.set_tracking_uri(address)
        yield
    mlflow.set_tracking_uri(before)


@pytest.fixture(scope="session")
def run(project: Path) -> Run:
    """Runs a command in the project's folder and returns what it printed."""
    return partial(command_in, project)


@pytest.fixture(scope="session")
def main_job(project: Path, tmp_path_factory: pytest.TempPathFactory) -> MainJob:
    """The README's main job, and what it leaves, in the project's folder.

    It runs once for all processes of the test session; each has a copy of the store.
    """
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    done = base / "main_job.json"
    with (base / "main_job.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            done.write_text(json.dumps(asdict(run_main_job(tempfile.mkdtemp(dir=base)))))
    job = MainJob(**json.loads(done.read_text()))
    shutil.copy(Path(job.folder) / "mlflow.db", project)
    shutil.copytree(Path(job.folder) / "mlruns", project / "mlruns", dirs_exist_ok=True)
    return job


def run_main_job(folder: str) -> MainJob:
    done = command_in(clone(Path(folder)), *MAIN_JOB.split())
    assert done.returncode == 0, done.stdout + done.stderr
    return MainJob(folder, done.stdout, [str(path) for path in Path(HOME).rglob("*")])


@pytest.fixture(scope="session")
def endpoint(main_job: object, project: Path) -> Iterator[str]:
    """The address of a real `mlflow models serve` of the champion, stopped at the end."""
    model = ("-m", "models:/pima-diabetes@champion", "--env-manager", "local")
    with served(project, "mlflow", "models", "serve", *model) as address:
        yield address


@contextmanager
def served(folder: Path, *command: str) -> Iterator[str]:
    """The address of a server of MLflow's that runs in a folder, meanwhile."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    with (folder / "server.log").open("w") as log:
        server = subprocess.Popen(
            [*command, "--port", port],
            cwd=folder,
            env=environment(),
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        wait_for(f"http://127.0.0.1:{port}/health", server)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(server.pid, 15)  # the process group that this test started, server included
        server.wait(timeout=30)


def wait_for(address: str, server: subprocess.Popen[bytes]) -> None:
    """Returns when the address answers; fails when the server ends before, or after a minute."""
    for _ in range(300):
        assert server.poll() is None, "the server ended before it answered"
        try:
            urllib.request.urlopen(address, timeout=5).close()
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.2)
        else:
            return
    pytest.fail(f"{address} did not answer within a minute")


@pytest.fixture(scope="session")
def door(main_job: object, project: Path) -> Iterator[Any]:
    """The production door with its default settings."""
    from tests.support.doors import open_door

    with open_door(project) as opened:
        yield opened
