"""`monitor`: the champion's profile beside new rows, the run and the exit status."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from mlflow import MlflowClient

from pipeline.api import execute
from pipeline.batch import common
from pipeline.batch import monitor as batch_monitor
from pipeline.config.sections import Config
from pipeline.errors import PipelineError
from pipeline.flow import Result
from pipeline.verbs import Options
from tests.support.promotion_lab import STRONG, Lab

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
    verbs: list[str] = []

    def run(verb: str, *_: object) -> Result:
        verbs.append(verb)
        return Result("retrained", {}, {}, None)

    monkeypatch.setattr(batch_monitor.flow, "run", run)
    first = lab.table.columns[0]
    moved = lab.table.assign(**{first: lab.table[first] + 1})

    assert look(config, lab.table, tmp_path, retrain=True).run_id != "retrained"
    assert look(config, moved, tmp_path, retrain=True).run_id == "retrained"
    assert verbs == ["run"]


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
