"""`mlflow run .` in an empty folder: what it leaves in the store and the registry."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from sklearn.base import BaseEstimator

from pipeline import run as run_verb
from pipeline.tracking import registry
from tests.end_to_end.conftest import MainJob, environment, working_in
from tests.end_to_end.conftest import Run as RunCommand
from tests.support.stores import experiments

SMALL = {"tune.families": ["logistic_regression"], "tune.max_evals": 1}
STEPS = {"ingest", "analyze", "tune", "train", "evaluate", "promote"}


@pytest.fixture(scope="module")
def store(main_job: object, project: Path) -> Iterator[MlflowClient]:
    with working_in(project, f"sqlite:///{project}/mlflow.db"):
        yield MlflowClient()


def parents(store: MlflowClient, verb: str = "run") -> list[Run]:
    return list(
        store.search_runs(experiments(store), f"tags.verb = '{verb}'", order_by=["start_time"])
    )


def children(store: MlflowClient, run: Run) -> list[Run]:
    return list(
        store.search_runs(experiments(store), f"tags.`mlflow.parentRunId` = '{run.info.run_id}'")
    )


def artifacts(store: MlflowClient, run: Run) -> set[str]:
    return {file.path for file in store.list_artifacts(run.info.run_id)}


def test_main_job_leaves_a_finished_tree_of_runs(store: MlflowClient) -> None:
    parent = parents(store)[0]
    steps = {run.info.run_name: run for run in children(store, parent)}
    trials = children(store, steps["tune"])
    runs = [parent, *steps.values(), *trials]
    assert set(steps) == STEPS
    assert len(trials) == 48
    assert {run.info.status for run in runs} == {"FINISHED"}


def test_main_job_writes_nothing_into_the_home(main_job: MainJob) -> None:
    """A container's user may have none."""
    assert "promote took" in main_job.stdout
    assert main_job.home == []


def test_parent_carries_config_metrics_and_tags(store: MlflowClient) -> None:
    parent = parents(store)[0]
    assert parent.data.params["tune.max_evals"] == "48"
    assert parent.data.params["registry.model"] == "pima-diabetes"
    assert {"cv/log_loss", "test/accuracy", "test/roc_auc"} <= set(parent.data.metrics)
    assert parent.data.tags["data_digest"].startswith("c980e5e01dc1")
    assert parent.data.tags["model_version"] == "1"
    assert parent.inputs.dataset_inputs[0].dataset.name == "pima"


def test_analysis_and_evaluation_leave_tables_and_pictures(store: MlflowClient) -> None:
    steps = {run.info.run_name: run for run in children(store, parents(store)[0])}
    assert {"report.html", "distributions.png", "describe.csv"} <= artifacts(
        store, steps["analyze"]
    )
    assert {"roc.png", "calibration.png", "confusion.png", "worst_rows.csv"} <= artifacts(
        store, steps["evaluate"]
    )


def test_champion_is_a_pickled_scikit_learn_model_with_its_story(store: MlflowClient) -> None:
    champion = store.get_model_version_by_alias("pima-diabetes", "champion")
    model = mlflow.sklearn.load_model("models:/pima-diabetes@champion")
    assert registry.digests(champion)["data_digest"].startswith("c980e5e01dc1")
    assert registry.metrics(champion)["cv/log_loss"] > 0
    assert isinstance(model, BaseEstimator)
    assert type(model).__module__.startswith("sklearn.")


def test_logged_model_is_found_by_its_metrics(store: MlflowClient) -> None:
    champion = store.get_model_version_by_alias("pima-diabetes", "champion")
    experiment = parents(store)[0].info.experiment_id
    logged = store.search_logged_models([experiment], "metrics.`test/log_loss` < 1")
    (model,) = [model for model in logged if f"models:/{model.model_id}" == champion.source]
    values = {metric.key: metric.value for metric in model.metrics}
    assert values["cv/log_loss"] == registry.metrics(champion)["cv/log_loss"]
    assert not any(name.startswith("dummy/") for name in values)


@pytest.mark.filterwarnings("ignore")  # of MLflow and of what it calls
def test_mlflow_evaluates_the_served_labels(store: MlflowClient, project: Path) -> None:
    table = pd.read_csv(project / "data/pima.csv")
    model = mlflow.pyfunc.load_model("models:/pima-diabetes@champion")
    evaluated = mlflow.models.evaluate(
        lambda rows: model.predict(rows.astype(float))["label"],
        table,
        targets="Outcome",
        model_type="classifier",
    )
    assert evaluated.metrics["example_count"] == len(table)
    assert 0.7 < evaluated.metrics["accuracy_score"] < 1


def test_both_flavors_agree(store: MlflowClient, project: Path) -> None:
    table = pd.read_csv(project / "data/pima.csv").drop(columns="Outcome").astype(float)
    marks = ["Glucose", "BloodPressure", "SkinThickness", "Insulin", "BMI"]
    with_gaps = table.assign(**{name: table[name].replace(0, np.nan) for name in marks})
    served = mlflow.pyfunc.load_model("models:/pima-diabetes@champion").predict(table)
    bare = mlflow.sklearn.load_model("models:/pima-diabetes@champion")
    assert served["label"].tolist() == bare.predict(with_gaps).tolist()
    np.testing.assert_allclose(served["probability"], bare.predict_proba(with_gaps)[:, 1])


def test_second_run_reuses_every_step_and_changes_nothing(store: MlflowClient) -> None:
    first = parents(store)[0]
    steps = {run.info.run_name: run.info.run_id for run in children(store, first)}
    again = run_verb()
    assert {step: again.steps[step] for step in STEPS - {"promote"}} == {
        step: steps[step] for step in STEPS - {"promote"}
    }
    assert len(store.search_model_versions("name = 'pima-diabetes'")) == 1
    assert first.data.metrics.items() <= again.metrics.items()
    assert not any(name.startswith("gate/") for name in again.metrics)  # nothing was decided


def test_tutorial_accuracy_is_181_of_231(store: MlflowClient) -> None:
    promoted = run_verb("configs/tutorial.yaml", verb="promote")
    assert promoted.metrics["test/accuracy"] == 181 / 231
    patients = [[6, 148, 72, 35, 0, 33.6, 0.627, 50], [2, 148, 72, 35, 0, 33.6, 0.674, 22]]
    model = mlflow.pyfunc.load_model("models:/pima-tutorial@champion")
    names = [column.name for column in model.metadata.get_input_schema().inputs]
    answers = model.predict(pd.DataFrame(patients, columns=names, dtype=float))
    assert answers["label"].tolist() == [1, 0]


def test_wine_needs_no_python(store: MlflowClient) -> None:
    run_verb("configs/wine.yaml", SMALL, verb="promote")
    model = mlflow.pyfunc.load_model("models:/wine@champion")
    answers = model.predict(model.input_example)
    assert set(answers["label"]) <= {"barolo", "grignolino", "barbera"}
    each = answers.filter(like="probability_")
    np.testing.assert_allclose(each.sum(axis=1), 1)
    np.testing.assert_allclose(answers["probability"], each.max(axis=1))


def test_models_predict_answers_a_file(main_job: object, run: RunCommand, project: Path) -> None:
    table = pd.read_csv(project / "data/pima.csv", nrows=3).drop(columns="Outcome")
    body = {"dataframe_split": table.to_dict(orient="split", index=False)}
    (project / "rows.json").write_text(json.dumps(body))
    command = "mlflow models predict -m models:/pima-diabetes@champion --env-manager local"
    done = run(*command.split(), "-i", "rows.json", "-o", "answers.json")
    assert done.returncode == 0, done.stderr
    answers = json.loads((project / "answers.json").read_text())["predictions"]
    assert [set(answer) for answer in answers] == [{"label", "probability"}] * 3


def test_estimator_of_the_users_own_goes_into_the_served_model(
    store: MlflowClient, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "my_models.py").write_text(
        "from sklearn.neighbors import KNeighborsClassifier\n"
        "class Neighbors(KNeighborsClassifier):\n"
        "    pass\n"
    )
    monkeypatch.syspath_prepend(project)
    mine = {"estimator": "my_models.Neighbors", "space": {"n_neighbors": {"uniformint": [9, 50]}}}
    settings = {"tune.estimators": {"mine": mine}, "tune.families": ["mine"], "tune.max_evals": 1}
    # One trial of such a model is not worth much.
    gate = {"gate.floors": {}, "gate.dummy": False, "gate.calibration": None}
    run_verb(overrides={**settings, **gate, "registry.model": "mine"}, verb="promote")
    (tmp_path / "pipeline.py").write_text("", encoding="utf-8")  # as many have one
    elsewhere = (
        "import pipeline; import mlflow; model = mlflow.pyfunc.load_model('models:/mine@champion');"
        "print(model.predict(model.input_example)['probability'].between(0, 1).all())"
    )
    answered = subprocess.run(
        [sys.executable, "-c", elsewhere],
        cwd=tmp_path,
        env={**environment(), "MLFLOW_TRACKING_URI": f"sqlite:///{project}/mlflow.db"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answered.stdout.strip() == "True", answered.stderr
