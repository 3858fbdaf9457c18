"""Promotion in a real, empty MLflow store."""

import mlflow
import pytest
from mlflow import MlflowClient

from pipeline import registry
from pipeline.results import Candidate, Decision

NAME = "visits"


@pytest.fixture
def client(tmp_path, monkeypatch) -> MlflowClient:
    monkeypatch.chdir(tmp_path)
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    yield MlflowClient()
    mlflow.set_tracking_uri(before)


def decide(client: MlflowClient, passed: bool = True, model_id: str | None = None) -> Decision:
    """A decision for a new logged model, or for a known one."""
    run = client.create_run("0")
    if model_id is None:
        model_id = client.create_logged_model("0", name="m", source_run_id=run.info.run_id).model_id
    candidate = Candidate(
        run_id=run.info.run_id,
        model_id=model_id,
        metrics={"cv/log_loss": 0.4512345678, "test/accuracy": 0.8},
        params={"tune.max_evals": "48", "data.columns.x": "y" * 6000},
        digests={"data_digest": "d", "split_digest": "s"},
    )
    return Decision(candidate, passed, ("the reason",))


def aliases(client: MlflowClient) -> dict[str, int]:
    return {k: int(v) for k, v in client.get_registered_model(NAME).aliases.items()}


def test_line_of_promotions(client):
    """One store for the whole line: making one costs a second."""
    # Nothing passes: nothing is registered.
    kept = registry.promote(NAME, decide(client, passed=False))
    assert (kept.verdict, kept.version) == ("kept", None)
    assert "there is no champion" in kept.sentence
    assert "the reason" in kept.sentence
    assert registry.champion(NAME) is None
    assert client.search_registered_models() == []

    # The first that passes becomes champion, with its story as tags.
    first = decide(client)
    promoted = registry.promote(NAME, first)
    assert (promoted.verdict, promoted.version) == ("promoted", "1")
    assert aliases(client) == {"champion": 1}
    tags = client.get_model_version(NAME, "1").tags
    assert tags["cv/log_loss"] == "0.451235"
    assert (tags["data_digest"], tags["tune.max_evals"]) == ("d", "48")

    # Twice changes nothing.
    again = registry.promote(NAME, first)
    assert (again.verdict, again.version) == ("unchanged", "1")
    assert len(client.search_model_versions(f"name = '{NAME}'")) == 1

    # The next moves the alias; the one before is kept by name.
    second = registry.promote(NAME, decide(client))
    assert (second.verdict, second.version) == ("promoted", "2")
    assert aliases(client) == {"champion": 2, "previous": 1}

    # A candidate that fails leaves all as it was.
    failed = registry.promote(NAME, decide(client, passed=False))
    assert (failed.verdict, failed.version) == ("kept", "2")
    assert "version 2 stays champion" in failed.sentence
    assert aliases(client) == {"champion": 2, "previous": 1}

    # A known model gets its own version again, not a third.
    back = registry.promote(NAME, decide(client, model_id=first.candidate.model_id))
    assert (back.verdict, back.version) == ("promoted", "1")
    assert aliases(client) == {"champion": 1, "previous": 2}
    assert len(client.search_model_versions(f"name = '{NAME}'")) == 2
