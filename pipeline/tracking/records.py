"""What each step leaves in its run, and what is read back when the run is reused."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from math import nan
from typing import Any

import pandas as pd
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from pipeline.config.sections import Config
from pipeline.errors import StoreError
from pipeline.results import Arrays, Artifacts, Dataset, Report, Training, Trial, Tuning
from pipeline.tasks import METRICS
from pipeline.tracking import model_files, runs, store_errors
from pipeline.tracking.arrays import unpack

TUNING, TRAINING, OUT_OF_FOLD = "tuning.json", "training.json", "out_of_fold.npz"
FORMAT = 1  # of the three; files of old that name none have it too
TRAINING_VALUES = ("weights", "threshold", "metrics", "spread", "scores")
SHARED_TAGS = (  # in the order in which the UI lists them
    *("decision", "model_version", "reasons", "claim", "decided_by", "decided_at"),
    *("data_digest", "split_digest", "model_id"),
)
REPORT = {  # step -> file of the parent -> file of the step
    "analyze": {"analysis.html": "report.html"},
    "evaluate": {
        name: name
        for name in (
            *("roc.png", "calibration.png", "predicted_true.png", "interval_coverage.png"),
            "worst_rows.csv",
        )
    },
    "audit": {"audit.png": "audit.png"},
    "compare": {"comparison.png": "curves.png", "comparison.csv": "metrics.csv"},
}
COMPARED = ("cv/", "test/", "audit/")  # how those metrics begin that a parent has
MOST_TYPED = 100_000  # rows
MEASURED = ("tune", "train", "evaluate", "promote", "audit")


def record(run_id: str, report: Report, mark: str, of_model: runs.OfModel | None = None) -> None:
    """Writes a step's report; with its last call the mark that the run is complete.

    With `of_model` the metrics of a model itself are that logged model's too.
    """
    if report.artifacts:
        runs.log_artifacts(run_id, report.artifacts)
    note = {runs.NOTE: report.note} if report.note else {}
    tags = {**report.tags, **note, runs.FINGERPRINT: mark}
    runs.log(run_id, metrics=report.metrics, tags=tags, of_model=of_model)


def log_input(config: Config, dataset: Dataset, context: str) -> None:
    """The whole table, or its training or testing part, as an input of the active run.

    MLflow keeps no rows, and takes the types from all rows, or from the first of many.
    """
    part = {"training": dataset.X_train, "testing": dataset.X_test}.get(context)
    rows = dataset.rows if part is None else len(part)
    if part is None:
        part = dataset.X if rows <= MOST_TYPED else dataset.X_train
    X = part.head(MOST_TYPED)
    y = pd.concat([dataset.y_train, dataset.y_test]).loc[X.index]
    table = dataset.cells_of(X).assign(**{dataset.contract.target: y})
    digest = dataset.digest if rows == dataset.rows else _digest(dataset, context)
    given = runs.Input(table, rows, config.data.source, dataset.name, digest)
    runs.log_dataset(given, context)


def _digest(dataset: Dataset, context: str) -> str:
    """That of a part, as MLflow shows it."""
    return f"{context}-{dataset.split_digest}"


def of_model(model_id: str, dataset: Dataset) -> runs.OfModel:
    """What the metrics of a model are of: cross-validation of one part, tests of the other."""
    parts = {"cv": _digest(dataset, "training"), "test": _digest(dataset, "testing")}
    return runs.OfModel(model_id, parts, dataset.name)


def tuning_files(tuning: Tuning) -> Artifacts:
    """The files by which a finished search is read back."""
    return {
        TUNING: {
            "format": FORMAT,
            "trials": [asdict(trial) for trial in tuning.trials],
            "chosen": {family: trial.number for family, trial in tuning.chosen.items()},
        },
        OUT_OF_FOLD: Arrays(FORMAT, tuning.out_of_fold),
    }


def load_tuning(run: Run) -> Tuning:
    """A finished search. Raises StoreError."""
    with _reading(run):
        values = _read_json(run, TUNING)
        out_of_fold = unpack(runs.read_artifact(run.info.run_id, OUT_OF_FOLD), FORMAT)
        trials = {trial["number"]: Trial(**trial) for trial in values["trials"]}
        chosen = {family: trials[number] for family, number in values["chosen"].items()}
        return Tuning(tuple(trials.values()), chosen, out_of_fold)


def training_files(training: Training) -> Artifacts:
    """The file by which a finished training is read back, beside its logged model."""
    return {TRAINING: {"format": FORMAT, **{k: getattr(training, k) for k in TRAINING_VALUES}}}


def load_training(run: Run) -> Training:
    """A finished training with its model. Raises StoreError, ModelError."""
    # With scikit-learn and ONNX Runtime: a reused training does without.
    from pipeline.inference import model_folder
    from pipeline.tracking import logged_model

    with _reading(run):
        values = _read_json(run, TRAINING)
        with model_files.verified(run.data.tags["model_id"]) as folder:
            return Training(
                model=logged_model.load(folder),
                compiled=model_folder.compiled(folder),
                **{name: values[name] for name in TRAINING_VALUES if name in values},
            )


def _read_json(run: Run, name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(runs.read_artifact(run.info.run_id, name))
    number = dict(content).get("format", FORMAT)
    if number != FORMAT:
        raise ValueError(f"{name} has the format {number!r}; this version reads {FORMAT}")
    return content


@contextmanager
def _reading(run: Run) -> Iterator[None]:
    """What cannot be read back of a run, as an error with the remedy."""
    try:
        yield
    except (MlflowException, OSError, ValueError, KeyError, TypeError) as error:
        raise store_errors.mistake(error) or StoreError(
            f"what run {run.info.run_id} has left is gone or damaged ({error}); "
            "--fresh runs all steps anew"
        ) from error


def report_files(steps: Mapping[str, Run], written: Mapping[str, Artifacts]) -> Artifacts:
    """The pages, pictures and tables of the steps that their parent has too.

    `written` holds those of the steps that have run; of reused ones they are read back, if there.
    """
    files: Artifacts = {}
    for step, names in REPORT.items():
        if step in written:
            files |= {
                name: written[step][file] for name, file in names.items() if file in written[step]
            }
        elif step in steps:
            content = runs.read_files(steps[step], names.values())
            files |= {name: content[file] for name, file in names.items() if file in content}
    return files


def parent(run_id: str, name: str, steps: dict[str, Run], reused: set[str]) -> dict[str, float]:
    """What a parent shows, so that parents compare: metrics, data, model, and where all is.

    Returns all metrics of the steps; the parent has those by which models are compared.
    """
    metrics: dict[str, float] = {}
    for step in MEASURED:  # of a metric that two have, the later one's
        metrics |= steps[step].data.metrics if step in steps else {}
    all_tags = {name: text for run in steps.values() for name, text in run.data.tags.items()}
    tags = {name: all_tags[name] for name in SHARED_TAGS if name in all_tags}
    runs.copy_inputs(steps["ingest"], run_id)
    if "model_id" in tags:
        runs.link_model(run_id, tags["model_id"])
    tags |= {runs.NAME: name, runs.NOTE: _summary(steps, reused, metrics)}
    few = {name: value for name, value in metrics.items() if name.startswith(COMPARED)}
    runs.log(run_id, metrics=few, tags=tags)
    return metrics


def _summary(steps: dict[str, Run], reused: set[str], metrics: dict[str, float]) -> str:
    """The parent's description in Markdown, the outcome first."""
    lines = []
    for step in ("audit", "compare", "promote"):
        if step in steps:
            lines += [steps[step].data.tags[runs.NOTE], ""]
    if "evaluate" in steps:
        lines += ["| test metric | value | 95 % interval |", "| --- | --- | --- |"]
        for name in (name for name in METRICS if f"test/{name}" in metrics):
            low, high = (metrics.get(f"test_95/{name}_{end}", nan) for end in ("low", "high"))
            value = metrics.get(f"test/{name}", nan)
            lines.append(f"| {name} | {value:.3f} | {low:.3f} to {high:.3f} |")
        lines.append("")
    lines += ["| step | run | |", "| --- | --- | --- |"]
    for step, run in steps.items():
        link = f"#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}"
        lines.append(
            f"| {step} | [{run.info.run_id[:8]}]({link}) | {'reused' * (step in reused)} |"
        )
    return "\n".join(lines)
