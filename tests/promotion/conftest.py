"""One store for all promotion tests: a model that one file has trained is reused by the others."""

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from tests.support.stores import store_in

PICTURE = b"\x89PNG"


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
def _no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are looked at elsewhere, and to draw them takes a third of a promotion here."""

    def savefig(_: Figure, target: Path | BytesIO, **__: object) -> None:
        if isinstance(target, Path):
            target.write_bytes(PICTURE)
        else:
            target.write(PICTURE)

    monkeypatch.setattr(Figure, "savefig", savefig)
