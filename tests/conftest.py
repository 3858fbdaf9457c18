"""What holds for every test."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine

from tests.support.stores import store_in


def pytest_make_parametrize_id(val: object) -> str | None:
    """Cases of bytes by their place: what a library writes may hold the time, or be in any order.

    Two processes that share the tests out must call each alike.
    """
    return "bytes" if isinstance(val, bytes) else None


@pytest.fixture(autouse=True)
def _path_stays_as_it_is() -> Iterator[None]:
    """MLflow puts a loaded model's code first, where workers would find it for the project's."""
    before = list(sys.path)
    yield
    sys.path[:] = before


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The database of a store without a run, to be copied: its migrations take seconds."""
    from mlflow import MlflowClient  # takes seconds, and most files do without

    folder = tmp_path_factory.mktemp("empty")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        event.listen(Engine, "connect", _do_not_wait_for_the_disk)
        MlflowClient(f"sqlite:///{folder}/mlflow.db").search_experiments()
        event.remove(Engine, "connect", _do_not_wait_for_the_disk)
    return folder / "mlflow.db"


@pytest.fixture(scope="module")
def store(
    tmp_path_factory: pytest.TempPathFactory, empty_store: Path, no_waiting_for_the_disk: None
) -> Iterator[Path]:
    """The folder of an MLflow store of the file's own."""
    folder = tmp_path_factory.mktemp("store")
    with store_in(folder, empty_store):
        yield folder


@pytest.fixture(autouse=True, scope="module")
def _not_in_serving_environment() -> Iterator[None]:
    """MLflow's scoring application sets it for good, and then models answer with lists."""
    yield
    os.environ.pop("_MLFLOW_IS_IN_SERVING_ENVIRONMENT", None)


@pytest.fixture(scope="module")
def client(store: Path) -> Any:
    from mlflow import MlflowClient

    return MlflowClient()


@pytest.fixture(scope="module")
def lab(store: Path) -> Iterator[Any]:
    """Commands on a small table, which draw nothing, and ask once what code there is.

    They are in one experiment: what one test has trained is reused by the others.
    """
    from pipeline import fingerprint
    from tests.support.promotion_lab import Lab

    with undrawn(), pytest.MonkeyPatch.context() as patch:
        for name in ("_code", "version"):
            patch.setattr(fingerprint, name, cache(getattr(fingerprint, name)))
        patch.setenv("MLFLOW_EXPERIMENT_NAME", "Default")
        yield Lab(store)


@pytest.fixture
def no_pictures() -> Iterator[None]:
    """Pictures are files of a few bytes where nobody looks at them: to draw them takes seconds."""
    with undrawn():
        yield


@contextmanager
def undrawn() -> Iterator[None]:
    def savefig(_: object, target: Any, **__: object) -> None:
        (target.write_bytes if isinstance(target, Path) else target.write)(b"picture")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("matplotlib.figure.Figure.savefig", savefig)
        yield


@pytest.fixture
def searches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many runs each search of the store has returned, in the order of the searches."""
    from mlflow import MlflowClient

    numbers: list[int] = []
    search_runs = MlflowClient.search_runs

    def counted(*args: Any, **settings: Any) -> Any:
        page = search_runs(*args, **settings)
        numbers.append(len(page))
        return page

    monkeypatch.setattr(MlflowClient, "search_runs", counted)
    return numbers


@pytest.fixture(scope="module")
def no_waiting_for_the_disk() -> Iterator[None]:
    """A store is made in a second rather than in ten."""
    event.listen(Engine, "connect", _do_not_wait_for_the_disk)
    yield
    event.remove(Engine, "connect", _do_not_wait_for_the_disk)


def _do_not_wait_for_the_disk(connection: Any, _: object) -> None:
    connection.execute("PRAGMA synchronous = OFF")
