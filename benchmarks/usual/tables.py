"""What every step of the usual project does: options in, CSV files from run to run."""

import argparse
import tempfile
from pathlib import Path

import mlflow
import pandas as pd


def options(*names: str) -> argparse.Namespace:
    """Required options by these names."""
    parser = argparse.ArgumentParser()
    for name in names:
        parser.add_argument(f"--{name.replace('_', '-')}", required=True)
    return parser.parse_args()


def log_table(table: pd.DataFrame, name: str) -> None:
    """The table as a CSV artifact of the active run."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        table.to_csv(path, index=False)
        mlflow.log_artifact(str(path))


def load_table(run_id: str, name: str) -> pd.DataFrame:
    """A CSV artifact of another run."""
    return pd.read_csv(mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path=name))
