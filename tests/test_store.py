"""Stores that cannot be used, told for people."""

import errno
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from pipeline import cli, store
from pipeline.errors import StoreError


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
    told = str(mistake(f"http://me:secret@{nobody}"))
    assert told.startswith(f"MLFLOW_TRACKING_URI 'http://{nobody}' cannot be reached: ")
    assert "Connection refused; is the server up, and the address right?" in told


def test_server_that_refuses_is_told_with_the_remedy(bouncer):
    told = str(mistake(bouncer))
    assert told.startswith(f"MLFLOW_TRACKING_URI '{bouncer}' refuses: ")
    assert "You are not authenticated." in told
    assert "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD" in told


def test_file_that_is_no_database_is_told(tmp_path: Path):
    (tmp_path / "store.db").write_text("a letter to a friend")
    told = str(mistake(f"sqlite:///{tmp_path}/store.db"))
    assert "store.db' cannot be used: file is not a database; is it MLflow's database" in told


@pytest.mark.parametrize("address", ["foo://bar", "file:///tmp/mlruns"])
def test_address_that_mlflow_does_not_take_is_told(address):
    mlflow.set_tracking_uri(address)
    with pytest.raises(MlflowException) as raised:
        MlflowClient()
    told = str(store.mistake(raised.value))
    assert told.startswith(f"MLFLOW_TRACKING_URI {address!r} cannot be used: ")


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.ENOSPC])
def test_file_that_cannot_be_written_is_told(number):
    told = str(store.mistake(OSError(number, os.strerror(number), "/mnt/mlruns/0/a.json")))
    assert told.startswith(
        f"/mnt/mlruns/0/a.json cannot be written or read: {os.strerror(number)}; mend its"
    )


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
    told = capsys.readouterr().err
    assert "tune.folds is 1; it should be greater than or equal to 2" in told
    assert "cannot be reached" not in told
