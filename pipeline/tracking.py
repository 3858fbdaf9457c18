"""MLflow runs: opening, filling, finding. The address of the store is the environment's."""

import json
import re
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import isnan
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import yaml
from mlflow import MlflowClient
from mlflow.data.pandas_dataset import from_pandas
from mlflow.entities import LoggedModelOutput, Metric, Param, Run, RunStatus, RunTag, ViewType
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NOTE

from pipeline.errors import PipelineError
from pipeline.results import Artifacts, Params

STEP = "step"
FINGERPRINT = "fingerprint"
LONGEST_VALUE = 6000
MOST_PARAMS = 100  # in one call


@contextmanager
def parent_run(verb: str) -> Iterator[str]:
    """The run that `mlflow run` made, or a new one; FAILED with a note when the body fails."""
    with mlflow.start_run() as run, _noting_failure(run.info.run_id):
        MlflowClient().set_tag(run.info.run_id, "verb", verb)
        yield run.info.run_id


@contextmanager
def step_run(step: str) -> Iterator[str]:
    """A child of the parent run, named after the step."""
    with (
        mlflow.start_run(run_name=step, nested=True, tags={STEP: step}) as run,
        _noting_failure(run.info.run_id),
    ):
        yield run.info.run_id


def record_failure(verb: str, message: str) -> None:
    """A FAILED run for a mistake that was found before any run was open."""
    with mlflow.start_run() as run:
        MlflowClient().set_tag(run.info.run_id, "verb", verb)
        note(run.info.run_id, message)
        mlflow.end_run(RunStatus.to_string(RunStatus.FAILED))


def log(
    run_id: str,
    params: Mapping[str, Any] | None = None,
    metrics: Mapping[str, float] | None = None,
    tags: Mapping[str, str] | None = None,
) -> None:
    """Everything in one call, or a few when there are many params. NaN metrics are left out."""
    now = int(time.time() * 1000)
    texts = [Param(key(name), value_text(value)) for name, value in (params or {}).items()]
    MlflowClient().log_batch(
        run_id,
        metrics=[Metric(n, v, now, 0) for n, v in (metrics or {}).items() if not isnan(v)],
        params=texts[:MOST_PARAMS],
        tags=[RunTag(name, value) for name, value in (tags or {}).items()],
    )
    for start in range(MOST_PARAMS, len(texts), MOST_PARAMS):
        MlflowClient().log_batch(run_id, params=texts[start : start + MOST_PARAMS])


def note(run_id: str, text: str) -> None:
    """The run's description in the UI, in Markdown."""
    MlflowClient().set_tag(run_id, MLFLOW_RUN_NOTE, text)


def link_model(run_id: str, model_id: str) -> None:
    """Shows a model that a child logged at the run, with its registered versions."""
    MlflowClient().log_outputs(run_id, [LoggedModelOutput(model_id, step=0)])


def log_child(
    parent_id: str, name: str, params: Params, metrics: Mapping[str, float], error: str
) -> None:
    """A light child run: finished, or failed with the error as its description."""
    client = MlflowClient()
    child = client.create_run(
        experiment_id(), run_name=name, tags={MLFLOW_PARENT_RUN_ID: parent_id, STEP: "trial"}
    )
    log(child.info.run_id, params, metrics)
    if error:
        note(child.info.run_id, error)
    client.set_terminated(child.info.run_id, "FAILED" if error else "FINISHED")


def log_artifacts(run_id: str, artifacts: Artifacts) -> None:
    """Tables as CSV or JSON, figures as PNG, text and bytes as they are."""
    with tempfile.TemporaryDirectory() as folder:
        for name, artifact in artifacts.items():
            path = Path(folder) / name
            match artifact:
                case pd.DataFrame():
                    artifact.to_csv(path, index=False)
                case str():
                    path.write_text(artifact, encoding="utf-8")
                case bytes():
                    path.write_bytes(artifact)
                case dict():
                    path.write_text(json.dumps(artifact, indent=1), encoding="utf-8")
                case figure:
                    figure.savefig(path, dpi=100)
        MlflowClient().log_artifacts(run_id, folder)


def copy_inputs(run: Run, run_id: str) -> None:
    """The data sets that one run shows, shown by another too."""
    if run.inputs is not None:
        MlflowClient().log_inputs(run_id, run.inputs.dataset_inputs)


def log_dataset(table: pd.DataFrame, source: str, name: str, digest: str, context: str) -> None:
    """The table as an input of the active run."""
    with warnings.catch_warnings():
        # MLflow warns that integer columns cannot hold gaps: these are complete.
        warnings.simplefilter("ignore", UserWarning)
        dataset = from_pandas(table, source=source, name=name, digest=digest[:16])
        mlflow.log_input(dataset, context=context)


def experiment_id() -> str:
    """The experiment of the active run."""
    run = mlflow.active_run()
    if run is None:
        raise RuntimeError("no MLflow run is active")
    return str(run.info.experiment_id)


def find(step: str, fingerprint: str) -> Run | None:
    """The latest finished run of the step with this fingerprint in the experiment."""
    runs = search(f"tags.{STEP} = '{step}' and tags.{FINGERPRINT} = '{fingerprint}'", 1)
    return runs[0] if runs else None


def latest(step: str) -> list[Run]:
    """The latest finished runs of the step in the experiment."""
    return search(f"tags.{STEP} = '{step}'", 20)


def get(run_id: str) -> Run:
    """The run with all that was logged to it."""
    return MlflowClient().get_run(run_id)


def search(condition: str, most: int = 1000) -> list[Run]:
    """Finished runs of the experiment, the latest first."""
    return list(
        MlflowClient().search_runs(
            [experiment_id()],
            f"attributes.status = 'FINISHED' and {condition}",
            run_view_type=ViewType.ACTIVE_ONLY,
            max_results=most,
            order_by=["attributes.start_time DESC"],
        )
    )


def read_artifact(run_id: str, name: str) -> bytes:
    """The bytes of a file that `log_artifacts` wrote."""
    with tempfile.TemporaryDirectory() as folder:
        path = mlflow.artifacts.download_artifacts(
            run_id=run_id, artifact_path=name, dst_path=folder
        )
        return Path(path).read_bytes()


def key(name: str) -> str:
    """A name that MLflow takes for a param: columns may be called anything."""
    return re.sub(r"[^\w\-. :]", "_", name).strip()[:250]


def value_text(value: Any) -> str:
    """A param's value as it is logged: as in a config file, in one line."""
    if isinstance(value, (list, dict)):
        text = yaml.safe_dump(value, default_flow_style=True, width=1e9, allow_unicode=True)
    else:
        text = value if isinstance(value, str) else json.dumps(value)
    return text.strip()[:LONGEST_VALUE]


@contextmanager
def _noting_failure(run_id: str) -> Iterator[None]:
    try:
        yield
    except PipelineError as error:
        note(run_id, str(error))
        raise
