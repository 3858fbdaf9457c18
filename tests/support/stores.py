"""MLflow stores for tests, copied from one that is made once: its migrations take seconds."""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest


def experiments(client: Any) -> list[str]:
    """The ids of all experiments."""
    return [experiment.experiment_id for experiment in client.search_experiments()]


@contextmanager
def store_in(folder: Path, empty: Path) -> Iterator[None]:
    """Meanwhile MLflow's store is in the folder: a copy of an empty one, if there is none yet."""
    import mlflow  # takes seconds, and most files do without

    database = folder / "mlflow.db"
    if not database.exists():
        copy_store(empty, database)
    before = mlflow.get_tracking_uri()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{database}")
        patch.delenv("MLFLOW_RUN_ID", raising=False)
        patch.chdir(folder)
        mlflow.set_tracking_uri(f"sqlite:///{database}")
        yield
        mlflow.set_tracking_uri(before)


def copy_store(empty: Path, database: Path) -> None:
    """A copy whose experiment has its artifacts beside it."""
    shutil.copy(empty, database)
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute(
            "UPDATE experiments SET artifact_location = replace(artifact_location, ?, ?)",
            (str(empty.parent), str(database.parent)),
        )
