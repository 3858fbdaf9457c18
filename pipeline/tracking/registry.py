"""The model registry: versions, the aliases `champion` and `previous`."""

import json
import re
from collections.abc import Callable, Mapping
from functools import partial
from math import nan
from typing import Any

import mlflow
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion, RegisteredModel
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_MODEL_VERSIONS
from mlflow.utils.uri import is_http_uri

from pipeline.errors import ModelError, RegistryError
from pipeline.inference import manifest
from pipeline.reporting.markdown import sections, shortened, spaced
from pipeline.results import DIGESTS, MODEL_METRICS, Candidate, Version
from pipeline.tracking import model_files, store_errors

CHAMPION = "champion"
PREVIOUS = "previous"
READY = "READY"
ABOUT, CHAMPIONS = "Predicts `", "## Champions"  # how the parts of its description begin
# Tags of a version for machines, in JSON: what its result depends on; its metrics and digests.
CONFIG, RECORD = "zz.config", "zz.record"
LONGEST_TAG = 5000  # and description
INSERTED_TWICE = re.compile(r"IntegrityError|UniqueViolation|Duplicate entry")
ABSENT = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")  # no such model, version, alias


class Client(MlflowClient):
    """MLflow's client, which does not ask before each call whether a name is a prompt's.

    Whoever calls it has a registered model or a version of that name in hand.
    """

    def _raise_if_prompt(self, name: str) -> None:
        """That is what `registered_model` has asked."""


def check_name(name: str) -> None:
    """Raises RegistryError where the name is a prompt's: no model can be registered under it."""
    registered_model(name)


def registered_model(name: str) -> RegisteredModel | None:
    """With its tags and aliases, if it is there. Raises RegistryError where it is a prompt."""
    client = MlflowClient()
    try:
        return client.get_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
    if client.get_prompt(name) is not None:
        raise RegistryError(
            f"registry.model is {name!r}, and the registry has a prompt of that name: no model can "
            "have it too; choose another, e.g. with --registry.model"
        )
    return None


def champion(name: str) -> ModelVersion | None:
    """The version that answers now."""
    return with_alias(name, CHAMPION)


def with_alias(name: str, alias: str) -> ModelVersion | None:
    """The version with an alias, if there is one."""
    return _if_any(MlflowClient().get_model_version_by_alias, name, alias)


def find(name: str, number: str) -> ModelVersion | None:
    """A version, if it is there."""
    return _if_any(MlflowClient().get_model_version, name, number)


def _if_any(look: Callable[[str, str], ModelVersion], name: str, key: str) -> ModelVersion | None:
    try:
        return look(name, key)
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
    return with_manifest(version(name, number))


def version(name: str, number: str | None, alias: str = CHAMPION) -> ModelVersion:
    """The version of that number, or else of that alias. Raises RegistryError."""
    registered = find(name, number) if number else with_alias(name, alias)
    if registered is None:
        raise RegistryError(_absent(name, number, alias))
    return registered


def with_manifest(version: ModelVersion) -> tuple[Version, str]:
    """A version with its manifest, and the address of its files. Raises ModelError."""
    name = str(version.name)
    logged_manifest = manifest.from_tags(version.tags)
    if logged_manifest is None:
        raise ModelError(
            f"{name} version {version.version} has no manifest to verify it by; "
            "promote it once more: `mlflow run . -e promote`"
        )
    address = Client().get_model_version_download_uri(name, version.version)
    number, run_id = str(version.version), str(version.run_id)
    return Version(name, number, run_id, metrics(version), logged_manifest), str(address)


def metrics(version: ModelVersion) -> dict[str, float]:
    """Those of the model itself. Earlier versions of the pipeline wrote a tag for each."""
    record = _record(version)
    if record is not None:
        return {k: v for k, v in record["metrics"].items() if k.startswith(MODEL_METRICS)}
    return {k: _number(text) for k, text in version.tags.items() if k.startswith(MODEL_METRICS)}


def digests(version: ModelVersion) -> dict[str, str]:
    """Of the table and the split that it was trained on, as far as the version says."""
    record = _record(version)
    tags = version.tags if record is None else record["digests"]
    return {name: tags[name] for name in DIGESTS if name in tags}


def _record(version: ModelVersion) -> dict[str, Any] | None:
    text = manifest.joined(RECORD, version.tags)
    return dict(json.loads(text)) if text else None


def _absent(name: str, number: str | None, alias: str) -> str:
    model = registered_model(name)
    if number is None and alias == CHAMPION:
        return (
            f"registry.model {name!r} has no version with the alias {alias!r} to serve; promote "
            "one first: `mlflow run .` or `python -m pipeline run`, with the config of that model"
        )
    if number is None:
        aliases = "" if model is None else ", ".join(sorted(model.aliases))
        return f"registry.model {name!r} has no alias {alias!r}; it has {aliases or 'none'}"
    versions = MlflowClient().search_model_versions(f"name = '{name}'")
    there = ", ".join(sorted((str(version.version) for version in versions), key=int))
    return f"registry.model {name!r} has no version {number}; it has {there or 'none'}"


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return nan


def register(name: str, candidate: Candidate) -> ModelVersion:
    """The candidate's version with its manifest: the one that it has, or a new one with its story.

    Its files are on the disk before. Raises ModelError when the version is not ready.
    """
    client = MlflowClient()
    version = version_of(name, candidate.model_id)
    if version is not None:
        return add_manifest(version, candidate.model_id)
    record = {"digests": candidate.digests, "metrics": candidate.metrics}
    story = {
        **manifest.parts(RECORD, json.dumps(record)),
        **manifest.parts(CONFIG, json.dumps(candidate.params)),
        **manifest.to_tags(model_files.sealed(candidate.model_id)),
    }
    version = client.create_model_version(
        name,
        source=source(candidate.model_id),
        run_id=candidate.run_id,
        model_id=candidate.model_id,
        tags=story,
    )
    if version.status != READY:
        raise ModelError(
            f"{name} version {version.version} is {version.status}, not {READY}: it was not "
            "promoted; run the same command again when the registry has taken it in"
        )
    if not is_http_uri(mlflow.get_registry_uri()):  # a server does it itself
        _show_at_model(candidate.model_id, version)
    return version


def _show_at_model(model_id: str, version: ModelVersion) -> None:
    """Names the version in the tag by which MLflow's tables of models and runs show it."""
    others = json.loads(model_files.logged(model_id).tags.get(MLFLOW_MODEL_VERSIONS, "[]"))
    here = {"name": version.name, "version": version.version}
    text = json.dumps([*others, here])
    MlflowClient().set_logged_model_tags(model_id, {MLFLOW_MODEL_VERSIONS: text})


def version_of(name: str, model_id: str) -> ModelVersion | None:
    """The version of a logged model, if it has one."""
    for version in MlflowClient().search_model_versions(f"name = '{name}'"):
        if version.source == source(model_id):
            return version
    return None


def add_manifest(version: ModelVersion, model_id: str) -> ModelVersion:
    """The version with a manifest; one that was registered by hand gets it."""
    if manifest.from_tags(version.tags) is not None:
        return version
    tag(version, manifest.to_tags(model_files.sealed(model_id)))
    return MlflowClient().get_model_version(version.name, version.version)


def tag(version: ModelVersion, tags: Mapping[str, str]) -> None:
    """Tags of a version, one call each that it does not have yet."""
    for key, text in tags.items():
        value = shortened(text, LONGEST_TAG)
        if version.tags.get(key) != value:
            _set_tag(version, key, value)


def _set_tag(version: ModelVersion, key: str, value: str) -> None:
    """Once more where another process has set the same tag at the same moment.

    MLflow's store looks whether the tag is there and then inserts it: of two one is refused.
    """
    put = partial(Client().set_model_version_tag, version.name, version.version, key, value)
    try:
        put()
    except MlflowException as error:
        if not INSERTED_TWICE.search(str(error)):
            raise
        put()


def describe(version: ModelVersion, text: str) -> None:
    """Its description in the UI, in Markdown."""
    page = sections(
        spaced(text), LONGEST_TAG, "\n\nThe rest is in `model_card.md` of the run promote.\n"
    )
    Client().update_model_version(version.name, version.version, page)


def describe_model(name: str, about: str, champions: str) -> None:
    """The description of the registered model: what it is, and its champions.

    What a user has written there stays, before the champions; of this project's own the first part
    is replaced if `about` is given.
    """
    model = registered_model(name)
    before = "" if model is None else (model.description or "").partition(CHAMPIONS)[0].strip()
    is_written = bool(before) and not before.startswith(ABOUT)
    head = before if is_written or not about else about
    text = spaced(f"{head}\n\n{CHAMPIONS}\n\n{champions}".strip())
    Client().update_registered_model(name, shortened(text, LONGEST_TAG))


def set_aliases(name: str, version: str | None, previous: str | None) -> None:
    """The aliases: `champion` last of all. Doing it twice changes nothing."""
    client = Client()
    if previous is not None:
        client.set_registered_model_alias(name, PREVIOUS, previous)
    elif PREVIOUS in client.get_registered_model(name).aliases:
        _drop_previous(name, version)
    if version is not None:
        client.set_registered_model_alias(name, CHAMPION, version)


def _drop_previous(name: str, champion: str | None) -> None:
    """Who may move an alias may not always delete it: on the champion it names no other."""
    client = Client()
    try:
        client.delete_registered_model_alias(name, PREVIOUS)
    except MlflowException as error:
        if champion is None or not store_errors.is_forbidden(error):
            raise
        client.set_registered_model_alias(name, PREVIOUS, champion)


def model_id(name: str, number: str) -> str:
    """The logged model that a version is of."""
    return logged_model_id(MlflowClient().get_model_version(name, number))


def logged_model_id(version: ModelVersion) -> str:
    """The logged model that it is of."""
    return str(version.model_id or str(version.source).removeprefix("models:/"))


def training_run(model_id: str) -> str:
    """The id of the run that logged a model."""
    return str(model_files.logged(model_id).source_run_id or "")


def source(model_id: str) -> str:
    """What a version of a logged model is made of."""
    return f"models:/{model_id}"
