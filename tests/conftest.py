"""What holds for every test."""

import sys
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _path_stays_as_it_is() -> Iterator[None]:
    """MLflow puts a loaded model's code first, where workers would find it for the project's."""
    before = list(sys.path)
    yield
    sys.path[:] = before
