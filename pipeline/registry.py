"""The model registry: versions, the aliases `champion` and `previous`."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from math import nan
from pathlib import Path

import mlflow
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.utils.file_utils import local_file_uri_to_path
from mlflow.utils.uri import is_local_uri

from pipeline import manifest
from pipeline.errors import ModelError, RegistryError
from pipeline.results import Candidate, Decision, Promotion, Version

CHAMPION = "champion"
PREVIOUS = "previous"
LONGEST_TAG = 5000
MEASURED = ("cv/", "cv_std/", "test/", "test_95/")
ABSENT = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")  # no such model, no such alias


def champion(name: str) -> ModelVersion | None:
    """The version that answers now."""
    try:
        return MlflowClient().get_model_version_by_alias(name, CHAMPION)
    except MlflowException as error:
        if error.error_code in ABSENT:
            return None
        raise


def champion_version(name: str) -> str | None:
    """Its number, as a text."""
    version = champion(name)
    return None if version is None else str(version.version)


def promoted(name: str, number: str | None = None) -> tuple[Version, str]:
    """The champion, or another version, with its manifest, and the address of its files.

    Raises RegistryError, ModelError.
    """
    version = MlflowClient().get_model_version(name, number) if number else champion(name)
    if version is None:
        raise RegistryError(
            f"registry.model {name!r} has no version with the alias {CHAMPION!r} to serve; "
            "promote one first: `mlflow run .` or `python -m pipeline run`"
        )
    known = manifest.from_tags(version.tags)
    if known is None:
        raise ModelError(
            f"{name} version {version.version} has no manifest to verify it by; "
            "promote it once more: `mlflow run . -e promote`"
        )
    metrics = {key: _number(text) for key, text in version.tags.items() if key.startswith(MEASURED)}
    address = MlflowClient().get_model_version_download_uri(name, version.version)
    return Version(name, str(version.version), str(version.run_id), metrics, known), str(address)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return nan


def promote(name: str, decision: Decision) -> Promotion:
    """Carries the decision out; the alias moves last. Doing it twice changes nothing."""
    reason = "; ".join(decision.reasons)
    now = champion(name)
    if not decision.passed:
        stays = f"version {now.version} stays champion" if now else "there is no champion"
        still = str(now.version) if now else None
        return Promotion("kept", still, f"{name}: {stays}; the best candidate fails: {reason}")
    if now is not None and now.source == _source(decision.candidate):
        _add_manifest(now, decision.candidate)
        sentence = f"{name}: version {now.version} stays champion ({reason})"
        return Promotion("unchanged", str(now.version), sentence)
    version = _register(name, decision.candidate)
    client = MlflowClient()
    if now is not None:
        client.set_registered_model_alias(name, PREVIOUS, now.version)
    client.set_registered_model_alias(name, CHAMPION, version.version)
    sentence = f"{name}: version {version.version} is champion now ({reason})"
    return Promotion("promoted", str(version.version), sentence)


def _register(name: str, candidate: Candidate) -> ModelVersion:
    """The candidate's version: the one it has already, or a new one with its story as tags."""
    client = MlflowClient()
    known = client.search_registered_models(f"name = '{name}'", max_results=1)
    if not known:
        client.create_registered_model(name)
    for version in client.search_model_versions(f"name = '{name}'") if known else ():
        if version.source == _source(candidate):
            _add_manifest(version, candidate)
            return version
    story = {
        **candidate.digests,
        **{name: f"{value:.6g}" for name, value in candidate.metrics.items()},
        **candidate.params,
    }
    return client.create_model_version(
        name,
        source=_source(candidate),
        run_id=candidate.run_id,
        model_id=candidate.model_id,
        tags={**{key: value[:LONGEST_TAG] for key, value in story.items()}, **_manifest(candidate)},
    )


def _add_manifest(version: ModelVersion, candidate: Candidate) -> None:
    """For one that was registered by hand."""
    if manifest.from_tags(version.tags) is None:
        for key, text in _manifest(candidate).items():
            MlflowClient().set_model_version_tag(version.name, version.version, key, text)


def _manifest(candidate: Candidate) -> dict[str, str]:
    with files(MlflowClient().get_logged_model(candidate.model_id).artifact_location) as folder:
        return manifest.to_tags(manifest.of(folder))


@contextmanager
def files(address: str) -> Iterator[Path]:
    """The folder at an address of artifacts: where it is on this machine, or fetched meanwhile."""
    if is_local_uri(address):
        yield Path(local_file_uri_to_path(address))
    else:
        with tempfile.TemporaryDirectory() as target:
            yield Path(mlflow.artifacts.download_artifacts(address, dst_path=target))


def _source(candidate: Candidate) -> str:
    return f"models:/{candidate.model_id}"
