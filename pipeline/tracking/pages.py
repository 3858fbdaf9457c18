"""Pages of MLflow's UI: their addresses, and how an experiment is shown there."""

import json
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

import mlflow
from mlflow import MlflowClient
from mlflow.utils.uri import is_http_uri

from pipeline.tasks import TASKS
from pipeline.tracking import local_store

LOCAL = "http://127.0.0.1:5000"  # where `mlflow ui` listens
# Without it MLflow 3 opens the page that the browser last had, or one for language models.
TRAINING = "workflowType=machine_learning"
KIND = "mlflow.experimentKind"
NOTE = "mlflow.note.content"
HOW_TO_READ = (
    "A run here is a command, and its name says what came of it. + opens its steps, and + of the "
    "step tune its trials. Tick two runs and press Compare to see what differs."
)
VIEW = "pipeline"  # its name in the address
VIEW_TAG = f"mlflow.sharedViewState.{VIEW}"  # as the button Share of the runs' table writes it
COLUMNS = (
    *("attributes.`Duration`", "attributes.`Models`", "tags.`decision`", "tags.`reasons`"),
    *(  # MLflow draws no column for those that no run has
        f"metrics.`{prefix}{name}`"
        for task in TASKS.values()
        for prefix, name in (("cv/", task.loss), ("test/", task.loss), ("test/", task.gate_metric))
    ),
)


def address() -> str:
    """Where the UI is: at the tracking server, or where `mlflow ui` puts it."""
    store = mlflow.get_tracking_uri()
    return store.rstrip("/") if is_http_uri(store) else LOCAL


def command() -> str | None:
    """What starts the UI over a store that is no server; None beside one, which has its own."""
    store = mlflow.get_tracking_uri()
    if is_http_uri(store):
        return None
    path = local_store.path_of(store)
    if path == Path("mlflow.db").absolute():
        return "mlflow ui"
    named = '"$MLFLOW_TRACKING_URI"' if path is None else store  # it may hold a password
    return f"mlflow ui --backend-store-uri {named}"


def run(experiment_id: str, run_id: str) -> str:
    """The page of a run, from the root of the UI on."""
    return f"#/experiments/{experiment_id}/runs/{run_id}?{TRAINING}"


def runs(experiment_id: str) -> str:
    """The table of an experiment's runs with the columns that tell them apart."""
    return f"#/experiments/{experiment_id}/runs?viewStateShareKey={VIEW}&{TRAINING}"


def comparison(experiment_id: str, run_ids: Sequence[str]) -> str:
    """The page that holds runs against each other."""
    runs, experiments = (quote(json.dumps(list(ids))) for ids in (run_ids, [experiment_id]))
    return f"#/compare-runs?runs={runs}&experiments={experiments}&{TRAINING}"


def version(name: str, number: str) -> str:
    """The page of a version in the registry."""
    return f"#/models/{quote(name, safe='')}/versions/{number}"


def of_experiment() -> dict[str, str]:
    """The tags by which MLflow shows an experiment as one of models, with its saved view."""
    view = {"selectedColumns": list(dict.fromkeys(COLUMNS)), "orderByKey": "attributes.start_time"}
    return {KIND: "custom_model_development", VIEW_TAG: json.dumps(view), NOTE: HOW_TO_READ}


def describe(name: str, text: str) -> None:
    """Says what there is in the active run's experiment, if it is that of the registered model."""
    run = mlflow.active_run()
    if run is None:
        return
    client, number = MlflowClient(), run.info.experiment_id
    experiment = client.get_experiment(number)
    before = experiment.tags.get(NOTE, "")
    if experiment.name != name or not (before.endswith(HOW_TO_READ) or not before):
        return  # of another model, or a user has written it
    link = f"[The runs with what tells them apart]({runs(number)})."
    tags = {**of_experiment(), NOTE: f"{text}\n\n{link} {HOW_TO_READ}"}
    for key, value in tags.items():
        if experiment.tags.get(key) != value:
            client.set_experiment_tag(number, key, value)
