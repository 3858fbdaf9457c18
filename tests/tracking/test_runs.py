"""Whose runs these are, and what becomes of them when the process ends before its time."""

import json
import subprocess
import sys

import mlflow
import pandas as pd
import psutil
import pytest
from mlflow import MlflowClient

from pipeline.errors import ContractError, RegistryError
from pipeline.tracking import runs

pytestmark = pytest.mark.usefixtures("store")
DEAD = "2147483646"  # no process can have this number


def status(run_id: str) -> str:
    return str(MlflowClient().get_run(run_id).info.status)


def description(run_id: str) -> str:
    return str(MlflowClient().get_run(run_id).data.tags["mlflow.note.content"])


def left_running(**changes: str) -> str:
    """A run that is RUNNING and tagged with a process: of this one, but for the changes."""
    host, pid, start = runs._process().split()
    tag = {"host": host, "pid": pid, "start": start, **changes}
    run = MlflowClient().create_run("0", tags={runs.PROCESS: " ".join(tag.values())})
    return str(run.info.run_id)


@pytest.fixture
def open_run():
    with runs.parent_run("tune", "people") as run_id:
        yield run_id


@pytest.mark.parametrize("change", [{"pid": DEAD}, {"start": "1000000000"}])
def test_run_of_a_process_that_is_gone_is_closed_as_killed(open_run, change):
    left = left_running(**change)
    assert runs.close_killed() == 1
    assert status(left) == "KILLED"
    assert "its process was killed" in description(left)


@pytest.mark.parametrize("change", [{}, {"host": "elsewhere", "pid": DEAD}])
def test_run_of_a_process_that_lives_or_is_elsewhere_stays_as_it_is(open_run, change):
    left = left_running(**change)
    assert runs.close_killed() == 0
    assert status(left) == "RUNNING"
    MlflowClient().set_terminated(left)


def test_run_without_a_process_stays_as_it_is(open_run):
    left = MlflowClient().create_run("0").info.run_id
    assert runs.close_killed() == 0
    assert status(left) == "RUNNING"
    MlflowClient().set_terminated(left)


def test_run_that_has_ended_is_not_closed_again(open_run):
    ended = left_running(pid=DEAD)
    MlflowClient().set_terminated(ended, "FAILED")
    assert runs.close_killed() == 0
    assert status(ended) == "FAILED"


def test_process_that_has_ended_is_told_from_one_that_has_its_number():
    program = "import psutil; own = psutil.Process(); print(own.pid, own.create_time())"
    child = subprocess.Popen(
        [sys.executable, "-c", program + "; input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    pid, start = child.stdout.readline().split()
    assert runs._is_alive(f"host {pid} {float(start):.0f}")
    assert not runs._is_alive(f"host {pid} {float(start) - 60:.0f}")
    child.communicate("\n")
    assert not runs._is_alive(f"host {pid} {float(start):.0f}")


def test_runs_carry_the_process_that_made_them():
    with runs.parent_run("tune", "people") as parent, runs.step_run("tune") as step:
        entities = [MlflowClient().get_run(run_id) for run_id in (parent, step)]
    process = psutil.Process()
    for run in entities:
        _, pid, start = run.data.tags[runs.PROCESS].rsplit(" ", 2)
        assert (int(pid), float(start)) == (
            process.pid,
            pytest.approx(process.create_time(), abs=1),
        )


@pytest.mark.parametrize("reason", [KeyboardInterrupt, SystemExit(143)])
def test_interrupted_runs_are_killed_from_the_step_to_the_parent(reason):
    ids: list[str] = []

    def interrupted() -> None:
        with runs.parent_run("tune", "people") as parent, runs.step_run("tune") as step:
            ids.extend((parent, step))
            raise reason

    with pytest.raises((KeyboardInterrupt, SystemExit)):
        interrupted()
    assert [status(run_id) for run_id in ids] == ["KILLED", "KILLED"]
    assert all("interrupted" in description(run_id) for run_id in ids)
    assert mlflow.active_run() is None


def test_mistake_is_noted_on_failed_runs_from_the_step_to_the_parent():
    with (
        pytest.raises(ContractError),
        runs.parent_run("tune", "people") as parent,
        runs.step_run("ingest") as step,
    ):
        raise ContractError("row 1, Age: must be finite")
    for run_id in (parent, step):
        assert status(run_id) == "FAILED"
        assert description(run_id) == "row 1, Age: must be finite"


def test_command_that_is_refused_before_its_first_step_leaves_no_run():
    with pytest.raises(RegistryError), runs.parent_run("rollback", "people") as parent:
        raise RegistryError("there is none to go back to")
    assert MlflowClient().get_run(parent).info.lifecycle_stage == "deleted"
    assert mlflow.active_run() is None


@pytest.fixture
def launcher(monkeypatch) -> str:
    """What `mlflow run` makes where no experiment is named to it."""
    tags = {"mlflow.project.entryPoint": "main"}
    run_id = MlflowClient().create_run("0", tags=tags).info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", run_id)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "0")
    return run_id


def test_project_run_in_default_leads_to_the_parent_in_the_experiment_of_the_table(launcher):
    with runs.parent_run("run", "project") as parent:
        runs.log(parent, metrics={"cv/log_loss": 0.5}, tags={runs.NAME: "v1", "decision": "kept"})
    made, shown = (MlflowClient().get_run(run_id) for run_id in (parent, launcher))
    experiment = MlflowClient().get_experiment(made.info.experiment_id)
    assert experiment.name == "project"
    assert experiment.tags["mlflow.experimentKind"] == "custom_model_development"
    assert f"/experiments/{experiment.experiment_id}/runs/{parent}" in description(launcher)
    assert shown.data.metrics == made.data.metrics
    assert (shown.info.run_name, shown.data.tags["decision"]) == ("v1", "kept")


def test_project_run_is_the_parent_where_its_experiment_is_named(launcher, monkeypatch):
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "Default")
    with runs.parent_run("run", "project") as parent:
        assert runs.searched() == ("0",)
    assert parent == launcher


def test_runs_of_earlier_versions_in_default_are_searched_where_no_experiment_is_named(monkeypatch):
    client = MlflowClient()
    old = client.create_run("0", tags={runs.STEP: "ingest", "fingerprint": "old"}).info.run_id
    client.set_terminated(old)
    with runs.parent_run("tune", "people"):
        assert runs.find("ingest", "old").info.run_id == old
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "other")
    with runs.parent_run("tune", "people"):
        assert runs.find("ingest", "old") is None


def test_files_of_a_run_are_read_as_far_as_there_are_any(open_run):
    runs.log_artifacts(open_run, {"page.md": "text"})
    assert runs.read_files(runs.get(open_run), ["page.md", "none.png"]) == {"page.md": b"text"}


@pytest.mark.parametrize("name", ["cv/log_loss", "test/log_loss"])
def test_metric_of_a_model_names_the_rows_that_it_was_measured_on(open_run, name):
    digests = {"cv": "training-1", "test": "testing-1"}
    metric = runs.OfModel("m-1", digests, "people").metric(name, 0.5, 1)
    assert (metric.model_id, metric.dataset_name) == ("m-1", "people")
    assert metric.dataset_digest == digests[name.split("/")[0]]
    assert runs.OfModel("m-1", digests, "people").metric("dummy/log_loss", 1, 1).model_id is None


def test_search_finds_more_runs_than_fit_on_a_page(open_run, monkeypatch):
    monkeypatch.setattr(runs, "LARGEST_PAGE", 2)
    made = [
        MlflowClient().create_run("0", tags={"page": "yes"}, start_time=start).info.run_id
        for start in range(1, 6)
    ]
    for run_id in made:
        MlflowClient().set_terminated(run_id)
    result = [run.info.run_id for run in runs.search("tags.page = 'yes'")]
    assert result == list(reversed(made))
    assert [run.info.run_id for run in runs.search("tags.page = 'yes'", 3)] == result[:3]


def test_page_is_asked_of_the_store_when_it_is_wanted(open_run, searches):
    for start in range(1, 6):
        run_id = MlflowClient().create_run("0", tags={"few": "yes"}, start_time=start).info.run_id
        MlflowClient().set_terminated(run_id)
    pages = runs.search_pages("tags.few = 'yes'", 2)
    assert searches == []
    assert [run.info.start_time for run in next(pages)] == [5, 4]
    assert searches == [2]
    assert [len(page) for page in pages] == [2, 1]
    assert searches == [2, 2, 1]


def test_search_that_finds_nothing_has_one_page_without_runs(open_run):
    (page,) = runs.search_pages("tags.page = 'no such run'", 2)
    assert list(page) == []


@pytest.mark.parametrize(
    "names",
    [
        ["days <5", "days >5"],
        ["a", "a ", " a"],
        ["x/1", "x?1", "x_1"],
        ["a" * 300 + "b", "a" * 300 + "c"],
        ["Age", "age", "AGE"],
        ["<", ">", ""],
        ["größe<", "größe>"],
    ],
)
def test_names_that_fall_together_as_params_are_logged_apart(open_run, names):
    params = {f"data.columns.{name}.range": place for place, name in enumerate(names)}
    runs.log_config(open_run, params)
    runs.log_config(open_run, params)  # MLflow refuses a param with another value
    logged = runs.get(open_run).data.params
    assert sorted(logged.values()) == sorted(str(place) for place in range(len(names)))
    assert len({key.casefold() for key in logged}) == len(names)
    assert runs.texts_by_key(params) == logged
    assert runs.texts_by_key(logged) == logged


def test_name_that_is_like_no_other_stays_readable_as_a_param():
    params = {"tune.max_evals": 3, "data.columns.days <5.unit": "d"}
    assert runs.texts_by_key(params) == {
        "tune.max_evals": "3",
        "data.columns.days _5.unit": "d",
    }


@pytest.mark.parametrize(
    "source", ["a.csv", "https://h/a.csv", "sqlite:///a.db", "memory://b/a.csv"]
)
def test_data_set_is_logged_whatever_its_address(open_run, source):
    given = runs.Input(pd.DataFrame({"x": [1.5]}), 9, source, "people", source[::-1])
    runs.log_dataset(given, "training")
    (logged,) = MlflowClient().get_run(open_run).inputs.dataset_inputs
    assert logged.dataset.name == "people"
    assert source in logged.dataset.source
    assert json.loads(logged.dataset.profile) == {"num_rows": 9, "num_elements": 9}
