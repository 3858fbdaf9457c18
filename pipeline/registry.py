"""The model registry: versions, the aliases `champion` and `previous`."""

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from pipeline.results import Candidate, Decision, Promotion

CHAMPION = "champion"
PREVIOUS = "previous"
LONGEST_TAG = 5000
ABSENT = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")  # no such model, no such alias


def champion(name: str) -> ModelVersion | None:
    """The version that answers now."""
    try:
        return MlflowClient().get_model_version_by_alias(name, CHAMPION)
    except MlflowException as error:
        if error.error_code in ABSENT:
            return None
        raise


def promote(name: str, decision: Decision) -> Promotion:
    """Carries the decision out; the alias moves last. Doing it twice changes nothing."""
    reason = "; ".join(decision.reasons)
    now = champion(name)
    if not decision.passed:
        stays = f"version {now.version} stays champion" if now else "there is no champion"
        still = str(now.version) if now else None
        return Promotion("kept", still, f"{name}: {stays}; the best candidate fails: {reason}")
    if now is not None and now.source == _source(decision.candidate):
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
        tags={key: value[:LONGEST_TAG] for key, value in story.items()},
    )


def _source(candidate: Candidate) -> str:
    return f"models:/{candidate.model_id}"
