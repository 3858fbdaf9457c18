"""Starts the REST endpoint of the champion."""

import os
import sys
from pathlib import Path

from mlflow.cli import cli

from pipeline import registry
from pipeline.config import Config
from pipeline.errors import RegistryError


def serve(config: Config) -> None:
    """Runs `mlflow models serve` of the champion until it is stopped. Raises RegistryError."""
    name = config.registry.model
    if registry.champion(name) is None:
        raise RegistryError(
            f"registry.model {name!r} has no version with the alias 'champion' to serve; "
            "promote one first: `mlflow run .` or `python -m pipeline run`"
        )
    # One row at a time, threads cost gradient boosting more than they bring.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    # MLflow starts uvicorn by its name, which an environment that is not activated hides.
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    options = {
        "--model-uri": f"models:/{name}@{registry.CHAMPION}",
        "--env-manager": "local",
        "--host": config.serve.host,
        "--port": str(config.serve.port),
        "--workers": str(config.serve.workers),
    }
    words = [word for option in options.items() for word in option]
    cli.main(args=["models", "serve", *words], standalone_mode=False)
