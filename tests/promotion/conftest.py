"""One store for all promotion tests: a model that one file has trained is reused by the others."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.stores import store_in


@pytest.fixture(scope="session")
def promotion_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("promotion")


@pytest.fixture(scope="module")
def store(
    promotion_folder: Path, empty_store: Path, no_waiting_for_the_disk: None
) -> Iterator[Path]:
    """The shared store: each test has registered models of its own."""
    with store_in(promotion_folder, empty_store):
        yield promotion_folder


@pytest.fixture(autouse=True)
def _no_pictures(no_pictures: None) -> None:
    """To draw them takes a third of a promotion here."""
