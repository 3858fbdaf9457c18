from pathlib import Path

import pytest
from mlflow import MlflowClient

from .lab import Lab


@pytest.fixture(scope="module")
def client(store: Path) -> MlflowClient:
    return MlflowClient()


@pytest.fixture(scope="module")
def lab(store: Path) -> Lab:
    return Lab(store)
