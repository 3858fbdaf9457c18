"""The files of logged models: where they are, and whether they are what was logged."""

import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import mlflow
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.utils.file_utils import local_file_uri_to_path
from mlflow.utils.uri import is_local_uri

from pipeline import durable, manifest
from pipeline.errors import FilesError
from pipeline.manifest import Manifest


def of(model_id: str) -> AbstractContextManager[Path]:
    """The folder of a logged model, as it is."""
    return at(str(MlflowClient().get_logged_model(model_id).artifact_location))


@contextmanager
def at(address: str) -> Iterator[Path]:
    """The folder at an address of artifacts: where it is on this machine, or fetched meanwhile.

    Raises FilesError for one that was to be fetched and is not there.
    """
    if is_local_uri(address):
        yield Path(local_file_uri_to_path(address))
    else:
        with tempfile.TemporaryDirectory() as target:
            yield _fetched(address, target)


def _fetched(address: str, target: str) -> Path:
    try:
        return Path(mlflow.artifacts.download_artifacts(address, dst_path=target))
    except MlflowException as error:
        if mlflow.artifacts.list_artifacts(artifact_uri=address):
            raise
        told = f"the model's files at {address} are gone; {manifest.REMEDY}"
        raise FilesError(told) from error


def seal(model_id: str) -> None:
    """Keeps what the files hold in the tags of the model: from here on no other is loaded."""
    with of(model_id) as folder:
        durable.sync(folder)
        tags = manifest.to_tags(manifest.of(folder))
    MlflowClient().set_logged_model_tags(model_id, tags)


def sealed(model_id: str) -> Manifest:
    """What the files held when they were logged; of a model that was not sealed, what they hold."""
    known = manifest.from_tags(MlflowClient().get_logged_model(model_id).tags)
    if known is not None:
        return known
    with of(model_id) as folder:
        durable.sync(folder)
        return manifest.of(folder)


@contextmanager
def verified(model_id: str) -> Iterator[Path]:
    """A copy of the files, meanwhile. Raises FilesError if they are not what was logged."""
    known = sealed(model_id)
    with of(model_id) as folder, tempfile.TemporaryDirectory() as copy:
        try:
            manifest.copy(folder, known, Path(copy))
        except FilesError as error:
            raise FilesError(f"logged model {model_id}: {error}") from None
        yield Path(copy)
