"""Trials as MLflow runs: written as each ends, read back by a search that goes on."""

import logging
from math import nan

from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE

from pipeline.config.tune import Tune
from pipeline.results import Arrays, Outputs, Trial, cv_metrics
from pipeline.tasks import TASKS, Family
from pipeline.tracking import runs
from pipeline.tracking.arrays import unpack
from pipeline.tuning.search_space import FamilySpace, family_spaces
from pipeline.tuning.trial import TrialResult, may_end_now

log = logging.getLogger(__name__)

SEARCH = "search"  # which search a trial belongs to, over all runs that went on with it
TAG = "predictions"
PREDICTIONS = "out_of_fold.npz"
FORMAT = 1  # of that file; one that names none has it too
LARGEST_PAGE = 200  # trials that are read at once


def record(run_id: str, search: str, trial: Trial, predictions: Outputs | None) -> None:
    """A light child run of `tune`; with the predictions of a family's default or best so far."""
    tags = {runs.STEP: "trial", SEARCH: search, "trial": str(trial.number)}
    child = runs.Child(
        name=f"{trial.number:02d} {trial.family}",
        params={"family": trial.family, **trial.params},
        metrics={**cv_metrics(trial.metrics, trial.spread), "seconds": trial.seconds},
        tags=tags if predictions is None else {**tags, TAG: "kept"},
        artifacts={}
        if predictions is None
        else {PREDICTIONS: Arrays(FORMAT, {trial.family: predictions})},
        seconds=trial.seconds,
        error=trial.error,
    )
    runs.log_child(run_id, child)


def finished(search: str, config: Tune) -> dict[int, TrialResult]:
    """The trials of the same search that ended in earlier runs, by number, the latest of each.

    One that passed a shorter limit than today's is left out: it may end this time.
    """
    spaces = family_spaces(config)
    latest: dict[int, tuple[Trial, Run]] = {}
    for page in runs.search_pages(f"tags.{SEARCH} = '{search}'", LARGEST_PAGE, status="%"):
        for run in page:
            trial = _read_trial(run, spaces)
            if trial is not None and not may_end_now(trial, config):
                latest.setdefault(trial.number, (trial, run))
        if all(number in latest for number in range(config.max_evals)):
            break  # the rest are older trials of the same numbers
    return {
        number: TrialResult(trial, _read_predictions(run, trial.family))
        for number, (trial, run) in sorted(latest.items())
        if number < config.max_evals
    }


def _read_trial(run: Run, spaces: dict[Family, FamilySpace]) -> Trial | None:
    """None for a run that was not written to its end, or that no longer fits the space."""
    metrics = run.data.metrics
    if "seconds" not in metrics:
        return None
    family = run.data.params["family"]
    params = spaces[family].read(run.data.params, runs.value_text)
    if params is None:
        return None
    task = next((one for one in TASKS.values() if f"cv/{one.loss}" in metrics), None)
    names = () if task is None else task.search_metrics
    return Trial(
        number=int(run.data.tags["trial"]),
        family=family,
        params=params,
        metrics={name: metrics.get(f"cv/{name}", nan) for name in names},
        spread={name: metrics.get(f"cv_std/{name}", nan) for name in names},
        seconds=metrics["seconds"],
        error="" if task else run.data.tags[MLFLOW_RUN_NOTE],
    )


def _read_predictions(run: Run, family: Family) -> Outputs | None:
    """The trial's out-of-fold predictions; None where none were logged, or they cannot be read."""
    if TAG not in run.data.tags:
        return None
    try:
        content = runs.read_artifact(run.info.run_id, PREDICTIONS)
        return unpack(content, FORMAT)[family]
    except (OSError, MlflowException, ValueError, KeyError) as error:
        log.warning("%s of run %s cannot be read: %s", PREDICTIONS, run.info.run_id, error)
        return None
