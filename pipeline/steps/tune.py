"""Tune: the search over families and hyperparameters, on the training part only."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

from pipeline.config.sections import Config
from pipeline.config.tune import Tune
from pipeline.datasets.sampling import search_part
from pipeline.errors import ContractError, SearchError
from pipeline.evaluation.cross_validation import Fold, make_folds
from pipeline.models.encoders import Features
from pipeline.reporting import model_figures, search_figures
from pipeline.results import (
    Artifacts,
    Dataset,
    Metadata,
    Outputs,
    Params,
    Report,
    Trial,
    Tuning,
    cv_metrics,
)
from pipeline.tasks import METRICS, Task
from pipeline.tuning.param_importance import importance
from pipeline.tuning.search import search
from pipeline.tuning.selection import Selection
from pipeline.tuning.size_limits import describe, fitting_families
from pipeline.tuning.trial import TrialInputs, TrialResult

OnTrial = Callable[[Trial, Outputs | None], None]


def tune(
    config: Config,
    dataset: Dataset,
    on_trial: OnTrial | None = None,
    finished: Mapping[int, TrialResult] | None = None,
) -> Tuning:
    """Runs the search, or goes on with one that has finished some trials, given by number.

    It sees the training part, or as many rows of it as `tune.max_rows` says, and the families that
    can be fitted on so many.
    `on_trial` gets each trial the moment it ends, with its out-of-fold predictions where it is
    its family's default or best so far. Raises SearchError, and ContractError where the folds
    cannot be made, and ConfigError where no family can be fitted.
    """
    families = fitting_families(config, len(dataset.y_train))
    sizes = describe(config, dataset)
    config = config.model_copy(
        update={"tune": config.tune.model_copy(update={"families": families})}
    )
    dataset = search_part(config, dataset)
    settings = config.tune
    finished = finished or {}
    metadata = dataset.metadata.of(dataset.X_train)
    inputs = TrialInputs(
        X=dataset.X_train,
        y=dataset.y_train,
        folds=_folds(settings, dataset.contract.task, dataset.y_train, metadata),
        positive=dataset.contract.positive_index,
        seed=settings.seed,
        estimators=settings.estimators,
        metadata=metadata,
        features=Features.of(dataset.contract),
    )
    ended, in_order = Selection(settings.families), Selection(settings.families)
    trials: list[Trial] = []
    for result in finished.values():
        ended.add(result)

    def on_end(result: TrialResult) -> None:
        is_selected = ended.add(result)
        if on_trial is not None:
            on_trial(result.trial, result.out_of_fold if is_selected else None)

    def on_result(result: TrialResult) -> None:
        in_order.add(result)
        trials.append(result.trial)

    if settings.backend == "spark":
        from pipeline.tuning.spark import search_on_spark  # PySpark is not everybody's

        search_on_spark(inputs, config, finished, on_end, on_result)
    else:
        search(inputs, settings, finished, on_end, on_result)
    _check(config, trials)
    chosen = in_order.choose(inputs)
    return Tuning(
        trials=tuple(sorted(trials, key=lambda trial: trial.number)),
        chosen={family: choice.trial for family, choice in chosen.items()},
        out_of_fold={family: choice.out_of_fold for family, choice in chosen.items()},
        report=_report(
            trials,
            {choice.trial.number for choice in chosen.values()},
            len(finished),
            _how_validated(dataset, sizes),
            dataset.contract.task,
        ),
    )


def _folds(settings: Tune, task: Task, y: "pd.Series[Any]", metadata: Metadata) -> list[Fold]:
    try:
        return make_folds(task, y, settings.folds, settings.seed, metadata)
    except ContractError as error:
        raise ContractError(f"tune.folds is {settings.folds}: {error}") from None


def _check(config: Config, trials: Sequence[Trial]) -> None:
    """Raises SearchError when there is no trial to go on with."""
    if not trials:
        raise SearchError(
            f"tune.timeout {config.tune.timeout:g} ended the search before its first trial; "
            "raise it"
        )
    if all(trial.error for trial in trials):
        raise SearchError(
            f"all {len(trials)} trials failed, the first with {trials[0].error!r}; "
            "see the failed runs below tune, and change tune.families, tune.space, "
            "tune.trial_timeout or the table"
        )


def _how_validated(dataset: Dataset, sizes: str) -> str:
    """What the folds are and how rows count, where not by chance and alike; and how many."""
    sizes = f" Rows: {sizes}." if sizes else ""
    if not dataset.rows_note:
        return sizes
    chained = "; each fold is trained on what came before it" * (dataset.metadata.times is not None)
    return f" Rows, in folds as in the split: {dataset.rows_note}{chained}.{sizes}"


def _report(
    trials: Sequence[Trial], chosen: set[int], read_back: int, how: str, task: Task
) -> Report:
    """The best trial's metrics, all trials, and the best of each family."""
    best = min(trials, key=lambda trial: (trial.loss, trial.number))
    failed = sum(bool(trial.error) for trial in trials)
    families = _families(trials, chosen, task)
    counts = f"{len(trials)} trials, {failed} failed, {read_back} read back from earlier runs.{how}"
    return Report(
        metrics={
            **cv_metrics(best.metrics, best.spread),
            "trials": len(trials),
            "failed_trials": failed,
            "trials_read_back": read_back,
        },
        tags={"best_family": best.family},
        artifacts=_artifacts(trials, families, task),
        note="\n".join([counts, "", *_families_in_markdown(families, task)]),
    )


def _families_in_markdown(table: pd.DataFrame, task: Task) -> list[str]:
    first, second = task.search_metrics[:2]
    titles = f"{METRICS[first].title} | {METRICS[second].title}"
    lines = [
        f"| family | {titles} | trials | failed | best params |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in table.to_dict(orient="records"):
        scores = f"{row[first]:.4f} | {row[second]:.4f}"
        counts = f"{row['trials']} | {row['failed']}"
        lines.append(f"| {row['family']} | {scores} | {counts} | {row['params']} |")
    return lines


def _artifacts(trials: Sequence[Trial], families: pd.DataFrame, task: Task) -> Artifacts:
    succeeded = [trial for trial in trials if not trial.error]
    table = importance(succeeded)
    artifacts: Artifacts = {
        "trials.csv": _table(trials, task),
        "families.csv": families,
        "history.png": search_figures.search_history(trials, METRICS[task.loss].title),
    }
    if not table.empty:
        artifacts["importance.csv"] = table
        artifacts["importance.png"] = model_figures.importance(
            table,
            "hyperparameters for the log loss of a trial",
            "how much worse the trials' order is predicted (R²) when shuffled",
        )
    return artifacts


def _table(trials: Sequence[Trial], task: Task) -> pd.DataFrame:
    """One row per trial, the best first."""
    rows = [
        {
            "trial": trial.number,
            "family": trial.family,
            **trial.metrics,
            **{f"{name}_std": value for name, value in trial.spread.items()},
            "seconds": trial.seconds,
            "params": _text(trial.params),
            "error": trial.error,
        }
        for trial in trials
    ]
    return pd.DataFrame(rows).sort_values([task.loss, "trial"])


def _families(trials: Sequence[Trial], chosen: set[int], task: Task) -> pd.DataFrame:
    """The best trial of each family, the best family first; then those that only failed."""
    rows = []
    for family in dict.fromkeys(trial.family for trial in trials):
        members = [trial for trial in trials if trial.family == family]
        best = min(members, key=lambda trial: (trial.loss, trial.number))
        rows.append(
            {
                "family": family,
                **{name: best.metrics.get(name) for name in task.search_metrics},
                f"{task.loss}_std": best.spread.get(task.loss),
                "trial": best.number,
                "chosen": next((trial.number for trial in members if trial.number in chosen), None),
                "trials": len(members),
                "failed": sum(bool(trial.error) for trial in members),
                "seconds per trial": sum(trial.seconds for trial in members) / len(members),
                "params": _text(best.params),
            }
        )
    return pd.DataFrame(rows).sort_values([task.loss, "trial"])


def _text(params: Params) -> str:
    return ", ".join(f"{name}={_short(value)}" for name, value in params.items())


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
