"""Models of the store on rows that none of them was trained on, each loaded as it is served."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from numpy.typing import NDArray

from pipeline.datasets import row_hash
from pipeline.errors import ContractError, FilesError, MissingFilesError
from pipeline.evaluation import metrics
from pipeline.evaluation.metrics import Predictions
from pipeline.inference import manifest, model_folder
from pipeline.inference.predictor import Predictor
from pipeline.results import DIGESTS, Candidate, Dataset
from pipeline.schema.rules import Rules, to_matrix
from pipeline.tracking import model_files, registry
from pipeline.tracking import runs as tracking
from pipeline.tracking.arrays import FormatError, unpack


@dataclass(frozen=True)
class Entrant:
    """A model that can be asked."""

    shown: str  # "version 3"
    model_id: str
    digests: Mapping[str, str]  # of the table and the split that it was trained on
    metrics: Mapping[str, float]  # as logged: cv/log_loss, test/accuracy, ...
    folder: Path  # its verified files
    scorer: Predictor

    def ask(self, X: pd.DataFrame, y: "pd.Series[Any]") -> Predictions:
        """What it says of rows. Raises ContractError for those that its contract refuses."""
        columns = self.scorer.contract.columns
        rows = to_matrix(Rules(columns), X[[name for name in columns if name in X]])
        return metrics.of_rows(
            self.scorer.contract, y, self.scorer.predict(rows), self.scorer.threshold
        )


@contextmanager
def of_candidate(shown: str, candidate: Candidate) -> Iterator[Entrant]:
    """A logged model, held against what was logged. Raises FilesError, ModelError."""
    digests, measured = candidate.digests, candidate.metrics
    with ExitStack() as stack:
        try:
            folder = stack.enter_context(model_files.verified(candidate.model_id))
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            raise FilesError(
                f"logged model {candidate.model_id} is not in the store any more; {manifest.REMEDY}"
            ) from error
        loaded = model_folder.load(folder)
        yield Entrant(shown, candidate.model_id, digests, measured, folder, loaded)


@contextmanager
def of_version(known: ModelVersion) -> Iterator[Entrant]:
    """A promoted version, held against its manifest. Raises ModelError, RegistryError."""
    version, address = registry.served(known)
    digests = {key: known.tags[key] for key in DIGESTS if key in known.tags}
    shown, model_id = f"version {known.version}", registry.logged(known)
    with model_files.at(address) as source, tempfile.TemporaryDirectory() as copy:
        folder = Path(copy)
        manifest.copy(source, version.manifest, folder)
        loaded = model_folder.load(folder)
        yield Entrant(shown, model_id, digests, version.metrics, folder, loaded)


def why_unusable(version: ModelVersion) -> str:
    """Why no door can serve a version: its files are gone; "" if not, or if they were changed."""
    try:
        with of_version(version):
            return ""
    except MissingFilesError as error:
        return str(error)
    except FilesError:
        return ""


def unseen(dataset: Dataset, entrants: Sequence[Entrant]) -> NDArray[np.bool_]:
    """Which rows of the table none of them was trained on.

    Raises ContractError where that cannot be told, or they do not answer the same question.
    """
    left = np.ones(len(dataset.X), dtype=bool)
    for entrant in entrants:
        _check_question(dataset, entrant)
        left &= _unseen_by(dataset, entrant)
    return left


def test_part(dataset: Dataset) -> NDArray[np.bool_]:
    """Which rows of the table are its."""
    return np.asarray(dataset.X.index.isin(dataset.X_test.index))


def same_rows(dataset: Dataset, entrant: Entrant) -> bool:
    """Whether it was trained, and cross-validated, on this table and split."""
    return entrant.digests == dataset.digests


def _unseen_by(dataset: Dataset, entrant: Entrant) -> NDArray[np.bool_]:
    if same_rows(dataset, entrant):
        return test_part(dataset)
    trained = _training_rows(entrant)
    hashes = row_hash.hash_rows(entrant.scorer.contract, dataset.X, dataset.y)
    unseen = np.isin(hashes, trained, invert=True)
    if unseen.all() and entrant.digests.get("data_digest") == dataset.digest:
        # Or else every row would count as one that the model was not trained on.
        raise ContractError(
            f"{entrant.shown} was trained on this same table, and none of the rows that it was "
            f"trained on is found in it: its {row_hash.FILE} was made by another version of the "
            "pipeline, or from other data.columns; train the model anew"
        )
    return unseen


def _check_question(dataset: Dataset, entrant: Entrant) -> None:
    asked, answered = dataset.contract, entrant.scorer.contract
    for what in ("target", "classes", "positive"):
        here, there = getattr(asked, what), getattr(answered, what)
        if here != there:
            raise ContractError(
                f"{entrant.shown} has the {what} {there!r}, and the config {here!r}; "
                "name the config that it was trained with"
            )


def _training_rows(entrant: Entrant) -> NDArray[np.uint64]:
    try:
        run_id = registry.training_run(entrant.model_id)
        content = tracking.read_artifact(run_id, row_hash.FILE)
        return unpack(content, row_hash.FORMAT)["identities"]
    except (MlflowException, OSError, ValueError, KeyError) as error:
        why = str(error) if isinstance(error, FormatError) else "is gone or damaged"
        raise ContractError(
            f"which rows {entrant.shown} was trained on is not known: {row_hash.FILE} of its "
            f"training run {why}"
        ) from None
