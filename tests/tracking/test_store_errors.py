"""Stores that cannot be used, told for people."""

import errno
import os
import socket
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import mlflow
import pytest
import requests
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import PERMISSION_DENIED
from sqlalchemy.exc import OperationalError

from pipeline import cli
from pipeline.errors import StoreError
from pipeline.tracking import store_errors as store


@pytest.fixture(autouse=True)
def _address_and_haste(monkeypatch) -> Iterator[None]:
    before = mlflow.get_tracking_uri()
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    yield
    mlflow.set_tracking_uri(before)


def mistake(address: str) -> StoreError | None:
    """What is told when somebody uses the store at the address."""
    mlflow.set_tracking_uri(address)
    with pytest.raises(Exception, match=r".") as raised:
        MlflowClient().search_experiments()
    return store.mistake(raised.value)


@pytest.fixture
def nobody() -> str:
    """Where no server listens."""
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


@pytest.fixture
def bouncer() -> Iterator[str]:
    """A server that lets nobody in."""

    class Closed(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(401)
            self.end_headers()
            self.wfile.write(b"You are not authenticated.")

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Closed) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_server_that_is_not_there_is_told_without_the_password(nobody):
    message = str(mistake(f"http://me:secret@{nobody}"))
    assert message.startswith(f"MLFLOW_TRACKING_URI 'http://{nobody}' cannot be reached: ")
    assert "Connection refused; is the server up, and the address right?" in message


def test_server_that_refuses_is_told_with_the_remedy(bouncer):
    message = str(mistake(bouncer))
    assert message.startswith(f"MLFLOW_TRACKING_URI '{bouncer}' refuses: ")
    assert "You are not authenticated." in message
    assert "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD" in message


def test_file_that_is_no_database_is_told(tmp_path: Path):
    (tmp_path / "store.db").write_text("a letter to a friend")
    message = str(mistake(f"sqlite:///{tmp_path}/store.db"))
    assert "store.db' cannot be used: file is not a database; is it MLflow's database" in message


@pytest.mark.parametrize("address", ["foo://bar", "file:///tmp/mlruns"])
def test_address_that_mlflow_does_not_take_is_told(address):
    mlflow.set_tracking_uri(address)
    with pytest.raises(MlflowException) as raised:
        MlflowClient()
    message = str(store.mistake(raised.value))
    assert message.startswith(f"MLFLOW_TRACKING_URI {address!r} cannot be used: ")


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS])
def test_file_that_cannot_be_written_is_told(number):
    message = str(store.mistake(OSError(number, os.strerror(number), "/mnt/mlruns/0/a.json")))
    assert message.startswith(
        f"/mnt/mlruns/0/a.json cannot be written or read: {os.strerror(number)}; mend its"
    )


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("name", [None, "/mnt/mlruns/0/a.json"])
def test_full_disk_is_told_with_where_it_is(number, name):
    mlflow.set_tracking_uri("sqlite:////mnt/mlflow.db")
    message = str(store.mistake(OSError(number, os.strerror(number), name)))
    where = name or "sqlite:////mnt/mlflow.db"
    assert message == f"{where} cannot be written: there is no room left on the disk; make room"


@pytest.mark.parametrize("text", ["database or disk is full", "No space left on device"])
def test_database_on_a_full_disk_is_told_and_not_taken_for_no_database(text):
    message = str(store.mistake(OperationalError("INSERT", {}, sqlite3.OperationalError(text))))
    assert message.endswith("there is no room left on the disk; make room")


@pytest.mark.parametrize(
    ("call", "right"),
    [
        ("runs/create", "EDIT on the experiment 'team'"),
        ("runs/search", "READ on the experiment 'team'"),
        ("runs/delete", "MANAGE on the experiment 'team'"),
        ("logged-models/m-1", "EDIT on the experiment 'team'"),
        ("registered-models/get", "READ on the registered model 'visits'"),
        ("registered-models/alias", "EDIT on the registered model 'visits'"),
        ("model-versions/set-tag", "EDIT on the registered model 'visits'"),
        ("model-versions/delete", "MANAGE on the registered model 'visits'"),
    ],
)
def test_call_that_is_forbidden_is_told_with_the_right_that_it_needs(monkeypatch, call, right):
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "team")
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "bob")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "secret")
    mlflow.set_tracking_uri("http://127.0.0.1:9")
    error = MlflowException(
        f"API request to endpoint /api/2.0/mlflow/{call} failed with error code 403 != 200. "
        "Response body: 'Permission denied'",
        PERMISSION_DENIED,
    )
    message = str(store.mistake(error, "visits"))
    assert f"the account 'bob' does not have the right {right}; ask an account that may" in message
    assert "MLFLOW_TRACKING_PASSWORD" not in message


@pytest.mark.parametrize(("method", "right"), [("GET", "READ"), ("PUT", "EDIT")])
def test_artifact_that_is_forbidden_is_told_with_the_right_that_it_needs(method, right):
    response = requests.Response()
    response.status_code = 403
    response.url = "http://127.0.0.1/api/2.0/mlflow-artifacts/artifacts/1/run/artifacts/a.json"
    request = requests.Request(method, response.url).prepare()
    response.request = request
    message = str(store.mistake(requests.HTTPError("403 Client Error", response=response)))
    assert f"does not have the right {right} on the experiment" in message


def test_address_is_told_as_it_was_given_but_for_the_password():
    assert store.masked("sqlite:////tmp/x.db") == "sqlite:////tmp/x.db"
    assert store.masked("http://me:a@b@host:5000/path") == "http://host:5000/path"
    assert store.masked("postgresql://me:secret@db/mlflow?sslmode=require") == (
        "postgresql://db/mlflow?sslmode=require"
    )
    assert store.masked("mssql://db/mlflow?password=secret&x=1") == (
        "mssql://db/mlflow?password=***&x=1"
    )


@pytest.mark.parametrize(
    ("dialect", "module", "package"),
    [
        ("postgresql", "psycopg", "'psycopg[binary]'"),
        ("postgresql+psycopg2", "psycopg2", "psycopg2-binary"),
        ("mysql", "MySQLdb", "mysqlclient"),
        ("mysql+pymysql", "pymysql", "pymysql"),
    ],
)
def test_database_without_its_driver_is_told_with_the_package(dialect, module, package):
    mlflow.set_tracking_uri(f"{dialect}://me:secret@127.0.0.1/mlflow")
    with pytest.raises(ModuleNotFoundError) as raised:
        MlflowClient()
    assert str(store.mistake(raised.value)) == (
        f"MLFLOW_TRACKING_URI '{dialect}://127.0.0.1/mlflow' cannot be used: the Python package "
        f"{module} is not installed: `pip install {package}`"
    )


def test_dialect_that_does_not_exist_is_told():
    mlflow.set_tracking_uri("postgresql+foo://me:secret@127.0.0.1/mlflow")
    with pytest.raises(Exception, match="foo") as raised:
        MlflowClient()
    message = str(store.mistake(raised.value))
    assert message.startswith(
        "MLFLOW_TRACKING_URI 'postgresql+foo://127.0.0.1/mlflow' cannot be used"
    )
    assert "secret" not in message


def test_fault_of_the_program_is_none_of_the_store(tmp_path: Path):
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/store.db")
    with pytest.raises(MlflowException) as raised:
        MlflowClient().get_run("nobody's")
    assert store.mistake(raised.value) is None
    assert store.mistake(KeyError("no such thing")) is None
    assert store.mistake(FileNotFoundError(errno.ENOENT, "gone", "a")) is None
    assert store.mistake(PermissionError(errno.EACCES, "a port below 1024")) is None
    with pytest.raises(KeyError), store.tolerated():
        raise KeyError("no such thing")


@pytest.mark.parametrize("verb", ["promote", "rollback", "history", "serve"])
def test_verb_tells_that_the_store_is_not_there_and_ends_with_status_2(nobody, capsys, verb):
    mlflow.set_tracking_uri(f"http://{nobody}")
    assert cli.main([verb]) == 2
    assert f"error: MLFLOW_TRACKING_URI 'http://{nobody}' cannot be" in capsys.readouterr().err


def test_mistake_in_a_setting_is_told_though_the_store_is_not_there(nobody, capsys):
    mlflow.set_tracking_uri(f"http://{nobody}")
    assert cli.main(["run", "--tune.folds", "1"]) == 2
    message = capsys.readouterr().err
    assert "tune.folds is 1; it should be greater than or equal to 2" in message
    assert "cannot be reached" not in message


def test_locked_database_is_not_said_to_be_another_one() -> None:
    locked = OperationalError("BEGIN", None, sqlite3.OperationalError("database is locked"))
    message = str(store.mistake(locked))
    assert "database is locked; another process writes to it" in message
