"""Models of the store, verified and loaded as they are served."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from pipeline.errors import FilesError, MissingFilesError
from pipeline.inference import manifest, model_folder
from pipeline.inference.predictor import Predictor
from pipeline.results import Candidate, Dataset
from pipeline.tracking import model_files, registry


@dataclass(frozen=True)
class StoredModel:
    """A challenger or a champion: a model of the store, with its files verified and loaded."""

    title: str  # "version 3"
    model_id: str
    digests: Mapping[str, str]  # of the table and the split that it was trained on
    metrics: Mapping[str, float]  # as logged: cv/log_loss, test/accuracy, ...
    folder: Path  # its verified files
    predictor: Predictor

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
