"""The SQLite files of a local store: each is made whole, by one process, before any uses it.

MLflow creates its tables in some fifty migrations. Two processes in the midst of them, or one that
is killed there, leave a file that no later run can open.
"""

import glob
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import mlflow
from mlflow import MlflowClient
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

if sys.platform != "win32":
    import fcntl

MEMORY = ("", ":memory:")


def make() -> None:
    """Makes the files of the tracking store and of the registry, if they are not there yet."""
    for address in dict.fromkeys((mlflow.get_tracking_uri(), mlflow.get_registry_uri())):
        path = path_of(address)
        if path is not None and _is_empty(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with _locked(path.parent):
                if _is_empty(path):
                    _make(make_url(address), path)


def path_of(address: str) -> Path | None:
    """The SQLite file at an address; None for a store of another kind."""
    try:
        url = make_url(address)
    except ArgumentError:
        return None
    name = url.database or ""
    if url.get_backend_name() != "sqlite" or name in MEMORY or name.startswith("file:"):
        return None
    return Path(name).absolute()


def _make(url: URL, path: Path) -> None:
    """Beside its place, and then there at once."""
    _remove_unfinished(path)  # of a process that was killed
    new = path.with_name(f".{path.name}.{uuid4().hex}.new")
    try:
        MlflowClient(url.set(database=str(new)).render_as_string(hide_password=False))
        new.replace(path)
    finally:
        _remove_unfinished(path)


def _remove_unfinished(path: Path) -> None:
    """With SQLite's journals."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.new*"):
        left.unlink()


def _is_empty(path: Path) -> bool:
    return not path.exists() or path.stat().st_size == 0


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One process at a time; the lock is on the folder itself, which leaves no file behind."""
    if sys.platform == "win32":
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
