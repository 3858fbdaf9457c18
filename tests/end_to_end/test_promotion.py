"""Promotion as a team meets it: over a tracking server, two at once."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient

import pipeline
from pipeline.api import execute
from pipeline.config.load import load
from pipeline.verbs import Options
from tests.end_to_end.conftest import environment, served, working_in

USER = {"PIPELINE_USER": "team"}


def settings(C: float) -> dict[str, str]:
    """Of a search for one logistic regression."""
    space = f"{{logistic_regression: {{C: {C}}}}}"
    return {
        "tune.families": "[logistic_regression]",
        "tune.max_evals": "1",
        "tune.space": space,
    }


@pytest.fixture(scope="module")
def tracking_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An MLflow server with a store of its own that hands the artifacts on, as a team's does."""
    folder = tmp_path_factory.mktemp("team")
    store = f"sqlite:///{folder}/mlflow.db"
    options = ("--backend-store-uri", store, "--artifacts-destination", str(folder / "artifacts"))
    with served(folder, "mlflow", "server", *options) as address:
        yield address


def promote(project: Path, address: str, C: float) -> subprocess.Popen[str]:
    options = [word for key, value in settings(C).items() for word in (f"--{key}", value)]
    return subprocess.Popen(
        ["python", "-m", "pipeline", "promote", *options],
        cwd=project,
        env={**environment(), **USER, "MLFLOW_TRACKING_URI": address},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def output(process: subprocess.Popen[str]) -> str:
    printed = process.communicate(timeout=180)[0]
    assert process.returncode == 0, printed
    return printed


def entries(client: MlflowClient, name: str) -> list[dict[str, object]]:
    """Those of the promotion log."""
    run = client.get_run(client.get_registered_model(name).tags["ledger"])
    keys = sorted(key for key in run.data.params if key.isdigit())
    return [json.loads(run.data.params[key]) for key in keys]


def test_two_that_promote_at_once_on_one_server_end_with_one_champion_and_a_true_history(
    tracking_server: str, project: Path
) -> None:
    client = MlflowClient(tracking_server, tracking_server)
    with working_in(project, tracking_server, **USER):
        pipeline.run(overrides=settings(0.05), verb="promote")
    both = [promote(project, tracking_server, C) for C in (0.3, 1.0)]
    printed = [output(process) for process in both]

    events = entries(client, "pima-diabetes")
    champion = client.get_model_version_by_alias("pima-diabetes", "champion")
    assert [event["before"] for event in events] == [None, *(e["version"] for e in events[:-1])]
    assert events[-1]["version"] == str(champion.version)
    assert {event["by"] for event in events} == {"team"}
    promoted = sum("is champion now" in text for text in printed)
    assert promoted == len(events) - 1 >= 1
    # Who decided last has looked at the champion that the other made, or made before it.
    previous = client.get_model_version_by_alias("pima-diabetes", "previous")
    assert str(previous.version) == events[-1]["before"]
    assert champion.tags["champion_before"] == events[-1]["before"]


def test_rollback_and_history_over_a_server(
    tracking_server: str, project: Path, caplog: pytest.LogCaptureFixture
) -> None:
    client = MlflowClient(tracking_server, tracking_server)
    before = entries(client, "pima-diabetes")
    caplog.set_level("INFO", "pipeline")
    with working_in(project, tracking_server, **USER):
        back = pipeline.run(verb="rollback", version="1", reason="a drill")
        assert "version 1 is champion again" in back.decision.sentence
        execute("history", load("configs/pima.yaml", {}), Options())
    assert str(client.get_model_version_by_alias("pima-diabetes", "champion").version) == "1"
    history = caplog.messages[-1]
    assert history.count("version ") >= len(before) + 1
    assert "rolled back by team" in history
    assert "a drill" in history
