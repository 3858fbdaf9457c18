"""The run and the experiment that the environment names."""

import mlflow
import pytest
from mlflow import MlflowClient

from pipeline.errors import ConfigError
from pipeline.tracking import environment, runs

pytestmark = pytest.mark.usefixtures("store")


@pytest.fixture
def deleted() -> str:
    """The id of an experiment that was."""
    client = MlflowClient()
    experiment = client.get_experiment_by_name("deleted")
    if experiment is not None:
        return str(experiment.experiment_id)
    number = client.create_experiment("deleted")
    client.delete_experiment(number)
    return str(number)


def refused(message: str) -> None:
    """By every verb that opens a run, before it has opened any."""
    before = len(MlflowClient().search_runs(["0"]))
    with pytest.raises(ConfigError, match=message), runs.parent_run("tune", "people"):
        pytest.fail("a run was opened")
    assert mlflow.active_run() is None
    assert len(MlflowClient().search_runs(["0"])) == before


@pytest.mark.parametrize("run_id", ["nope", "0" * 32])
def test_run_that_is_not_there_is_told(monkeypatch, run_id):
    monkeypatch.setenv("MLFLOW_RUN_ID", run_id)
    refused(f"MLFLOW_RUN_ID is '{run_id}', and the tracking store has no such run; unset it")


def test_run_that_was_deleted_is_told_with_how_to_restore_it(monkeypatch):
    run_id = MlflowClient().create_run("0").info.run_id
    MlflowClient().delete_run(run_id)
    monkeypatch.setenv("MLFLOW_RUN_ID", run_id)
    refused(f"that run was deleted; .* `mlflow runs restore --run-id {run_id}`")


@pytest.mark.parametrize("number", ["999", "abc", "-1"])
def test_experiment_that_is_not_there_is_told(monkeypatch, number):
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", number)
    refused(f"MLFLOW_EXPERIMENT_ID is '{number}', and there is no such experiment")


def test_experiment_that_was_deleted_is_told_by_its_id(monkeypatch, deleted):
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", deleted)
    refused(f"'deleted' was deleted; .* restore --experiment-id {deleted}`")


def test_experiment_that_was_deleted_is_told_by_its_name(monkeypatch, deleted):
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "deleted")
    refused(f"MLFLOW_EXPERIMENT_NAME is 'deleted', and .* restore --experiment-id {deleted}`")


def test_name_and_id_of_two_experiments_are_refused(monkeypatch):
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "Default")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "7")
    refused("MLFLOW_EXPERIMENT_NAME is 'Default', whose id is 0, and .* is '7': unset one of them")


def test_experiment_that_is_named_and_not_there_is_made(monkeypatch):
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "brand new")
    assert environment.experiment_id(make=False) is None
    with runs.parent_run("tune", "people") as parent, runs.step_run("tune") as step:
        entities = [MlflowClient().get_run(run_id) for run_id in (parent, step)]
    number = MlflowClient().get_experiment_by_name("brand new").experiment_id
    assert [run.info.experiment_id for run in entities] == [number, number]


def test_experiment_that_another_made_meanwhile_is_taken(monkeypatch):
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "raced")
    number = MlflowClient().create_experiment("raced")
    original, late = MlflowClient.get_experiment_by_name, [None]
    monkeypatch.setattr(
        MlflowClient,
        "get_experiment_by_name",
        lambda client, name: late.pop() if late else original(client, name),
    )
    assert environment.experiment_id() == number


def test_steps_are_in_the_experiment_of_the_run_that_is_named(monkeypatch):
    number = MlflowClient().create_experiment("of the run")
    monkeypatch.setenv("MLFLOW_RUN_ID", MlflowClient().create_run(number).info.run_id)
    with runs.parent_run("tune", "people"), runs.step_run("tune") as step:
        assert MlflowClient().get_run(step).info.experiment_id == number


@pytest.mark.parametrize(
    "name", ["MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME"]
)
def test_variable_without_a_value_names_nothing(monkeypatch, name):
    monkeypatch.setenv(name, "")
    assert not environment.names_any()
    place = environment.place("people")
    assert not place.is_named
    assert MlflowClient().get_experiment(place.experiment_id).name == "people"
