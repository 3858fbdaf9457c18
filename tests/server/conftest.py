"""Models that are served in several files: to fit and save one takes a second."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.server import telemetry
from pipeline.server.loaded_model import LoadedModel
from tests.support import model_folders as folders
from tests.support.builders import make_dataset


@pytest.fixture(autouse=True)
def _log_is_written() -> Iterator[None]:
    """Lines are written a moment later: each test's own, before the next begins."""
    yield
    telemetry.flush()


@pytest.fixture(scope="session")
def pima_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folders.save(tmp_path_factory.mktemp("pima") / "model", folders.pima())


@pytest.fixture(scope="session")
def pima(pima_folder: Path) -> Iterator[LoadedModel]:
    """Two classes, eight columns with units, ranges and marks."""
    served = folders.serve(pima_folder)
    yield served
    served.close()


@pytest.fixture(scope="session")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoadedModel]:
    """Three classes that are texts, four columns, one of them optional."""
    dataset = make_dataset(("a", "b", "c"), None)
    served = folders.serve(folders.save(tmp_path_factory.mktemp("three") / "model", dataset))
    yield served
    served.close()
