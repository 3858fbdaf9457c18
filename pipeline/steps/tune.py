"""Tune: the search over families and hyperparameters, on the training part only."""

from collections.abc import Callable

import pandas as pd

from pipeline import crossval, figures
from pipeline.config import Family, Tune
from pipeline.errors import SearchError
from pipeline.results import Dataset, Probabilities, Trial, Tuning
from pipeline.search import search
from pipeline.trials import Outcome, Task


def tune(tune: Tune, dataset: Dataset, on_trial: Callable[[Trial], None]) -> Tuning:
    """Runs the search; `on_trial` gets each trial as it ends. Raises SearchError."""
    task = Task(
        X=dataset.X_train,
        y=dataset.y_train,
        folds=crossval.folds(dataset.y_train, tune.folds, tune.seed),
        positive=dataset.contract.positive_index,
        seed=tune.seed,
    )
    trials: list[Trial] = []
    best: dict[Family, tuple[float, Probabilities]] = {}

    def keep(outcome: Outcome) -> None:
        trial = outcome.trial
        trials.append(trial)
        known = best.get(trial.family)
        if outcome.out_of_fold is not None and (known is None or trial.loss < known[0]):
            best[trial.family] = (trial.loss, outcome.out_of_fold)
        on_trial(trial)

    search(task, tune, keep)
    if not trials:
        raise SearchError(
            f"tune.timeout {tune.timeout} ended the search before its first trial; raise it"
        )
    if not best:
        raise SearchError(
            f"all {len(trials)} trials failed, the first with {trials[0].error!r}; "
            "see the failed runs below tune, and change tune.families or the table"
        )
    return Tuning(
        trials=tuple(trials),
        out_of_fold={family: predicted for family, (_, predicted) in best.items()},
        artifacts={
            "trials.csv": _table(trials),
            "history.png": figures.search_history([t for t in trials if not t.error]),
        },
    )


def _table(trials: list[Trial]) -> pd.DataFrame:
    """One row per trial, the best first."""
    rows = [
        {
            "trial": trial.number,
            "family": trial.family,
            **trial.metrics,
            **{f"{name}_std": value for name, value in trial.spread.items()},
            "seconds": trial.seconds,
            "params": ", ".join(f"{name}={_short(value)}" for name, value in trial.params.items()),
            "error": trial.error,
        }
        for trial in trials
    ]
    return pd.DataFrame(rows).sort_values(["log_loss", "trial"])


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
