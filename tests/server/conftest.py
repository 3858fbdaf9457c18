"""Models that are served in several files: to fit and save one takes a second."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.server import telemetry
from pipeline.server.loaded_model import LoadedModel
from tests.support import model_folders as folders
from tests.support.builders import make_dataset
from tests.support.mixed import make_mixed_dataset


@pytest.fixture(autouse=True)
def _log_is_written() -> Iterator[None]:
    """Lines are written a moment later: each test's own, before the next begins."""
    yield
    telemetry.flush()


@pytest.fixture
def log_lines(capfd: pytest.CaptureFixture[str]) -> Callable[[], list[Any]]:
    """Returns the lines that were logged since it was last called."""

    def log_lines() -> list[Any]:
        telemetry.flush()
        return [json.loads(line) for line in capfd.readouterr().out.splitlines()]

    return log_lines


@pytest.fixture
def events(log_lines: Callable[[], list[Any]]) -> Callable[[], list[str]]:
    """Returns the events of those lines."""
    return lambda: [line["event"] for line in log_lines()]


@pytest.fixture(scope="session")
def pima_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folders.save(tmp_path_factory.mktemp("pima") / "model", folders.pima())


@pytest.fixture(scope="session")
def pima(pima_folder: Path) -> Iterator[LoadedModel]:
    """Two classes, eight columns with units, ranges and marks."""
    model = folders.serve(pima_folder)
    yield model
    model.close()


@pytest.fixture(scope="session")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoadedModel]:
    """Three classes that are texts, four columns, one of them optional."""
    dataset = make_dataset(("a", "b", "c"), None)
    model = folders.serve(folders.save(tmp_path_factory.mktemp("three") / "model", dataset))
    yield model
    model.close()


@pytest.fixture(scope="session")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoadedModel]:
    """Columns of each kind, texts among them: nothing is compiled."""
    dataset = make_mixed_dataset(with_texts=True)
    model = folders.serve(folders.save(tmp_path_factory.mktemp("mixed") / "model", dataset))
    yield model
    model.close()


@pytest.fixture(params=["pima", "three"])
def model(request: pytest.FixtureRequest) -> LoadedModel:
    """Each of both."""
    return request.getfixturevalue(request.param)
