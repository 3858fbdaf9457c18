"""MLflow runs: opening, filling, finding. The address of the store is the environment's."""

import hashlib
import json
import re
import socket
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from math import isnan
from pathlib import Path
from typing import Any, NamedTuple

import mlflow
import pandas as pd
import psutil
import yaml
from mlflow import MlflowClient
from mlflow.data.code_dataset_source import CodeDatasetSource
from mlflow.data.dataset_source import DatasetSource
from mlflow.data.dataset_source_registry import resolve_dataset_source
from mlflow.data.pandas_dataset import PandasDataset
from mlflow.entities import (
    LifecycleStage,
    LoggedModelInput,
    LoggedModelOutput,
    Metric,
    Param,
    Run,
    RunStatus,
    RunTag,
    ViewType,
)
from mlflow.environment_variables import MLFLOW_RUN_ID, MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.store.entities import PagedList
from mlflow.tracking.default_experiment import DEFAULT_EXPERIMENT_ID
from mlflow.utils.file_utils import local_file_uri_to_path
from mlflow.utils.mlflow_tags import (
    MLFLOW_PARENT_RUN_ID,
    MLFLOW_PROJECT_ENTRY_POINT,
    MLFLOW_RUN_NAME,
    MLFLOW_RUN_NOTE,
)
from mlflow.utils.uri import is_local_uri

from pipeline.errors import ConfigError, PipelineError
from pipeline.reporting.markdown import spaced
from pipeline.results import MODEL_METRICS, Arrays, Artifacts, Params
from pipeline.tracking import durable, environment, pages, store_errors
from pipeline.tracking.arrays import pack
from pipeline.tracking.environment import Place

STEP = "step"
# Machine tags sort last in the UI. Earlier versions wrote them without the prefix.
FINGERPRINT = "zz.fingerprint"
PROCESS = "zz.process"  # host, process and its start: whose run this is
EARLIER = "zz."
NAME = MLFLOW_RUN_NAME  # what the run is called in the UI
NOTE = MLFLOW_RUN_NOTE  # the run's description in the UI, in Markdown
LONGEST_KEY = 250
LONGEST_VALUE = 6000
LONGEST_DIGEST = 16  # of a data set; MLflow takes 36
MOST_PARAMS = 100  # in one call
LARGEST_PAGE = 1000  # runs that one search may return
LATEST_FIRST = ("attributes.start_time DESC",)
ABSENT = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")  # no such run, or no id of one
WHY_KILLED = "its process was killed, or could not write to the store; what had finished is kept"
OUTCOME = (NAME, "decision", "model_version", "model_id")
SAME_START = 5.0  # seconds between two readings of a process's start
_SCOPE: ContextVar[tuple[str, ...]] = ContextVar("scope", default=())  # experiments to search


@contextmanager
def parent_run(verb: str, model: str) -> Iterator[str]:
    """The run of a command for a registered model; FAILED with a note when the body fails.

    It is the run that `mlflow run` made, or a new one: a child of the active run of this thread, if
    there is one, or else in the experiment that is named, or else in that of the model. A new one
    that is refused before any step has begun is deleted: it is not worth a run. Raises ConfigError
    where the environment names a run or an experiment that cannot be used.
    """
    is_nested = mlflow.active_run() is not None
    place = Place(experiment_id(), is_named=True) if is_nested else environment.place(model)
    tags = {NAME: f"{model} {verb}", **_claim(verb)}
    run_id = ""
    if place.launcher is not None:
        MLFLOW_RUN_ID.unset()  # or else MLflow takes that run for the parent
    try:
        with (
            _without_addresses(),
            mlflow.start_run(experiment_id=place.experiment_id, nested=is_nested, tags=tags) as run,
            _in_scope(run, place),
            _launched(place.launcher, run),
            _noting_failure(run.info.run_id),
        ):
            run_id = run.info.run_id
            yield run_id
    except PipelineError:
        if run_id and place.experiment_id is not None:
            with store_errors.tolerated():
                _delete_childless(place.experiment_id, run_id)
        raise


def _delete_childless(experiment: str, run_id: str) -> None:
    client = MlflowClient()
    condition = f"tags.`{MLFLOW_PARENT_RUN_ID}` = '{run_id}'"
    if not client.search_runs([experiment], condition, max_results=1):
        client.delete_run(run_id)


@contextmanager
def _launched(launcher: Run | None, parent: Run) -> Iterator[None]:
    """Says on the run that `mlflow run` made elsewhere where the parent is, and what it came to."""
    if launcher is None:
        yield
        return
    run_id, page = launcher.info.run_id, pages.run(parent.info.experiment_id, parent.info.run_id)
    where = f"The steps are in [the experiment of the table]({page}), below the run of this name."
    log(run_id, tags={NAME: parent.info.run_name, PROCESS: _process(), NOTE: where})
    with _noting_failure(run_id):
        yield
        data = get(parent.info.run_id).data
        outcome = {name: data.tags[name] for name in OUTCOME if name in data.tags}
        text = f"{where}\n\n{data.tags.get(NOTE, '')}"
        log(run_id, metrics=data.metrics, tags={**outcome, NOTE: text})


@contextmanager
def _in_scope(run: Run, place: Place) -> Iterator[None]:
    """Meanwhile searches are over the experiments that `searched` returns."""
    also = () if place.is_named else (DEFAULT_EXPERIMENT_ID,)
    before = _SCOPE.set((run.info.experiment_id, *also))
    try:
        yield
    finally:
        _SCOPE.reset(before)


def claim(run_id: str, verb: str) -> None:
    """Notes at the run what this process does, so that `close_killed` can end it after it."""
    log(run_id, tags=_claim(verb))


def _claim(verb: str) -> dict[str, str]:
    return {"verb": verb, PROCESS: _process()}


@contextmanager
def _without_addresses() -> Iterator[None]:
    """Meanwhile MLflow prints no address of a run that ends, as it does beside a server.

    The command says it at its end; each takes a request, and those of trials tear the progress bar.
    """
    if MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT.get():
        yield
        return
    MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT.set(True)
    try:
        yield
    finally:
        MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT.unset()


def entry_point(run_id: str) -> str | None:
    """The entry point of the project that `mlflow run` made the run for."""
    run = find_run(run_id)
    return None if run is None else run.data.tags.get(MLFLOW_PROJECT_ENTRY_POINT)


def end(run_id: str, status: str) -> None:
    """Closes a run of another process: FINISHED, KILLED."""
    MlflowClient().set_terminated(run_id, status)


@contextmanager
def step_run(step: str) -> Iterator[str]:
    """A child of the parent run, named after the step."""
    with (
        mlflow.start_run(
            experiment_id=experiment_id(),  # the parent's, whatever the environment names
            run_name=step,
            nested=True,
            tags={STEP: step, PROCESS: _process()},
        ) as run,
        _noting_failure(run.info.run_id),
    ):
        yield run.info.run_id


def record_failure(verb: str, message: str) -> None:
    """Notes a mistake that stands before anything began on the run that `mlflow run` made.

    Without one there is none: a slip of the pen is not worth a run. Raises ConfigError with both
    mistakes where the environment names a run or an experiment that cannot be used.
    """
    if not environment.names_any():
        return
    try:
        environment.experiment_id(make=False)
    except ConfigError as error:
        raise ConfigError(f"{message}\n{error}") from None
    if not environment.names_run():
        return
    with mlflow.start_run() as run:
        MlflowClient().set_tag(run.info.run_id, "verb", verb)
        note(run.info.run_id, message)
        mlflow.end_run(RunStatus.to_string(RunStatus.FAILED))


def close_killed() -> int:
    """Closes the runs that a process of this machine left RUNNING when it was killed.

    Returns how many there were. A process elsewhere may be alive: its runs are left alone.
    """
    here = [run for page in search_pages("", LARGEST_PAGE, status="RUNNING") for run in page]
    return close([run for run in here if is_of_dead_process(run)])


def is_of_this_machine(run: Run) -> bool:
    """Whether a process of this machine began the run, as far as it says."""
    return machine_tag(run, PROCESS).startswith(f"{socket.gethostname()} ")


def is_of_dead_process(run: Run) -> bool:
    """Whether the process of this machine that began the run is gone."""
    return is_of_this_machine(run) and not _is_alive(machine_tag(run, PROCESS))


def close(dead: Sequence[Run]) -> int:
    """Ends runs whose process is gone; returns how many."""
    for run in dead:
        if MLFLOW_RUN_NOTE not in run.data.tags:
            note(run.info.run_id, WHY_KILLED)
        MlflowClient().set_terminated(run.info.run_id, RunStatus.to_string(RunStatus.KILLED))
    return len(dead)


@dataclass(frozen=True)
class OfModel:
    """The logged model that metrics are of, and the rows that they were measured on."""

    model_id: str
    digests: Mapping[str, str]  # of the data set, by how the names of the metrics begin
    dataset: str

    def metric(self, name: str, value: float, at: int) -> Metric:
        """As MLflow shows it at the model, if it is one of `MODEL_METRICS`."""
        if not name.startswith(MODEL_METRICS):
            return Metric(name, value, at, 0)
        digest = next(text for start, text in self.digests.items() if name.startswith(start))
        return Metric(
            name,
            value,
            at,
            0,
            model_id=self.model_id,
            dataset_name=self.dataset,
            dataset_digest=digest[:LONGEST_DIGEST],
        )


def log(
    run_id: str,
    params: Mapping[str, Any] | None = None,
    metrics: Mapping[str, float] | None = None,
    tags: Mapping[str, str] | None = None,
    of_model: OfModel | None = None,
) -> None:
    """Everything in one call, or a few when there are many params. NaN metrics are left out.

    With `of_model`, those of `MODEL_METRICS` are the logged model's too, so that MLflow finds it by
    them.
    """
    now = int(time.time() * 1000)
    make = of_model.metric if of_model else lambda name, value, at: Metric(name, value, at, 0)
    texts = [Param(name, text) for name, text in texts_by_key(params or {}).items()]
    MlflowClient().log_batch(
        run_id,
        metrics=[make(n, v, now) for n, v in (metrics or {}).items() if not isnan(v)],
        params=texts[:MOST_PARAMS],
        tags=[RunTag(n, spaced(text) if n == NOTE else text) for n, text in (tags or {}).items()],
    )
    for start in range(MOST_PARAMS, len(texts), MOST_PARAMS):
        MlflowClient().log_batch(run_id, params=texts[start : start + MOST_PARAMS])


def log_config(run_id: str, params: Mapping[str, Any]) -> None:
    """All settings, but for those of `mlflow run -P`, which it has logged as they were typed."""
    logged = _run(run_id).data.params
    texts = texts_by_key(params)
    log(run_id, {name: text for name, text in texts.items() if name not in logged})


def note(run_id: str, text: str) -> None:
    """The run's description in the UI, in Markdown."""
    MlflowClient().set_tag(run_id, NOTE, spaced(text))


def link_model(run_id: str, model_id: str) -> None:
    """Shows a model that a child logged at the run, with its registered versions."""
    MlflowClient().log_outputs(run_id, [LoggedModelOutput(model_id, step=0)])


def use_model(run_id: str, model_id: str) -> None:
    """Shows a model at a run that it answered in."""
    MlflowClient().log_inputs(run_id, models=[LoggedModelInput(model_id)])


@dataclass(frozen=True)
class Child:
    """A light run that has ended: finished, or failed with its error."""

    name: str
    params: Params
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    artifacts: Artifacts
    seconds: float  # that it took until now
    error: str


def log_child(parent_id: str, child: Child) -> None:
    """Metrics are written after the params and at once: a run that has them is complete."""
    client = MlflowClient()
    now = int(time.time() * 1000)
    tags = {MLFLOW_PARENT_RUN_ID: parent_id, PROCESS: _process(), **child.tags}
    run = client.create_run(
        experiment_id(),
        start_time=now - round(child.seconds * 1000),
        run_name=child.name,
        tags={**tags, MLFLOW_RUN_NOTE: child.error} if child.error else tags,
    )
    status = RunStatus.KILLED  # unless it is written to its end
    try:
        if child.artifacts:
            _upload(run, child.artifacts)
        log(run.info.run_id, child.params, child.metrics)
        status = RunStatus.FAILED if child.error else RunStatus.FINISHED
    finally:
        client.set_terminated(run.info.run_id, RunStatus.to_string(status), end_time=now)


def log_artifacts(run_id: str, artifacts: Artifacts) -> None:
    """Tables as CSV, dictionaries as JSON, arrays as NPZ, figures as PNG, text and bytes as is."""
    run = mlflow.active_run()
    if run is not None and run.info.run_id == run_id:
        _upload(run, artifacts)
        return
    with _written(artifacts) as folder:
        MlflowClient().log_artifacts(run_id, folder)


def _upload(run: Run, artifacts: Artifacts) -> None:
    """To a run in hand: MLflow's client would ask for its address."""
    with _written(artifacts) as folder:
        get_artifact_repository(run.info.artifact_uri).log_artifacts(folder)


@contextmanager
def _written(artifacts: Artifacts) -> Iterator[str]:
    """A folder with the files, meanwhile."""
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
                case Arrays():
                    path.write_bytes(pack(artifact))
                case dict():
                    path.write_text(json.dumps(artifact, indent=1), encoding="utf-8")
                case figure:
                    figure.savefig(path)
        yield folder


def copy_inputs(run: Run, run_id: str) -> None:
    """Logs the data sets of one run at another too."""
    if run.inputs is not None:
        MlflowClient().log_inputs(run_id, run.inputs.dataset_inputs)


class _Rows(PandasDataset):
    """So many rows, of which the table is a part."""

    rows = 0

    @property
    def profile(self) -> dict[str, int]:
        """The size as MLflow's UI shows it."""
        return {"num_rows": self.rows, "num_elements": self.rows * self.df.shape[1]}


class Input(NamedTuple):
    """So many rows of a source, and a table of some of them, which says of what types they are."""

    table: pd.DataFrame
    rows: int
    source: str
    name: str
    digest: str


def log_dataset(given: Input, context: str) -> None:
    """The rows as an input of the active run."""
    with warnings.catch_warnings():
        # MLflow warns that integer columns cannot hold gaps: these are complete.
        warnings.simplefilter("ignore", UserWarning)
        source = _origin(given.source)
        dataset = _Rows(given.table, source, name=given.name, digest=given.digest[:LONGEST_DIGEST])
        dataset.rows = given.rows
        mlflow.log_input(dataset, context=context)


def _origin(source: str) -> DatasetSource:
    """As MLflow takes it: of databases, and of some stores, it knows no address."""
    try:
        return resolve_dataset_source(source)
    except MlflowException:
        return CodeDatasetSource({"data.source": source})


def active() -> Run:
    """The active run as it was when it began."""
    run = mlflow.active_run()
    if run is None:
        raise RuntimeError("no MLflow run is active")
    return run


def experiment_id() -> str:
    """The experiment of the active run."""
    return str(active().info.experiment_id)


def machine_tag(run: Run, name: str) -> str:
    """One of the tags of machines, whatever version wrote it; "" for none."""
    tags = run.data.tags
    return str(tags.get(name) or tags.get(name.removeprefix(EARLIER), ""))


def searched() -> tuple[str, ...]:
    """The experiments that searches are over: that of the active run, and Default if none is named.

    Earlier versions left their runs in Default where none was named.
    """
    return _SCOPE.get() or (experiment_id(),)


def find(step: str, fingerprint: str) -> Run | None:
    """The latest finished run of the step with this fingerprint in the experiment."""
    for name in (FINGERPRINT, FINGERPRINT.removeprefix(EARLIER)):
        if runs := search(f"tags.{STEP} = '{step}' and tags.`{name}` = '{fingerprint}'", 1):
            return runs[0]
    return None


def latest(step: str) -> list[Run]:
    """The latest finished runs of the step in the experiment."""
    return search(f"tags.{STEP} = '{step}'", 20)


def _run(run_id: str) -> Run:
    """With its address and what it had when it began; the active one is in hand."""
    run = mlflow.active_run()
    return run if run is not None and run.info.run_id == run_id else get(run_id)


def get(run_id: str) -> Run:
    """The run with all that was logged to it."""
    return MlflowClient().get_run(run_id)


def find_run(run_id: str) -> Run | None:
    """The run of that id, if the store has it and it was not deleted."""
    try:
        run = get(run_id)
    except MlflowException as error:
        if error.error_code in ABSENT:
            return None
        raise
    return run if run.info.lifecycle_stage == LifecycleStage.ACTIVE else None


def search(
    condition: str,
    most: int | None = None,
    status: str = "FINISHED",
    experiment: str | None = None,
) -> list[Run]:
    """Runs with that status, or of any status for %, the latest first.

    They are of the experiments of `searched`, and of one that is named besides.
    """
    results = search_pages(condition, most or LARGEST_PAGE, status, experiment)
    return list(next(results)) if most else [run for page in results for run in page]


def search_pages(
    condition: str,
    size: int,
    status: str = "FINISHED",
    experiment: str | None = None,
    order_by: Sequence[str] = LATEST_FIRST,
) -> Iterator[PagedList[Run]]:
    """What `search` returns, a page at a time: each is asked of the store when it is wanted.

    There is at least one page, perhaps an empty one; the last has no token.
    """
    token = None
    while True:
        page = MlflowClient().search_runs(
            list(dict.fromkeys([experiment, *_SCOPE.get()] if experiment else searched())),
            " and ".join(filter(None, (f"attributes.status LIKE '{status}'", condition))),
            run_view_type=ViewType.ACTIVE_ONLY,
            max_results=size,
            order_by=list(order_by),
            page_token=token,
        )
        yield page
        token = page.token
        if not token:
            return


def sync_artifacts(run_id: str) -> None:
    """To the disk, where the artifacts are on this machine."""
    address = _run(run_id).info.artifact_uri
    if is_local_uri(address):
        durable.sync(Path(local_file_uri_to_path(address)))


def read_artifact(run_id: str, name: str) -> bytes:
    """The bytes of a file that `log_artifacts` wrote."""
    with tempfile.TemporaryDirectory() as folder:
        path = mlflow.artifacts.download_artifacts(
            run_id=run_id, artifact_path=name, dst_path=folder
        )
        return Path(path).read_bytes()


def read_files(run: Run, names: Iterable[str]) -> dict[str, bytes]:
    """The bytes of those of the files that the run in hand has."""
    files: dict[str, bytes] = {}
    repository = get_artifact_repository(run.info.artifact_uri)
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            with suppress(MlflowException, OSError):
                files[name] = Path(repository.download_artifacts(name, folder)).read_bytes()
    return files


def texts_by_key(params: Mapping[str, Any]) -> dict[str, str]:
    """Params as MLflow takes them: columns may be called anything, and no two keys are alike.

    Keys that would be, without regard to case as some databases have it, end in a hash of the name.
    """
    keys = {name: _key(name) for name in params}
    counts = Counter(key.casefold() for key in keys.values())
    return {
        key if counts[key.casefold()] == 1 else _distinct(key, name): value_text(params[name])
        for name, key in keys.items()
    }


def _key(name: str) -> str:
    return re.sub(r"[^\w\-. :]", "_", name).strip()[:LONGEST_KEY]


def _distinct(key: str, name: str) -> str:
    mark = f":{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    return key[: LONGEST_KEY - len(mark)] + mark


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
    except Exception as error:
        mistake = store_errors.mistake(error)
        if mistake is not None:
            with store_errors.tolerated():
                note(run_id, str(mistake))
        raise
    except (KeyboardInterrupt, SystemExit):
        note(run_id, "interrupted; what had finished is kept, and the next run goes on from there")
        mlflow.end_run(RunStatus.to_string(RunStatus.KILLED))
        raise


@cache
def _process() -> str:
    process = psutil.Process()
    return f"{socket.gethostname()} {process.pid} {process.create_time():.0f}"


def _is_alive(process: str) -> bool:
    """Whether the process that a tag names still runs on this machine."""
    _, pid, start = process.split(" ")
    try:
        return bool(abs(psutil.Process(int(pid)).create_time() - float(start)) < SAME_START)
    except psutil.Error:
        return False
