"""What the doctor says of a store and of what is in it, and what it mends."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion

from pipeline.api import execute
from pipeline.config.sections import Config
from pipeline.doctor import examine, registered
from pipeline.doctor import store as doctor_store
from pipeline.doctor.finding import WRONG, Finding
from pipeline.errors import ModelError
from pipeline.promotion import promotion_log
from pipeline.results import Event
from pipeline.tracking import model_files, registry, runs
from pipeline.verbs import Options
from tests.support.promotion_lab import Lab
from tests.support.stores import experiments

MODEL = "examined"
STORE_CHECKS = tuple(check.__name__ for check in examine.OF_STORE)


@pytest.fixture(scope="module")
def config(lab: Lab) -> Config:
    """Of a model with a champion and one before it."""
    return lab.with_two_versions(MODEL)


def problems(config: Config) -> list[Finding]:
    """Of the store: the machine's are the machine's."""
    tracking = examine._tried(doctor_store.tracking, config)
    of_store = [finding for check in examine.OF_STORE for finding in examine._tried(check, config)]
    return [finding for finding in [*tracking, *of_store] if finding.status == WRONG]


def status(config: Config, monkeypatch: pytest.MonkeyPatch, **options: Any) -> int:
    """The exit status where nothing but the store is looked at."""
    monkeypatch.setattr(examine, "CHECKS", (doctor_store.tracking,))
    result = execute("doctor", config, Options(**options))
    assert isinstance(result, int)
    return result


def test_store_in_order_is_said_to_be(
    config: Config, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status(config, monkeypatch) == 0
    printed = capsys.readouterr().out
    assert f"champion: {MODEL} version 2 is what was promoted, and loads" in printed
    assert f"previous: {MODEL} version 1 is what was promoted, and loads" in printed
    assert "promotion log: version 2 is champion, as it says" in printed
    assert "wrong" not in printed


def test_run_of_a_dead_process_is_ended_on_demand(
    config: Config, client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = runs._process().split()[0]
    run = client.create_run("0", tags={runs.PROCESS: f"{host} 999999999 1"}).info.run_id

    assert status(config, monkeypatch) == 1
    assert client.get_run(run).info.status == "RUNNING"
    assert status(config, monkeypatch, fix=True) == 0

    assert client.get_run(run).info.status == "KILLED"
    assert status(config, monkeypatch) == 0


def test_run_that_is_long_silent_elsewhere_is_ended_by_the_command(
    config: Config, client: MlflowClient
) -> None:
    run = client.create_run("0", start_time=1000, tags={runs.PROCESS: "elsewhere 1 1"}).info.run_id

    (finding,) = problems(config)
    assert f"{run} has been RUNNING elsewhere since 1970-01-01" in finding.message
    exec(finding.command.removeprefix("python -c '").removesuffix("'"))

    assert client.get_run(run).info.status == "KILLED"


@pytest.mark.parametrize("name", ["tuning.json", "out_of_fold.npz", "training.json"])
def test_file_that_a_run_lacks_is_named(
    config: Config, client: MlflowClient, name: str, tmp_path: Path
) -> None:
    step = "train" if name == "training.json" else "tune"
    (run, *_) = client.search_runs(
        experiments(client), f"tags.{runs.STEP} = '{step}'", max_results=1
    )
    path = Path(run.info.artifact_uri.removeprefix("file://")) / name
    content = path.read_bytes()
    path.write_bytes(b"")  # half written

    (finding,) = problems(config)
    path.write_bytes(content)

    assert f"{run.info.run_id} of {step} lacks {name}" in finding.message
    assert finding.command == f"mlflow runs delete --run-id {run.info.run_id}"


def test_champion_whose_files_were_changed_is_not_loaded(config: Config) -> None:
    version = registry.champion(MODEL)
    assert version is not None
    with model_files.of(registry.logged_model_id(version)) as folder:
        path = folder / "contract.json"
        content = path.read_bytes()
        path.write_bytes(content + b" ")
        findings = problems(config)
        path.write_bytes(content)

    champion = next(finding for finding in findings if finding.subject == "champion")
    assert "contract.json was changed" in champion.message
    assert champion.command == "python -m pipeline rollback"
    assert any(finding.subject == "files of runs" for finding in findings)


def test_champion_is_trained_anew_where_the_one_before_cannot_be_served_either(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    def of_none(_: ModelVersion) -> Any:
        raise ModelError("contract.json was changed")

    monkeypatch.setattr(registered, "of_version", of_none)
    commands = {one.subject: one.command for one in registered.champion(config)}
    anew = "python -m pipeline run --fresh --gate.rule none"
    assert commands == {"champion": anew, "previous": ""}


def test_alias_that_was_moved_by_other_means_is_named(config: Config, client: MlflowClient) -> None:
    client.set_registered_model_alias(MODEL, registry.CHAMPION, "1")
    (finding,) = problems(config)
    client.set_registered_model_alias(MODEL, registry.CHAMPION, "2")

    anew = "python -m pipeline run --fresh --gate.rule none"
    assert registered._way_back(MODEL, "99") == anew  # it was deleted
    assert "it says version 2, and the alias is on 1" in finding.message
    assert finding.command == "python -m pipeline rollback --version 2"


def test_promotion_that_was_killed_is_finished_on_demand(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = promotion_log.read(MODEL)
    assert entries is not None
    event = Event("rolled back", "1", "2", promotion_log.now(), "me", "a test")
    assert promotion_log.append(entries, event)

    (finding,) = problems(config)
    assert "its last entry, version 1, is not carried out" in finding.message
    assert status(config, monkeypatch, fix=True) == 0

    assert registry.champion_version(MODEL) == "1"


def test_version_that_is_not_ready_is_named(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "READY", "DONE")
    findings = problems(config)
    assert [finding.subject for finding in findings] == ["versions", "versions"]
    assert f"{MODEL} version 1 is READY, not DONE" in {one.message for one in findings}


def test_alias_on_a_version_that_is_gone_is_named(
    config: Config, client: MlflowClient, store: Path
) -> None:
    insert = "INSERT INTO registered_model_aliases (alias, version, name) VALUES ('old', 9, ?)"
    path = mlflow.get_tracking_uri().removeprefix("sqlite:///")
    with closing(sqlite3.connect(path)) as database:
        columns = [
            row[1] for row in database.execute("PRAGMA table_info(registered_model_aliases)")
        ]
        database.execute(insert, (MODEL,))
        database.commit()
    assert {"alias", "version", "name"} <= set(columns)

    (finding,) = problems(config)
    assert f"old of {MODEL} is on version 9, which is gone" in finding.message
    exec(finding.command.removeprefix("python -c '").removesuffix("'"))

    assert problems(config) == []


def test_command_of_this_project_has_the_config_and_the_settings(
    config: Config,
    client: MlflowClient,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = registry.champion_version(MODEL)
    client.set_registered_model_alias(MODEL, registry.CHAMPION, "2" if before == "1" else "1")
    given = ("my own.yaml", "--registry.model=examined")
    assert status(config, monkeypatch, given=given) == 1
    client.set_registered_model_alias(MODEL, registry.CHAMPION, str(before))

    command = f"rollback 'my own.yaml' --registry.model=examined --version {before}"
    assert f"python -m pipeline {command}" in capsys.readouterr().out


def test_findings_are_printed_for_machines(
    config: Config, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status(config, monkeypatch, json=True) == 0
    findings = json.loads(capsys.readouterr().out)
    assert {"status": "ok", "subject": "tracking store"}.items() <= findings[1].items()


def test_locked_store_is_named(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_store, "LOCKED_AFTER", 0.0)
    path = mlflow.get_tracking_uri().removeprefix("sqlite:///")
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("BEGIN IMMEDIATE")
        findings = list(doctor_store.tracking(config))

    assert findings[-1].status == WRONG
    assert findings[-1].message.startswith(f"{path} is locked by another process")


@pytest.mark.parametrize(
    ("content", "named"),
    [(None, "is not there yet: the first run makes it"), (b"no database at all", "no database")],
)
def test_store_that_is_none_is_named_and_not_made(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: Any, named: str
) -> None:
    path = tmp_path / "mlflow.db"
    if content:
        path.write_bytes(content)
    before = mlflow.get_tracking_uri()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{path}")
    mlflow.set_tracking_uri(f"sqlite:///{path}")
    try:
        findings = list(examine.examine(config))
    finally:
        mlflow.set_tracking_uri(before)

    assert any(named in finding.message for finding in findings)
    assert path.exists() is bool(content)
    assert not any(finding.subject in STORE_CHECKS for finding in findings)


def test_server_that_is_away_is_one_finding(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in examine.PATIENCE:
        monkeypatch.setenv(name, "0" if name.endswith("RETRIES") else "1")
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri("http://127.0.0.1:9")
    try:
        findings = [one for one in examine.examine(config) if one.status == WRONG]
    finally:
        mlflow.set_tracking_uri(before)

    (message,) = [one.message for one in findings if one.subject == "tracking store"]
    assert "'http://127.0.0.1:9' cannot be reached" in message
    assert not any(finding.subject in STORE_CHECKS for finding in findings)
