"""What the gate looks at: the challenger and the champion asked afresh, on the same rows."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from numpy.typing import NDArray

from pipeline.config.sections import Config
from pipeline.datasets import row_hash
from pipeline.errors import ContractError, ModelError, RegistryError
from pipeline.evaluation import metrics
from pipeline.evaluation.metrics import AnyPredictions
from pipeline.models import families
from pipeline.models.encoders import Features
from pipeline.promotion import gate
from pipeline.promotion.gate import Evidence, PairedComparison
from pipeline.promotion.stored_model import StoredModel, of_version
from pipeline.results import Dataset, Metadata
from pipeline.schema.rules import Rules, to_matrix
from pipeline.tracking import registry, runs
from pipeline.tracking.arrays import FormatError, unpack


def gather_evidence(
    config: Config, dataset: Dataset, challenger: StoredModel, champion: ModelVersion | None
) -> Evidence:
    """The challenger on its test part, and beside the champion on what neither was trained on."""
    evidence = Evidence(
        logged=gate.tested(challenger.metrics),
        predictions=predict(
            challenger,
            dataset.cells_of(dataset.X_test),
            dataset.y_test,
            dataset.metadata.of(dataset.X_test),
        ),
        dummy=_dummy(dataset),
        X=dataset.X_test,
        comparison=None,
        classes=dataset.class_names,
        columns=dataset.contract.columns,
        rows_note=dataset.rows_note,
    )
    if champion is None:
        return evidence
    try:
        with of_version(champion) as holder:
            comparison = _compare(config, dataset, challenger, holder, evidence.predictions)
            return replace(evidence, comparison=comparison)
    except (ContractError, ModelError, RegistryError) as error:
        return replace(evidence, comparison=str(error))


def predict(
    model: StoredModel, X: pd.DataFrame, y: "pd.Series[Any]", metadata: Metadata
) -> AnyPredictions:
    """What a model predicts for labelled rows. Raises ContractError for one that it refuses."""
    contract, trained = model.predictor.contract, model.predictor.trained
    given = X[[name for name in contract.columns if name in X]]
    outputs = model.predictor.predict(to_matrix(Rules(contract.columns), given))
    return metrics.of_rows(
        contract, y, outputs, trained.scores or trained.threshold, metadata=metadata
    )


def _compare(
    config: Config,
    dataset: Dataset,
    challenger: StoredModel,
    champion: StoredModel,
    tested: AnyPredictions,
) -> PairedComparison:
    """On the same rows; `tested` are the challenger's of the test part. Raises ContractError."""
    where = held_out(dataset, [challenger, champion])
    if np.array_equal(where, _test_part(dataset)):
        first, X, y = tested, dataset.cells_of(dataset.X_test), dataset.y_test
    else:
        X, y = dataset.cells_of(dataset.X[where]), dataset.y[where]
        first = predict(challenger, X, y, dataset.metadata.of(X))
    name = f"cv/{config.gate.primary}"
    is_alike = champion.is_of(dataset) and name in champion.metrics
    return PairedComparison(
        champion=champion.title,
        first=first,
        second=predict(champion, X, y, dataset.metadata.of(X)),
        rows_digest=hashlib.sha256(np.flatnonzero(where).astype("<i8").tobytes()).hexdigest(),
        cross_validated=(challenger.metrics[name], champion.metrics[name]) if is_alike else None,
    )


def _dummy(dataset: Dataset) -> AnyPredictions:
    """What the training part has on average, for every row of the test part."""
    metadata = dataset.metadata.of(dataset.X_train)
    model = families.dummy(Features.of(dataset.contract))
    model.fit(dataset.X_train, dataset.y_train, sample_weight=metadata.sample_weight)
    return metrics.predict(dataset, model, None)


def held_out(dataset: Dataset, models: Sequence[StoredModel]) -> NDArray[np.bool_]:
    """Which rows of the table none of the models was trained on, nor on rows of their group.

    Raises ContractError where that cannot be told, or they do not answer the same question.
    """
    where = np.ones(len(dataset.X), dtype=bool)
    for model in models:
        _check_question(dataset, model)
        where &= _test_part(dataset) if model.is_of(dataset) else _not_trained_on(dataset, model)
    return where


def _test_part(dataset: Dataset) -> NDArray[np.bool_]:
    """Which rows of the table are in its test part."""
    return np.asarray(dataset.X.index.isin(dataset.X_test.index))


def _not_trained_on(dataset: Dataset, model: StoredModel) -> NDArray[np.bool_]:
    trained = _training_rows(model)
    hashes = row_hash.hash_rows(model.predictor.contract, dataset.cells_of(dataset.X), dataset.y)
    where = np.isin(hashes, trained["identities"], invert=True)
    if where.all() and model.digests.get("data_digest") == dataset.digest:
        # Or else every row would count as one that the model was not trained on.
        raise ContractError(
            f"{model.title} was trained on this same table, and none of the rows that it was "
            f"trained on is found in it: its {row_hash.FILE} was made by another version of the "
            "pipeline, or from other data.columns; train the model anew"
        )
    return where & _of_other_groups(dataset, trained, where)


def _of_other_groups(
    dataset: Dataset, trained: Mapping[str, NDArray[Any]], where: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Which rows are of groups that a model was not trained on; all where rows have no groups.

    A model that was trained without groups, or by another column, was trained on those of its
    rows that are in the table.
    """
    groups = dataset.metadata.groups
    if groups is None:
        return np.ones_like(where)
    in_table = groups.loc[dataset.X.index].to_numpy()
    familiar = in_table[~where]
    if trained.get("group_column", "") == groups.name:
        familiar = np.concatenate([familiar, trained["groups"]])
    return np.isin(in_table, familiar, invert=True)


def _check_question(dataset: Dataset, model: StoredModel) -> None:
    """Raises ContractError for a model of another target or other classes than the config's."""
    for name in ("target", "classes", "positive"):
        here, there = getattr(dataset.contract, name), getattr(model.predictor.contract, name)
        if here != there:
            raise ContractError(
                f"{model.title} has the {name} {there!r}, and the config {here!r}; "
                "name the config that it was trained with"
            )


def _training_rows(model: StoredModel) -> Mapping[str, NDArray[Any]]:
    """The hashes that the training run holds. Raises ContractError where they cannot be read."""
    try:
        content = runs.read_artifact(registry.training_run(model.model_id), row_hash.FILE)
        arrays = unpack(content, row_hash.FORMAT)
        return {"identities": arrays["identities"], **arrays}
    except (MlflowException, OSError, ValueError, KeyError) as error:
        why = str(error) if isinstance(error, FormatError) else "is gone or damaged"
        raise ContractError(
            f"which rows {model.title} was trained on is not known: {row_hash.FILE} of its "
            f"training run {why}"
        ) from None
