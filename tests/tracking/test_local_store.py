"""The first opening of a local store: by many at once, and after one that was killed."""

import sqlite3
import subprocess
import sys
from pathlib import Path

import mlflow
import pytest
from alembic.util import CommandError
from mlflow import MlflowClient
from sqlalchemy.exc import OperationalError

from pipeline.tracking import local_store
from pipeline.tracking import store_errors as store

pytestmark = pytest.mark.usefixtures("no_waiting_for_the_disk")


@pytest.fixture
def path(tmp_path: Path, monkeypatch) -> Path:
    """Of a store that is not there yet."""
    before = mlflow.get_tracking_uri()
    path = tmp_path / "folder" / "mlflow.db"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{path}")
    mlflow.set_tracking_uri(f"sqlite:///{path}")
    yield path
    mlflow.set_tracking_uri(before)


def files(path: Path) -> list[str]:
    return sorted(file.name for file in path.parent.iterdir())


def test_store_that_two_open_at_once_for_the_first_time_serves_both(path):
    program = (
        "from mlflow import MlflowClient; from pipeline.tracking import local_store; input();"
        "local_store.make(); print(MlflowClient().create_run('0').info.status)"
    )
    root = Path(local_store.__file__).parents[2]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    each = [
        subprocess.Popen([sys.executable, "-c", program], cwd=root, text=True, **pipes)
        for _ in range(2)
    ]
    for process in each:
        process.stdin.write("\n")
        process.stdin.flush()
    outputs = [process.communicate(timeout=120) for process in each]
    assert [out.strip() for out, _ in outputs] == ["RUNNING"] * 2, outputs
    assert files(path) == ["mlflow.db"]


def test_store_whose_making_was_killed_is_made_anew(path):
    path.parent.mkdir()
    (path.parent / ".mlflow.db.0.new").write_bytes(b"half of it")
    (path.parent / ".mlflow.db.0.new-journal").write_bytes(b"half of it")
    local_store.make()
    assert files(path) == ["mlflow.db"]
    assert MlflowClient().get_experiment("0").name == "Default"


def test_store_appears_whole_or_not_at_all(path, monkeypatch):
    def fail(_: str) -> None:
        (path.parent / ".mlflow.db.0.new").write_bytes(b"half of it")
        raise KeyboardInterrupt

    monkeypatch.setattr(local_store, "MlflowClient", fail)
    with pytest.raises(KeyboardInterrupt):
        local_store.make()
    assert files(path) == []


@pytest.mark.parametrize(
    "error",
    [
        OperationalError("", {}, sqlite3.OperationalError("table latest_metrics already exists")),
        OperationalError("", {}, sqlite3.OperationalError("duplicate column name: step")),
        OperationalError("", {}, sqlite3.OperationalError("no such table: alembic_version")),
        CommandError("Online migration expected to match one row when updating 'a' to 'b'"),
    ],
)
def test_store_that_was_left_half_made_is_told_with_the_file_to_move_away(path, error):
    message = str(store.mistake(error))
    assert message.endswith(f"move {path} away, and the next run makes a new one")


def test_experiment_of_a_new_store_keeps_its_artifacts_where_mlflow_does(path):
    local_store.make()
    location = MlflowClient().get_experiment("0").artifact_location
    assert location == str(Path.cwd() / "mlruns" / "0")


def test_store_that_is_there_is_left_as_it_is(path):
    local_store.make()
    assert MlflowClient().create_experiment("mine")
    before = path.stat().st_mtime_ns
    local_store.make()
    assert path.stat().st_mtime_ns == before


def test_file_without_a_byte_becomes_a_store(path):
    path.parent.mkdir()
    path.touch()
    local_store.make()
    assert MlflowClient().get_experiment("0").name == "Default"


@pytest.mark.parametrize(
    ("address", "path"),
    [
        ("sqlite:////srv/mlflow.db", "/srv/mlflow.db"),
        ("sqlite:///mlflow.db", str(Path.cwd() / "mlflow.db")),
        ("sqlite+pysqlite:////srv/mlflow.db?timeout=20", "/srv/mlflow.db"),
        ("sqlite://", None),
        ("sqlite:///:memory:", None),
        ("http://127.0.0.1:5000", None),
        ("postgresql://me@host/mlflow", None),
        ("databricks", None),
    ],
)
def test_path_is_that_of_a_sqlite_file(address, path):
    assert local_store.path_of(address) == (path and Path(path))


def test_store_that_cannot_be_healed_is_told_with_the_file_to_move_away(path):
    local_store.make()
    with sqlite3.connect(path) as database:
        database.executescript(
            "UPDATE alembic_version SET version_num = 'f5a4f2784254'; DROP TABLE latest_metrics"
        )
    database.close()
    mlflow.set_tracking_uri(f"sqlite:///{path.parent}/./mlflow.db")  # not opened yet
    with pytest.raises(Exception, match=r".") as raised:
        MlflowClient().search_experiments()
    message = str(store.mistake(raised.value))
    assert "cannot be used: its tables were left half made, or by another version" in message
    assert message.endswith(f"move {path} away, and the next run makes a new one")
    path.rename(path.with_suffix(".broken"))
    mlflow.set_tracking_uri(f"sqlite:///{path}")
    local_store.make()
    assert MlflowClient().get_experiment("0").name == "Default"
