"""Which family and which hyperparameters the loss of a search depended on."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from sklearn.ensemble import RandomForestRegressor
from sklearn.inspection import permutation_importance

from pipeline.results import Trial

FEWEST_TRIALS = 10
TREES = 50
REPEATS = 5


def importance(trials: Sequence[Trial]) -> pd.DataFrame:
    """Permutation importance (Breiman 2001) in a random forest of the losses, the largest first.

    The forest predicts a trial's rank by loss from its family and hyperparameters; `mean` is the
    fall of R² when one of them is shuffled among the trials, `std` its spread over shuffles.
    Trials that succeeded only; empty when they are fewer than ten or nothing varies.
    """
    table = _encoded(trials)
    ranks = pd.Series([trial.loss for trial in trials], dtype=float).rank()
    if len(trials) < FEWEST_TRIALS or table.empty or ranks.nunique() < 2:
        return pd.DataFrame(columns=["name", "mean", "std"])
    forest = RandomForestRegressor(TREES, min_samples_leaf=2, random_state=0).fit(table, ranks)
    result = permutation_importance(forest, table, ranks, n_repeats=REPEATS, random_state=0)
    return pd.DataFrame(
        {"name": table.columns, "mean": result.importances_mean, "std": result.importances_std}
    ).sort_values("mean", ascending=False)


def _encoded(trials: Sequence[Trial]) -> pd.DataFrame:
    """One column for the family and one per hyperparameter, without those that never vary.

    A hyperparameter that a trial lacks has the column's median, which carries no information.
    """
    columns = {"family": _codes([trial.family for trial in trials], trials)}
    for name in dict.fromkeys(f"{t.family}.{key}" for t in trials for key in t.params):
        family, _, key = name.partition(".")
        values = [t.params.get(key) if t.family == family else None for t in trials]
        columns[name] = _codes(values, trials)
    table = pd.DataFrame(columns)
    return table.fillna(table.median()).loc[:, table.nunique() > 1]


def _codes(values: Sequence[Any], trials: Sequence[Trial]) -> "pd.Series[Any]":
    """Numbers as they are; options by their mean loss, so that a tree can part them."""
    if all(value is None or _is_number(value) for value in values):
        return pd.Series(values, dtype=float)
    options = pd.Series([None if value is None else str(value) for value in values], dtype=object)
    losses = pd.Series([trial.loss for trial in trials], dtype=float)
    order = losses.groupby(options).mean().rank(method="first")
    return options.map(order).astype(np.float64)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
