"""The files of logged models: where they are, and whether they are what was logged."""

import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path

import mlflow
from mlflow import MlflowClient
from mlflow.entities import LoggedModel
from mlflow.exceptions import MlflowException
from mlflow.utils.file_utils import local_file_uri_to_path
from mlflow.utils.uri import is_local_uri

from pipeline.errors import FilesError, MissingFilesError
from pipeline.inference import manifest
from pipeline.inference.manifest import Manifest
from pipeline.tracking import durable


@dataclass
class _Cache:
    """Logged models by id, and the folders of those that were downloaded, by address."""

    folder: Path
    models: dict[str, LoggedModel] = field(default_factory=dict)
    downloads: dict[str, Path] = field(default_factory=dict)


_CACHE: ContextVar[_Cache | None] = ContextVar("cache", default=None)


@contextmanager
def cached() -> Iterator[None]:
    """Meanwhile each logged model is asked for once, and downloaded once where it is elsewhere.

    Both are written when a model is trained and never after: for the length of a command, not of
    a server. Each use holds the files against a manifest, as if they had come anew.
    """
    with tempfile.TemporaryDirectory() as folder:
        before = _CACHE.set(_Cache(Path(folder)))
        try:
            yield
        finally:
            _CACHE.reset(before)


def logged(model_id: str) -> LoggedModel:
    """A logged model with its tags. Raises MlflowException where it is not there."""
    cache = _CACHE.get()
    if cache is None:
        return MlflowClient().get_logged_model(model_id)
    if model_id not in cache.models:
        cache.models[model_id] = MlflowClient().get_logged_model(model_id)
    return cache.models[model_id]


def of(model_id: str) -> AbstractContextManager[Path]:
    """The folder of a logged model, as it is."""
    return at(str(logged(model_id).artifact_location))


@contextmanager
def at(address: str) -> Iterator[Path]:
    """The folder at an address of artifacts: where it is on this machine, or fetched meanwhile.

    Raises FilesError for one that was to be fetched and is not there.
    """
    cache = _CACHE.get()
    if is_local_uri(address):
        yield Path(local_file_uri_to_path(address))
    elif cache is not None:
        if address not in cache.downloads:
            target = tempfile.mkdtemp(dir=cache.folder)
            cache.downloads[address] = _fetched(address, target)
        yield cache.downloads[address]
    else:
        with tempfile.TemporaryDirectory() as target:
            yield _fetched(address, target)


def _fetched(address: str, target: str) -> Path:
    try:
        return Path(mlflow.artifacts.download_artifacts(address, dst_path=target))
    except MlflowException as error:
        if mlflow.artifacts.list_artifacts(artifact_uri=address):
            raise
        message = f"the model's files at {address} are gone; {manifest.REMEDY}"
        raise MissingFilesError(message) from error


def seal(model_id: str, uploaded: Manifest | None = None) -> None:
    """Keeps what the files hold in the tags of the model: from here on no other is loaded.

    With the manifest of what was uploaded, files that are elsewhere need not be fetched for it.
    """
    client = MlflowClient()
    address = str(client.get_logged_model(model_id).artifact_location)
    held = uploaded
    if held is None or is_local_uri(address):
        with at(address) as folder:
            durable.sync(folder)
            held = manifest.of(folder)
    client.set_logged_model_tags(model_id, manifest.to_tags(held))


def sealed(model_id: str) -> Manifest:
    """What the files held when they were logged; of a model that was not sealed, what they hold."""
    logged_manifest = manifest.from_tags(logged(model_id).tags)
    if logged_manifest is not None:
        return logged_manifest
    with of(model_id) as folder:
        durable.sync(folder)
        return manifest.of(folder)


@contextmanager
def verified(model_id: str) -> Iterator[Path]:
    """A copy of the files, meanwhile. Raises FilesError if they are not what was logged."""
    logged_manifest = sealed(model_id)
    with of(model_id) as folder, tempfile.TemporaryDirectory() as copy:
        try:
            manifest.copy(folder, logged_manifest, Path(copy))
        except FilesError as error:
            raise type(error)(f"logged model {model_id}: {error}") from None
        yield Path(copy)
