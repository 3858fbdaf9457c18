"""Small models in folders as training leaves them, and as they are served from there."""

import logging
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from sklearn.model_selection import FixedThresholdClassifier
from threadpoolctl import threadpool_limits

from pipeline.config.load import load
from pipeline.datasets.sources import open_source
from pipeline.export.onnx_graph import translate
from pipeline.inference import manifest, mlflow_flavor
from pipeline.inference.predictor import Trained
from pipeline.models import families as models
from pipeline.models.encoders import Features
from pipeline.results import Dataset, Version
from pipeline.server.loaded_model import LoadedModel
from pipeline.steps.ingest import ingest

THRESHOLD = 0.4
MOST_ROWS = 1000


def pima() -> Dataset:
    """The real table, checked and split as the config says."""
    config = load("configs/pima.yaml", {})
    return ingest(config, open_source(config.data))


@threadpool_limits.wrap(limits=1)  # threads that wait for a busy machine cost seconds
def save(
    folder: Path,
    dataset: Dataset,
    family: str = "logistic_regression",
    example: pd.DataFrame | None = None,
    is_compiled: bool = True,
) -> Path:
    """A model of the family, fitted on the training part, with its graph and an example.

    Where columns are of other kinds than numbers, there is no graph.
    """
    positive = dataset.contract.positive
    features = Features.of(dataset.contract)
    model: Any = models.build(family, {}, 0, features)
    if positive is not None:
        model = FixedThresholdClassifier(
            model, threshold=THRESHOLD, pos_label=positive, response_method="predict_proba"
        )
    model.fit(dataset.X_train, dataset.y_train)
    threshold = None if positive is None else THRESHOLD
    rows = dataset.examples(3) if example is None else example
    graph = None
    if is_compiled and features.are_numbers:
        graph = translate(model, dataset.X_train.shape[1]).SerializeToString()
    advice = logging.getLogger("mlflow.sklearn")
    advice.setLevel(logging.ERROR)  # against pickle
    mlflow_flavor.save_model(
        str(folder),
        mlflow.models.Model(),
        model,
        dataset.contract,
        Trained.on(dataset.contract, dataset.X_train.to_numpy(), threshold),
        None,
        graph,
        signature=mlflow_flavor.signature(dataset.contract, threshold),
        pip_requirements=["scikit-learn"],
        input_example=rows.reset_index(drop=True),
    )
    return folder


def serve(folder: Path, metrics: dict[str, float] | None = None) -> LoadedModel:
    """As version 7 of `visits`, promoted as it is."""
    version = Version("visits", "7", "r1", metrics or {"cv/log_loss": 0.5}, manifest.of(folder))
    return LoadedModel(version, folder, MOST_ROWS)
