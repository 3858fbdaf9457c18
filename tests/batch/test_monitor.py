"""`monitor`: new rows beside the champion's profile, or a shadow beside the champion."""

import json
import shlex
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from mlflow import MlflowClient

from pipeline.api import execute
from pipeline.batch import common
from pipeline.batch import monitor as batch_monitor
from pipeline.cli import main
from pipeline.config.sections import Config
from pipeline.errors import PipelineError
from pipeline.flow import Result
from pipeline.verbs import Options
from tests.support.promotion_lab import STRONG, Lab, latest

MODEL = "watched"


@pytest.fixture(scope="module")
def config(lab: Lab) -> Config:
    config = lab.config(MODEL, STRONG)
    lab.promote(config)
    return config


def look(config: Config, table: pd.DataFrame, folder: Path, **options: Any) -> Result:
    table.to_csv(folder / "new.csv", index=False)
    result = execute("monitor", config, Options(data=str(folder / "new.csv"), **options))
    assert not isinstance(result, int)
    return result


def test_same_rows_are_within_the_bounds_and_the_run_says_so(
    config: Config, lab: Lab, tmp_path: Path, client: MlflowClient
) -> None:
    result = look(config, lab.table, tmp_path)

    assert result.status == 0
    run = client.get_run(result.run_id)
    assert run.data.metrics["alarms"] == 0
    assert run.data.metrics["monitor/log_loss"] > 0
    assert "**As before.**" in run.data.tags["mlflow.note.content"]
    files = {one.path for one in client.list_artifacts(result.run_id)}
    assert files == {"drift.md", "drift.csv", "drift.png", "rejected.csv"}
    assert run.inputs.model_inputs


def test_rows_that_moved_end_with_a_status_of_their_own(
    config: Config, lab: Lab, tmp_path: Path
) -> None:
    first = lab.table.columns[0]
    result = look(config, lab.table.assign(**{first: lab.table[first] + 1}), tmp_path)
    assert result.status == 4
    assert result.metrics["alarms"] >= 1


def test_rows_that_moved_retrain_on_demand(
    config: Config, lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    verbs: list[tuple[str, tuple[str, ...]]] = []

    def run(verb: str, _: Config, options: Options) -> Result:
        verbs.append((verb, options.given))
        return Result("retrained", {}, {}, None)

    monkeypatch.setattr(batch_monitor.flow, "run", run)
    first = lab.table.columns[0]
    moved = lab.table.assign(**{first: lab.table[first] + 1})

    assert look(config, lab.table, tmp_path, retrain=True).run_id != "retrained"
    given = ("my.yaml", "--tune.seed=3")  # for the commands that the run prints
    assert look(config, moved, tmp_path, retrain=True, given=given).run_id == "retrained"
    assert verbs == [("run", given)]


def test_column_of_labels_that_is_not_there_is_named(
    config: Config, lab: Lab, tmp_path: Path
) -> None:
    with pytest.raises(PipelineError, match="--target is 'truht'"):
        look(config, lab.table, tmp_path, target="truht")


def test_labels_that_came_later_are_joined_by_a_key(
    config: Config, lab: Lab, tmp_path: Path
) -> None:
    target = config.data.target
    rows = lab.table.drop(columns=target).assign(id=range(len(lab.table)))
    late = rows[["id"]].assign(**{target: lab.table[target]}).sample(frac=1, random_state=0)
    late.to_csv(tmp_path / "labels.csv", index=False)

    options = {"labels": str(tmp_path / "labels.csv"), "key": "id"}
    joined = look(config, rows, tmp_path, **options).metrics
    together = look(config, lab.table, tmp_path).metrics

    assert joined["monitor/log_loss"] == together["monitor/log_loss"]
    with pytest.raises(PipelineError, match="--key is 'id', but there are no --labels"):
        look(config, rows, tmp_path, key="id")


def test_model_of_before_profiles_says_what_to_do(
    config: Config, lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (common, batch_monitor):
        monkeypatch.setattr(module, "PROFILE", "gone.json")
    with pytest.raises(PipelineError, match=r"has no gone\.json.*pipeline run --fresh"):
        look(config, lab.table, tmp_path)


# Beside a shadow.


@pytest.fixture(scope="module")
def second(config: Config, client: MlflowClient) -> None:
    """Version 2, which is of the same logged model."""
    first = client.get_model_version(MODEL, "1")
    client.create_model_version(
        MODEL, first.source, first.run_id, tags=first.tags, model_id=first.model_id
    )


@pytest.fixture
def logged(lab: Lab, tmp_path: Path, second: None) -> Path:
    """A log of version 1 as the champion, that knows little, and version 2, which knows more."""
    (tmp_path / "log").mkdir()
    truth = lab.table["label"]
    for place, (champion, rows) in enumerate((("2", 5), ("1", len(truth)))):
        lines = [
            {
                **{"request_id": f"r{row}", "row": 1, "time": 1.5e9 + place},
                **{"champion": champion, "shadow": "2" if champion == "1" else "1"},
                **{"champion_label": 0, "champion_probability": 0.3 + 0.01 * (row % 40)},
                **{"shadow_label": label, "shadow_probability": 0.2 + 0.5 * label + row / 4000},
                **{"difference": 0.1 + row / 10_000, "labels_differ": bool(label)},
            }
            for row, label in enumerate(truth[:rows].tolist())
        ]
        text = "".join(f"{json.dumps(line)}\n" for line in lines)
        (tmp_path / f"log/requests-{place}.jsonl").write_text(text)
    outcomes = pd.DataFrame({"request_id": [f"r{row}" for row in range(len(truth))]})
    outcomes.assign(label=truth).to_csv(tmp_path / "outcomes.csv", index=False)
    return tmp_path / "log"


def look_beside(config: Config, **options: Any) -> Result:
    result = execute("monitor", config, Options(shadow=True, **options))
    assert not isinstance(result, int)
    return result


def test_log_that_the_config_names_is_read_and_the_run_has_its_page(
    config: Config, lab: Lab, logged: Path, client: MlflowClient
) -> None:
    serve = config.serve.model_copy(update={"shadow_log": str(logged)})
    result = look_beside(config.model_copy(update={"serve": serve}))

    assert result.status == 0
    run = client.get_run(result.run_id)
    assert run.data.metrics["rows"] == len(lab.table)  # without those of other versions
    assert run.data.metrics["labels_differ"] == pytest.approx(0.5)
    assert run.data.tags["model_version"] == "2"
    assert run.data.params["champion"] == f"{MODEL} version 1"
    assert "Without labels" in run.data.tags["mlflow.note.content"]
    assert run.inputs.model_inputs


def test_labels_decide_and_the_command_that_is_printed_promotes(
    config: Config, lab: Lab, logged: Path, client: MlflowClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "pipeline")
    path = lab.folder / "config of a shadow.yaml"
    path.write_text(json.dumps(config.model_dump(mode="json", exclude_defaults=True)))
    labels = ["--labels", str(logged.parent / "outcomes.csv"), "--key", "request_id"]
    options = ["--shadow", "--data", str(logged), *labels, "--gate.margin", "0.03"]

    assert main(["monitor", str(path), *options]) == 0

    assert "**Version 2 is better than version 1**" in caplog.text
    assert "405 of 405 rows have a label" in caplog.text
    assert "5 rows of other versions are left out" in caplog.text
    (command,) = [line.strip() for line in caplog.text.splitlines() if "pipeline promote" in line]
    words = shlex.split(command)
    assert words[:3] == ["python", "-m", "pipeline"]
    assert main(words[3:]) == 0
    assert latest(client).data.tags["decision"] == "unchanged"  # it is the same model


def test_shadow_that_is_worse_ends_with_the_status_of_monitor(
    config: Config, logged: Path, tmp_path: Path
) -> None:
    outcomes = pd.read_csv(tmp_path / "outcomes.csv")
    outcomes.assign(label=1 - outcomes["label"]).to_csv(tmp_path / "outcomes.csv", index=False)
    options = {"labels": str(tmp_path / "outcomes.csv"), "key": "request_id"}
    assert look_beside(config, data=str(logged), **options).status == 4


def test_what_is_no_shadow_log_is_named(config: Config, lab: Lab) -> None:
    table = str(lab.folder / "people.csv")
    with pytest.raises(PipelineError, match="no column 'request_id', and is no shadow log: a ser"):
        look_beside(config, data=table)
    with pytest.raises(PipelineError, match="leave --retrain out"):
        look_beside(config, data=table, retrain=True)
    serve = config.serve.model_copy(update={"shadow_log": None})
    with pytest.raises(PipelineError, match=r"serve\.shadow_log is null, .* with --data"):
        look_beside(config.model_copy(update={"serve": serve}))
