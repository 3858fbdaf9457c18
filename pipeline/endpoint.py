"""Starts the REST endpoint of the champion."""

import os
import sys
from pathlib import Path

from pipeline import registry
from pipeline.config import Config
from pipeline.errors import RegistryError


def serve(config: Config) -> None:
    """Becomes MLflow's own server of the champion; does not return. Raises RegistryError."""
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
    command = [sys.executable, "-m", "mlflow", "models", "serve", "--env-manager", "local"]
    command += ["--model-uri", f"models:/{name}@champion"]
    command += ["--host", config.serve.host, "--port", str(config.serve.port)]
    command += ["--workers", str(config.serve.workers)]
    sys.stdout.flush()
    os.execv(sys.executable, command)
