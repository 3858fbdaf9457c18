"""What each step leaves in its run, and reads back when the run is reused."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from math import nan
from typing import get_args

import pandas as pd
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE

from pipeline.config.sections import Config, Metric
from pipeline.datasets.row_hash import identities
from pipeline.errors import StoreError
from pipeline.results import (
    Analysis,
    Audit,
    Dataset,
    Evaluation,
    Event,
    ModelComparison,
    Outcome,
    Training,
    Trial,
    Tuning,
)
from pipeline.tracking import model_files
from pipeline.tracking import runs as tracking
from pipeline.tracking import store_errors as store
from pipeline.tracking.arrays import pack, unpack

OUT_OF_FOLD = "out_of_fold.npz"
TRAINING_ROWS = "training_rows.npz"  # by which another table's rows are known again
SHARED_TAGS = (
    *("data_digest", "split_digest", "model_id"),
    *("decision", "model_version", "reasons", "claim", "decided_by", "decided_at"),
)
DIGESTS = ("data_digest", "split_digest")
MEASURED = ("tune", "train", "evaluate", "promote", "audit")


@dataclass(frozen=True)
class Closing:
    """What is logged last to a step's run, in one call with the mark that it is complete."""

    metrics: Mapping[str, float] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    note: str = ""  # the description, in Markdown
    model_id: str | None = None  # of the logged model whose metrics they are too

    def log(self, run_id: str, tags: Mapping[str, str]) -> None:
        """With more tags."""
        note = {MLFLOW_RUN_NOTE: self.note} if self.note else {}
        every = {**self.tags, **note, **tags}
        tracking.log(run_id, metrics=self.metrics, tags=every, model_id=self.model_id)


def ingest(config: Config, dataset: Dataset) -> Closing:
    """The table as an MLflow dataset."""
    log_input(config, dataset, "ingest")
    return Closing(tags=digests(dataset))


def log_input(config: Config, dataset: Dataset, context: str) -> None:
    """The whole table, or its training or testing part, as an input of the active run."""
    X, y = {
        "training": (dataset.X_train, dataset.y_train),
        "testing": (dataset.X_test, dataset.y_test),
    }.get(context, (dataset.X, dataset.y))
    table = X.assign(**{dataset.contract.target: y})
    digest = dataset.digest if len(X) == len(dataset.X) else f"{context}-{dataset.split_digest}"
    tracking.log_dataset(table, config.data.source, dataset.name, digest, context)


def analyze(run_id: str, analysis: Analysis) -> Closing:
    """Tables, pictures and the report."""
    tracking.log_artifacts(run_id, analysis.artifacts)
    return Closing(analysis.metrics)


def tune(run_id: str, tuning: Tuning, read_back: int) -> Closing:
    """The best trial's metrics, all trials, and the out-of-fold predictions."""
    best = tuning.best
    failed = sum(bool(trial.error) for trial in tuning.trials)
    tracking.log_artifacts(
        run_id,
        {
            **tuning.artifacts,
            "tuning.json": {
                "trials": [asdict(trial) for trial in tuning.trials],
                "chosen": {family: trial.number for family, trial in tuning.chosen.items()},
            },
            OUT_OF_FOLD: pack(tuning.out_of_fold),
        },
    )
    return Closing(
        metrics={
            **tracking.cv(best.metrics, best.spread),
            "trials": len(tuning.trials),
            "failed_trials": failed,
            "trials_read_back": read_back,
        },
        tags={"best_family": best.family},
        note=_search_summary(tuning, failed, read_back),
    )


def load_tuning(run: Run) -> Tuning:
    """A finished search. Raises StoreError."""
    with _reading(run):
        known = json.loads(tracking.read_artifact(run.info.run_id, "tuning.json"))
        out_of_fold = unpack(tracking.read_artifact(run.info.run_id, OUT_OF_FOLD))
        trials = {trial["number"]: Trial(**trial) for trial in known["trials"]}
        chosen = {family: trials[number] for family, number in known["chosen"].items()}
        return Tuning(tuple(trials.values()), chosen, out_of_fold)


def train(run_id: str, config: Config, dataset: Dataset, training: Training) -> Closing:
    """The model, logged once, and what cross-validation says of it."""
    from pipeline.export.compilation import compile_model
    from pipeline.tracking import logged_model  # with scikit-learn

    log_input(config, dataset, "training")
    compilation = compile_model(dataset, training)
    model_id = logged_model.log(config, dataset, training, compilation)
    keys = ("weights", "threshold", "metrics", "spread", "summary")
    own = identities(dataset.contract, dataset.X, dataset.y)
    trained = own[dataset.X.index.isin(dataset.X_train.index)]
    tracking.log_artifacts(
        run_id,
        {
            **training.artifacts,
            "training.json": {key: getattr(training, key) for key in keys},
            TRAINING_ROWS: pack({"identities": trained}),
        },
    )
    return Closing(
        metrics={
            **tracking.cv(training.metrics, training.spread),
            **{f"weight/{family}": weight for family, weight in training.weights.items()},
            **({} if training.threshold is None else {"threshold": training.threshold}),
        },
        tags={"model_id": model_id, "compiled": compilation.summary},
        note=training.summary,
    )


def load_training(run: Run) -> Training:
    """A finished training with its model. Raises StoreError, ModelError."""
    from pipeline.tracking import logged_model  # with scikit-learn: a reused training does without

    with _reading(run):
        known = json.loads(tracking.read_artifact(run.info.run_id, "training.json"))
        with model_files.verified(run.data.tags["model_id"]) as folder:
            return Training(model=logged_model.load(folder), **known)


@contextmanager
def _reading(run: Run) -> Iterator[None]:
    """What cannot be read back of a run, as an error with the remedy."""
    try:
        yield
    except (MlflowException, OSError, ValueError, KeyError, TypeError) as error:
        raise store.mistake(error) or StoreError(
            f"what run {run.info.run_id} has left is gone or damaged ({error}); "
            "--fresh runs all steps anew"
        ) from error


def evaluate(
    run_id: str, config: Config, dataset: Dataset, evaluation: Evaluation, trained: Run
) -> Closing:
    """Metrics with intervals, baselines, pictures; and the model's own CV metrics beside them."""
    log_input(config, dataset, "testing")
    flat = {n: v for n, v in trained.data.metrics.items() if n.startswith(("cv/", "cv_std/"))}
    flat |= {f"test/{name}": value for name, value in evaluation.metrics.items()}
    for name, (low, high) in evaluation.intervals.items():
        flat |= {f"test_95/{name}_low": low, f"test_95/{name}_high": high}
    for baseline, scores in evaluation.baselines.items():
        flat |= {f"{baseline}/{name}": value for name, value in scores.items()}
    tags = {
        **digests(dataset),
        "model_id": trained.data.tags["model_id"],
        "registered_model": config.registry.model,
    }
    tracking.log_artifacts(run_id, evaluation.artifacts)
    return Closing(flat, tags, model_id=tags["model_id"])


def audit(run_id: str, audit: Audit) -> Closing:
    """Metrics, the comparisons as table and picture, and what they say."""
    tracking.log_artifacts(run_id, audit.artifacts)
    return Closing(audit.metrics, note=audit.summary)


def promoted(outcome: Outcome) -> Closing:
    """What became of the registry."""
    version = {"model_version": outcome.version} if outcome.version else {}
    return Closing(tags={"decision": outcome.verdict, **version}, note=outcome.sentence)


def rolled_back(event: Event) -> dict[str, str]:
    """Tags of a run that brought an earlier champion back."""
    return {
        "decision": event.action,
        "model_version": str(event.version),
        "champion_before": str(event.before),
        "reasons": event.why,
        "decided_by": event.by,
        "decided_at": event.at,
        "model_id": event.model_id,
    }


def compared(run_id: str, comparison: ModelComparison) -> Closing:
    """Metrics, tables, the picture and what they say."""
    tracking.log_artifacts(run_id, comparison.artifacts)
    return Closing(comparison.metrics, note=comparison.summary)


def parent(run_id: str, steps: dict[str, Run], reused: set[str]) -> None:
    """What a parent shows, so that parents compare: metrics, data, model, and where all is."""
    metrics: dict[str, float] = {}
    for step in MEASURED:  # of a metric that two have, the later one's
        metrics |= steps[step].data.metrics if step in steps else {}
    tags = {
        name: text
        for run in steps.values()
        for name, text in run.data.tags.items()
        if name in SHARED_TAGS
    }
    tracking.copy_inputs(steps["ingest"], run_id)
    if "model_id" in tags:
        tracking.link_model(run_id, tags["model_id"])
    Closing(metrics, note=_summary(steps, reused, metrics)).log(run_id, tags)


def _summary(steps: dict[str, Run], reused: set[str], metrics: dict[str, float]) -> str:
    """The parent's description in Markdown, the outcome first."""
    lines = []
    for step in ("audit", "compare", "promote"):
        if step in steps:
            lines += [steps[step].data.tags[MLFLOW_RUN_NOTE], ""]
    if "evaluate" in steps:
        lines += ["| test metric | value | 95 % interval |", "| --- | --- | --- |"]
        for name in get_args(Metric):
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


def _search_summary(tuning: Tuning, failed: int, read_back: int) -> str:
    """The description of `tune` in Markdown: the best of each family, and what went wrong."""
    table = tuning.artifacts["families.csv"]
    assert isinstance(table, pd.DataFrame)
    lines = [
        f"{len(tuning.trials)} trials, {failed} failed, {read_back} read back from earlier runs.",
        "",
        "| family | log loss | ROC AUC | trials | failed | best params |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in table.to_dict(orient="records"):
        scores = f"{row['log_loss']:.4f} | {row['roc_auc']:.4f}"
        counts = f"{row['trials']} | {row['failed']}"
        lines.append(f"| {row['family']} | {scores} | {counts} | {row['params']} |")
    return "\n".join(lines)


def digests(dataset: Dataset) -> dict[str, str]:
    """Which table and which split."""
    return dict(zip(DIGESTS, (dataset.digest, dataset.split_digest), strict=True))
