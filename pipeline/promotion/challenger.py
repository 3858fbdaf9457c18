"""Models of the store, loaded as they are served, and what the gate looks at: both asked afresh."""

import hashlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from numpy.typing import NDArray

from pipeline.config.sections import Config
from pipeline.datasets import row_hash
from pipeline.errors import (
    ContractError,
    FilesError,
    MissingFilesError,
    ModelError,
    RegistryError,
)
from pipeline.evaluation import metrics
from pipeline.evaluation.metrics import AnyPredictions
from pipeline.inference import manifest, model_folder
from pipeline.inference.predictor import Predictor
from pipeline.models import families
from pipeline.models.encoders import Features
from pipeline.promotion import gate
from pipeline.promotion.gate import Evidence, PairedComparison
from pipeline.results import Candidate, Dataset, Metadata
from pipeline.schema.rules import Rules, to_matrix
from pipeline.tracking import model_files, registry, runs
from pipeline.tracking.arrays import FormatError, unpack


@dataclass(frozen=True)
class StoredModel:
    """A challenger or a champion: a model of the store, with its files verified and loaded."""

    title: str  # "version 3"
    model_id: str
    digests: Mapping[str, str]  # of the table and the split that it was trained on
    metrics: Mapping[str, float]  # as logged: cv/log_loss, test/accuracy, ...
    folder: Path  # its verified files
    predictor: Predictor

    def predict(self, X: pd.DataFrame, y: "pd.Series[Any]", metadata: Metadata) -> AnyPredictions:
        """What it predicts for labelled rows. Raises ContractError for one outside its contract."""
        contract = self.predictor.contract
        given = X[[name for name in contract.columns if name in X]]
        rows = to_matrix(Rules(contract.columns), given)
        trained = self.predictor.trained
        return metrics.of_rows(
            *(contract, y, self.predictor.predict(rows), trained.scores or trained.threshold),
            metadata,
        )

    def is_of(self, dataset: Dataset) -> bool:
        """Whether it was trained, and cross-validated, on this table and split."""
        return self.digests == dataset.digests


@contextmanager
def of_candidate(title: str, candidate: Candidate) -> Iterator[StoredModel]:
    """A logged model, held against what was logged. Raises FilesError, ModelError."""
    with ExitStack() as stack:
        try:
            folder = stack.enter_context(model_files.verified(candidate.model_id))
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            raise FilesError(
                f"logged model {candidate.model_id} is not in the store any more; {manifest.REMEDY}"
            ) from error
        yield StoredModel(
            title,
            candidate.model_id,
            candidate.digests,
            candidate.metrics,
            folder,
            model_folder.load(folder),
        )


@contextmanager
def of_version(registered: ModelVersion) -> Iterator[StoredModel]:
    """A promoted version, held against its manifest. Raises ModelError, RegistryError."""
    version, address = registry.with_manifest(registered)
    digests = registry.digests(registered)
    title, model_id = f"version {registered.version}", registry.logged_model_id(registered)
    with model_files.at(address) as source, tempfile.TemporaryDirectory() as copy:
        folder = Path(copy)
        manifest.copy(source, version.manifest, folder)
        yield StoredModel(
            title, model_id, digests, version.metrics, folder, model_folder.load(folder)
        )


def why_unusable(version: ModelVersion) -> str:
    """Why no door can serve a version: its files are gone; "" if not, or if they were changed."""
    try:
        with of_version(version):
            return ""
    except MissingFilesError as error:
        return str(error)
    except FilesError:
        return ""


def gather_evidence(
    config: Config, dataset: Dataset, challenger: StoredModel, champion: ModelVersion | None
) -> Evidence:
    """The challenger on its test part, and beside the champion on what neither was trained on."""
    evidence = Evidence(
        logged=gate.tested(challenger.metrics),
        predictions=challenger.predict(
            dataset.cells_of(dataset.X_test), dataset.y_test, dataset.metadata.of(dataset.X_test)
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
        first = challenger.predict(X, y, dataset.metadata.of(X))
    name = f"cv/{config.gate.primary}"
    is_alike = champion.is_of(dataset) and name in champion.metrics
    return PairedComparison(
        champion=champion.title,
        first=first,
        second=champion.predict(X, y, dataset.metadata.of(X)),
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
