"""The tracking store: whether it answers and takes what is written, and what was left in it."""

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Experiment, Run
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.utils.file_utils import local_file_uri_to_path
from mlflow.utils.uri import is_local_uri

from pipeline.command_line import PROGRAM
from pipeline.config.sections import Config
from pipeline.doctor.finding import Finding, wrong
from pipeline.doctor.machine import room
from pipeline.errors import PipelineError
from pipeline.inference import manifest
from pipeline.tracking import local_store, model_files, records, runs, store_errors

SUBJECT = "tracking store"
LOCKED_AFTER = 2.0  # seconds
SILENT_AFTER = 24 * 3600.0  # seconds: a run elsewhere that began before is asked about
MOST_LOOKED_AT = 20  # runs of a step
FILES = {"tune": (records.TUNING, records.OUT_OF_FOLD), "train": (records.TRAINING,)}


def tracking(_: Config) -> Iterator[Finding]:
    """Its kind, whether it is reachable, of this MLflow's schema, not locked, and writable."""
    address = mlflow.get_tracking_uri()
    path = local_store.path_of(address)
    masked = store_errors.masked(address)
    if path is not None and not exists():
        yield Finding(SUBJECT, f"{path} is not there yet: the first run makes it")
        yield room("disk of the store", path.parent, "make room")
        return
    if path is not None:
        yield room("disk of the store", path.parent, "make room")
        if problem := _cannot_write(path):
            yield problem
            return
    elif urlsplit(address).scheme in ("", "file"):
        yield wrong(
            SUBJECT,
            f"MLflow takes the folder {masked} for the store, and does not write to such ones any "
            "more; a meta.yaml in it may be why",
            "export MLFLOW_TRACKING_URI=sqlite:///mlflow.db",
        )
        return
    MlflowClient().search_experiments(max_results=1)  # raises where the schema is another one
    yield Finding(SUBJECT, f"{masked} answers")


def exists() -> bool:
    """Whether there is a store already."""
    path = local_store.path_of(mlflow.get_tracking_uri())
    return path is None or path.exists()


def _cannot_write(path: Path) -> Finding | None:
    """What keeps this process from writing to an SQLite file."""
    try:
        with closing(sqlite3.connect(path, timeout=LOCKED_AFTER, isolation_level=None)) as database:
            database.execute("BEGIN IMMEDIATE")
            database.execute("ROLLBACK")
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            message = f"{path} is locked by another process for more than {LOCKED_AFTER:g} s"
            return wrong(SUBJECT, message, f"fuser -v {path}")
        return wrong(SUBJECT, f"{path} cannot be written: {error}", f"chmod u+rw {path}")
    except sqlite3.DatabaseError as error:
        message = f"{path} is no database of MLflow ({error})"
        return wrong(SUBJECT, message, f"mv {path} {path}.broken")
    return None


def artifacts(_: Config) -> Iterator[Finding]:
    """Whether the places where runs keep their files can be had."""
    for experiment in _experiments():
        subject = f"artifacts of {experiment.name!r}"
        address = str(experiment.artifact_location)
        if is_local_uri(address):
            yield _folder(subject, Path(local_file_uri_to_path(address)))
        else:
            get_artifact_repository(address).list_artifacts()
            yield Finding(subject, f"{store_errors.masked(address)} answers")


def _folder(subject: str, folder: Path) -> Finding:
    existing = folder
    while not existing.exists():
        existing = existing.parent
    if not os.access(existing, os.W_OK | os.X_OK):
        return wrong(
            subject, f"{existing} cannot be written by this user", f"chmod u+rwx {existing}"
        )
    return room(subject, folder, "make room")


def left_running(_: Config) -> Iterator[Finding]:
    """Runs that no process works on any more."""
    running = _runs("attributes.status = 'RUNNING'")
    dead = [run for run in running if runs.is_of_dead_process(run)]
    now = time.time()
    silent = [
        run
        for run in running
        if runs.machine_tag(run, runs.PROCESS)
        and not runs.is_of_this_machine(run)
        and now - run.info.start_time / 1000 > SILENT_AFTER
    ]
    subject = "runs"
    if dead:
        message = f"{len(dead)} are RUNNING, and their processes on this machine are dead"
        yield wrong(subject, message, f"{PROGRAM} doctor --fix", lambda: runs.close(dead))
    for run in silent[:MOST_LOOKED_AT]:
        begun = time.strftime("%Y-%m-%d %H:%M", time.gmtime(run.info.start_time / 1000))
        yield wrong(
            subject,
            f"{run.info.run_id} has been RUNNING elsewhere since {begun} UTC; if its process is "
            "gone, end it",
            "python -c 'import mlflow; mlflow.MlflowClient().set_terminated("
            f'"{run.info.run_id}", "KILLED")\'',
        )
    if not dead and not silent:
        yield Finding(subject, f"none was left behind; under way: {len(running)}")


def files(_: Config) -> Iterator[Finding]:
    """Whether the finished runs that may be reused have what a later command reads back."""
    complete, fingerprints = 0, set()
    for step, names in FILES.items():
        for run in _runs(f"attributes.status = 'FINISHED' and tags.{runs.STEP} = '{step}'"):
            fingerprint = runs.machine_tag(run, runs.FINGERPRINT)
            if fingerprint in fingerprints:
                continue  # a later run stands for it
            fingerprints.add(fingerprint)
            listed = MlflowClient().list_artifacts(run.info.run_id)
            sizes = {one.path: one.file_size for one in listed}
            gone = [name for name in names if not sizes.get(name)]
            if gone:
                yield _incomplete(run, f"of {step} lacks {', '.join(gone)}")
            elif step == "train" and (problem := _broken_model(run)):
                yield _incomplete(run, f"of {step}: {problem}")
            else:
                complete += 1
    yield Finding("files of runs", f"{complete} runs of {' and '.join(FILES)} have all of theirs")


def _incomplete(run: Run, what: str) -> Finding:
    message = (
        f"{run.info.run_id} {what}; restore them, or delete the run, and its step runs anew "
        "(`mlflow runs restore` takes that back)"
    )
    return wrong("files of runs", message, f"mlflow runs delete --run-id {run.info.run_id}")


def _broken_model(run: Run) -> str:
    try:
        with model_files.verified(run.data.tags["model_id"]):
            return ""
    except (PipelineError, KeyError) as error:
        return str(error).replace(f"; {manifest.REMEDY}", "")


def _experiments() -> list[Experiment]:
    return list(MlflowClient().search_experiments())


def _runs(condition: str) -> list[Run]:
    """The latest of all experiments."""
    ids = [experiment.experiment_id for experiment in _experiments()]
    return list(MlflowClient().search_runs(ids, condition, max_results=MOST_LOOKED_AT))
