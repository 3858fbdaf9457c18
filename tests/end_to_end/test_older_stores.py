"""Models that earlier versions logged and promoted go on: they load, answer, move and are compared.

The stores are in `tests/data/`; how they were made says `tests/support/older_stores.py`. Models of
9e39461 name `pipeline.serving` as their loader, those of c5e51ed a package of their own.
"""

import hashlib
import json
import logging
import re
import signal
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from sklearn.model_selection import train_test_split

from pipeline.cli import main
from tests.support.doors import Door, open_door
from tests.support.older_stores import MODEL, PARAMS, ROWS, unpack
from tests.support.stores import experiments

from .conftest import ROOT

COMMITS = ("9e39461", "c5e51ed")
LOG = logging.getLogger("pipeline")


@pytest.fixture(params=COMMITS)
def store(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    no_waiting_for_the_disk: None,
    no_pictures: None,
) -> Iterator[Path]:
    """The folder of an older store, in which this process is."""
    unpack(request.param, tmp_path)
    address, before = f"sqlite:///{tmp_path}/mlflow.db", mlflow.get_tracking_uri()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    monkeypatch.setenv("PIPELINE_USER", "Bob")
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)
    mlflow.set_tracking_uri(address)
    at_sigterm, level = signal.getsignal(signal.SIGTERM), LOG.level  # which a command sets
    yield tmp_path
    signal.signal(signal.SIGTERM, at_sigterm)
    LOG.setLevel(level)
    mlflow.set_tracking_uri(before)


def run(verb: str, *options: str) -> None:
    """A command, in this process."""
    assert main([verb, "people.yaml", *options]) == 0


def trained(C: float) -> tuple[str, str]:
    return "--tune.space", f"{{logistic_regression: {{C: {C}}}}}"


def door(store: Path) -> AbstractContextManager[Door]:
    return open_door(
        store,
        "people.yaml",
        MLFLOW_TRACKING_URI=f"sqlite:///{store}/mlflow.db",
        PYTHONPATH=str(ROOT),
    )


def recorded(store: Path, version: int) -> list[dict[str, Any]]:
    """What the version answered when it was made."""
    answers: list[list[dict[str, Any]]] = json.loads((store / "answers.json").read_text("utf-8"))
    return [near(answer) for answer in answers[version - 1]]


def near(answer: dict[str, Any]) -> dict[str, Any]:
    numbers = {
        name: pytest.approx(value, rel=1e-9)
        for name, value in answer.items()
        if isinstance(value, float | dict)
    }
    return {**answer, **numbers}


def champion() -> str:
    return str(MlflowClient().get_model_version_by_alias(MODEL, "champion").version)


def latest(step: str) -> Run:
    client, order = MlflowClient(), ["attributes.start_time DESC"]
    condition = f"tags.step = '{step}'"
    (run,) = client.search_runs(experiments(client), condition, order_by=order, max_results=1)
    return run


def candidate() -> str:
    """The parent run of the older candidate that was not promoted."""
    return str(latest("evaluate").data.tags["mlflow.parentRunId"])


def decision(run: Run) -> dict[str, Any]:
    """What is recorded of a promotion, its rules by name."""
    record = mlflow.artifacts.load_dict(f"{run.info.artifact_uri}/decision.json")
    return {**record, "rules": {rule["rule"]: rule for rule in record["rules"]}}


@pytest.mark.parametrize("version", [1, 2])
def test_model_loads_and_answers_as_it_did(store: Path, version: int) -> None:
    model = mlflow.pyfunc.load_model(f"models:/{MODEL}/{version}")
    rows = pd.DataFrame(ROWS, dtype=float)
    answers = model.predict(rows, params=PARAMS).to_dict(orient="records")
    assert answers == recorded(store, version)
    bare = mlflow.sklearn.load_model(f"models:/{MODEL}/{version}")
    probabilities = bare.predict_proba(rows.replace({"noise": {0: np.nan}}))[:, 1]
    assert probabilities.tolist() == pytest.approx([answer["probability"] for answer in answers])


def test_guarded_door_answers_as_the_champion_did(store: Path) -> None:
    with door(store) as opened:
        reply = opened.post({"dataframe_records": ROWS, "params": PARAMS})
    assert reply.status == 200
    assert reply.headers["x-model-version"] == "2"
    version = {name: reply.json[name] for name in ("model", "version")}
    assert [{**row, **version} for row in reply.json["predictions"]] == recorded(store, 2)


def test_rollback_lets_an_older_candidate_follow(
    store: Path, caplog: pytest.LogCaptureFixture
) -> None:
    older = candidate()
    run("promote", "--run", older)
    assert champion() == "2"
    refused = decision(latest("promote"))
    assert "is not better than 0.510614 of version 2" in refused["reasons"]

    run("rollback", "--reason", "a drill")
    assert champion() == "1"
    assert mlflow.pyfunc.load_model(f"models:/{MODEL}@champion").predict(
        pd.DataFrame(ROWS, dtype=float), params=PARAMS
    ).to_dict(orient="records") == recorded(store, 1)

    run("promote", "--run", older)
    assert champion() == "3"
    promoted = decision(latest("promote"))
    assert promoted["choice"] == f"asked for by its run {older}"
    assert promoted["rules"]["gate.primary"]["passed"]

    caplog.clear()
    run("history")
    assert re.findall(r"^\S+ \S+  version (.*)$", caplog.messages[-1], re.MULTILINE) == [
        "1  promoted by Ann",
        "2  promoted by Ann, after version 1",
        "1  again, rolled back by Bob, after version 2",
        "3  promoted by Bob, after version 1",
    ]


def test_new_model_is_chosen_among_older_candidates_and_compared_with_the_champion(
    store: Path,
) -> None:
    run("promote", *trained(0.6))
    promoted = decision(latest("promote"))
    assert promoted["choice"] == "best of 4 by cv/log_loss 0.5102"
    assert "0.5232 of version 2 on the same 120 rows" in promoted["rules"]["gate.rule"]["sentence"]
    assert promoted["rules"]["gate.primary"]["figures"]["second"] == 0.510614
    assert (promoted["decision"], champion()) == ("promoted", "3")


def test_new_model_of_another_split_is_compared_on_rows_that_neither_was_trained_on(
    store: Path,
) -> None:
    labels = pd.read_csv("people.csv")["label"]
    first, second = (
        train_test_split(labels.index, test_size=0.3, random_state=seed, stratify=labels)[1]
        for seed in (1, 2)
    )
    unseen = np.intersect1d(first, second)

    run("promote", *trained(0.5), "--split.seed", "2")
    promoted = decision(latest("promote"))
    assert promoted["rows_digest"] == hashlib.sha256(unseen.astype("<i8").tobytes()).hexdigest()
    assert f"of version 2 on the same {len(unseen)} rows" in promoted["reasons"]
    assert "cross-validated on other rows" in promoted["rules"]["gate.primary"]["sentence"]
    assert (promoted["decision"], champion()) == ("promoted", "3")


def test_runs_of_older_models_are_compared(store: Path) -> None:
    client = MlflowClient()
    ids = [client.get_model_version(MODEL, version).run_id for version in ("1", "2")]
    run("compare", *ids)
    (compared,) = client.search_runs(experiments(client), "tags.step = 'compare'")
    assert "On 120 rows that neither was trained on" in compared.data.tags["mlflow.note.content"]
