"""One suite over TASKS: a table of each goes through every verb, and both doors answer for it."""

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest

from pipeline import run as run_verb
from pipeline.cli import main
from pipeline.inference.predictor import records
from pipeline.tasks import TASKS, Task
from tests.conftest import undrawn
from tests.end_to_end.conftest import clone, working_in
from tests.support.builders import make_table
from tests.support.doors import Door, open_door

LABELS = {"binary": ("no", "yes"), "multiclass": ("a", "b", "c"), "regression": None}
FAMILIES = {
    "binary": "[logistic_regression, extra_trees]",
    "multiclass": "[logistic_regression, extra_trees]",
    "regression": "[ridge, extra_trees_regressor]",
}
CONFIG = "configs/mine.yaml"
SMALL = {"tune.max_evals": 2, "tune.parallelism": 1, "evaluate.resamples": 200}
ROW = {"height": 1.5, "gap": None, "noise": 0.1, "flag": 1.0}


@dataclass(frozen=True)
class Job:
    """A folder with a champion of a task's table, and what the run left."""

    task: Task
    folder: Path
    settings: dict[str, Any]
    result: Any

    @property
    def store(self) -> str:
        return f"sqlite:///{self.folder}/mlflow.db"


@pytest.fixture(scope="module", params=TASKS)
def job(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Job]:
    task = TASKS[request.param]
    folder = clone(tmp_path_factory.mktemp(task.name))
    make_table(LABELS[task.name], rows=300).to_csv(folder / "people.csv", index=False)
    settings = {**SMALL, "tune.families": FAMILIES[task.name]}
    with working_in(folder, f"sqlite:///{folder}/mlflow.db"):
        assert main(["init", "people.csv", "--target", "label", "--output", CONFIG]) == 0
        yield Job(task, folder, settings, run_verb(CONFIG, settings))


@pytest.fixture(scope="module")
def door(job: Job) -> Iterator[Door]:
    with open_door(job.folder, CONFIG) as opened:
        yield opened


def test_table_is_promoted_and_compiled_with_both_doors_proven_alike(job: Job) -> None:
    assert job.result.decision.action == "promoted"
    assert f"test/{job.task.loss}" in job.result.metrics
    assert mlflow.get_run(job.result.steps["train"]).data.tags["compiled"].startswith("ONNX, equal")
    params = mlflow.get_run(job.result.steps["promote"]).data.params
    expected = (job.task.loss, job.task.gate_metric)
    assert (params["gate.primary"], params["gate.metric"]) == expected


def test_forms_of_a_request_are_answered_alike_by_the_door_and_by_mlflows_own(
    job: Job, door: Door
) -> None:
    table = pd.DataFrame([ROW, {**ROW, "height": -1.0}]).astype(float)
    parquet = io.BytesIO()
    table.to_parquet(parquet)
    answers = [
        door.post({f"dataframe_{form}": json.loads(table.to_json(orient=form))}).json
        for form in ("split", "records")
    ]
    answers.append(door.post(table.to_csv(index=False).encode(), "text/csv").json)
    answers.append(door.post(parquet.getvalue(), "application/vnd.apache.parquet").json)
    plain = mlflow.pyfunc.load_model("models:/people@champion")
    predicted = plain.predict(table)
    answers.append({"predictions": records(predicted.to_dict(orient="list"))})
    assert answers == [answers[0]] * len(answers)
    assert plain.metadata.get_output_schema().input_names() == list(predicted)


def test_request_sets_what_its_task_lets_it_set_and_asks_for_reasons(job: Job, door: Door) -> None:
    def ask(**params: Any) -> dict[str, Any]:
        return dict(door.post({"dataframe_records": [ROW], "params": params}).json)

    (usual,) = ask()["predictions"]
    (explained,) = ask(explain=True)["predictions"]
    assert usual.items() <= explained.items()
    assert set(explained["contributions"]) == set(ROW)
    if job.task.has_classes:
        assert ask(coverage=0.5)["error_code"] == "INVALID_PARAMETER_VALUE"
        return
    total = explained["base"] + sum(explained["contributions"].values())
    assert total == pytest.approx(usual["value"])
    (narrow,) = ask(coverage=0.5)["predictions"]
    assert usual["low"] < narrow["low"] < usual["value"] == narrow["value"]
    assert narrow["high"] < usual["high"]
    assert "params.coverage" in ask(coverage=1)["message"]
    assert "coverage, version, explain" in ask(threshold=0.5)["message"]
    schema = door.get("/openapi.json").json["components"]["schemas"]
    assert schema["Prediction"]["required"] == ["value", "low", "high"]
    assert "an amount" in door.get("/docs").content.decode()


def test_every_other_verb_does_its_part(job: Job) -> None:
    with undrawn(), working_in(job.folder, job.store):
        again = run_verb(CONFIG, job.settings)
        assert again.steps["train"] == job.result.steps["train"]
        lenient = {**job.settings, "tune.seed": 5, "gate.rule": "none"}
        other = run_verb(CONFIG, lenient)
        pair = (job.result.run_id, other.run_id)
        compared = run_verb(CONFIG, job.settings, verb="compare", runs=pair)
        measured = mlflow.get_run(compared.steps["compare"]).data.metrics
        assert f"difference/{job.task.loss}" in measured
        audited = run_verb(CONFIG, {**job.settings, "audit.folds": 2}, verb="audit")
        assert audited.metrics[f"audit/{job.task.loss}"] > 0
        make_table((0, 1), rows=50, seed=9).drop(columns="label").to_csv("new.csv", index=False)
        words = ["predict", CONFIG, "--data", "new.csv", "--output", "answers.csv"]
        assert main(words) == 0
        answers = pd.read_csv("answers.csv")
        assert ("label" if job.task.has_classes else "low") in answers
        assert len(answers) == 50
        if other.decision.action != "promoted":
            run_verb(CONFIG, lenient, verb="promote", run=other.run_id)
        back = run_verb(CONFIG, job.settings, verb="rollback", reason="a drill")
        assert "version 1 is champion again" in back.decision.sentence
        assert main(["history", CONFIG]) == 0
        monitored = run_verb(CONFIG, job.settings, verb="monitor", data="people.csv")
        assert monitored.metrics["alarms"] == 0
        assert f"monitor/{job.task.loss}" in monitored.metrics
