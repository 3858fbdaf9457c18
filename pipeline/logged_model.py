"""The logged model: the fitted classifier with its contract, code, requirements and example."""

import logging
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlflow
from mlflow.models import Model

from pipeline import model_files, packages, scorer, serving
from pipeline.compilation import Compilation
from pipeline.config import Config
from pipeline.results import Dataset, Training

EXAMPLE_ROWS = 3
SHIPPED = (  # what answers a request
    *("__init__", "errors", "columns", "contract", "compiled", "explain", "linear", "manifest"),
    *("scorer", "serving"),
)
REQUIREMENTS = (
    "mlflow",
    "scikit-learn",
    "numpy",
    "scipy",
    "pandas",
    "pydantic",
    "onnxruntime",
    "httptools",
    "uvloop",
)


def log(config: Config, dataset: Dataset, training: Training, compilation: Compilation) -> str:
    """The id of the logged model: the pickled classifier with all that an answer needs."""
    estimators = config.tune.import_paths()
    required = {name: version(name) for name in REQUIREMENTS} | packages.distributions(estimators)
    X_train = dataset.X_train.to_numpy()
    served = scorer.describe(training.threshold, X_train, compilation.linear)
    with _staged_code() as code, _quiet():
        info = Model.log(
            name=re.sub(r"[^\w -]", "_", dataset.name),
            artifact_path=None,
            flavor=serving,
            model=training.model,
            contract=dataset.contract,
            served=served,
            graph=compilation.graph,
            code_paths=[code, *map(str, packages.files(estimators))],
            pip_requirements=[f"{name}=={number}" for name, number in required.items()],
            signature=serving.signature(dataset.contract, training.threshold),
            # Complete where it can be: MLflow writes a gap as NaN, which is not JSON.
            input_example=dataset.examples(EXAMPLE_ROWS).reset_index(drop=True),
        )
    model_files.seal(info.model_id)
    return str(info.model_id)


def load(folder: Path) -> Any:
    """The fitted scikit-learn classifier among a logged model's files."""
    path = list(sys.path)
    model = mlflow.sklearn.load_model(str(folder))
    sys.path[:] = path  # MLflow puts the model's own code before the project's
    return model


@contextmanager
def _staged_code() -> Iterator[str]:
    """The few modules that the served model needs, in a folder of the package's name."""
    here = Path(__file__).parent
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder) / here.name
        package.mkdir()
        for module in SHIPPED:
            shutil.copy(here / f"{module}.py", package)
        yield str(package)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silences advice at each save: against pickle, which the user asked for, and on pip."""
    loggers = [logging.getLogger(f"mlflow.{name}") for name in ("sklearn", "utils.environment")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
