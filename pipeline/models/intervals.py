"""How far off an amount may be: a model of each row's difficulty, and the scores of others.

Normalized conformal prediction on out-of-fold predictions, as in cross-conformal prediction (Vovk
2015): the errors of rows that the model was not trained on, each over the difficulty that a model
without that row foretells. On the target's own scale: members of a blend may each transform it
otherwise, and the difficulty follows where errors grow with the amount.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from sklearn.dummy import DummyRegressor
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.pipeline import make_pipeline

from pipeline.evaluation.cross_validation import Fold, make_folds, out_of_fold
from pipeline.evaluation.fitting import fit
from pipeline.models.encoders import Features, native
from pipeline.results import Metadata
from pipeline.schema.matrix import Vector
from pipeline.schema.targets import ROUNDING
from pipeline.tasks import COVERAGE, REGRESSION

FEWEST_ROWS = 100  # of which more than a constant is learnt
FOLDS = 10  # of fewer, models err more than the one of all rows, and intervals are too wide
MOST_REFITTED = 2_000  # rows, past which a tenth more of them teaches a model little


class Intervals(NamedTuple):
    """The fitted model of the difficulty, and the scores: signed errors over it, sorted."""

    difficulty: Any
    scores: Sequence[float]


def cross_val_amounts(
    model: Any, X: pd.DataFrame, y: "pd.Series[Any]", metadata: Metadata, seed: int
) -> Vector | None:
    """Each row's amount by a clone of the model that was fitted on nine tenths of the rows.

    None where the folds of the search do as well: with many rows; and with times, where more folds
    would tell of a nearer future than the one that comes.
    """
    if metadata.times is not None or len(y) > MOST_REFITTED:
        return None
    folds = _folds(y, metadata, seed)
    return np.asarray(out_of_fold(model, X, y, folds, metadata)[:, 0])


def fit_intervals(
    X: pd.DataFrame, errors: Vector, metadata: Metadata, features: Features, seed: int
) -> Intervals:
    """From the out-of-fold errors (true minus predicted) of rows, by their index.

    Of the models of the difficulty it takes the one with the least mean interval score out of
    fold: a constant, or boosted trees where errors depend on the row.
    """
    size = np.abs(errors)
    relative = pd.Series(size / (size.mean() or 1.0), index=X.index)
    metadata = replace(metadata, times=None)
    folds = _folds(relative, metadata, seed)
    best: tuple[float, Any, Vector] | None = None
    for model in _models(len(X), features, seed):
        difficulty = out_of_fold(model, X, relative, folds, metadata)[:, 0]
        scores = errors / difficulty
        loss = _interval_score(scores, difficulty, metadata.sample_weight)
        if best is None or loss < best[0]:
            best = loss, model, scores
    assert best is not None
    _, model, scores = best
    scores = _equally_weighted(scores, metadata.sample_weight)
    return Intervals(fit(model, X, relative, metadata), scores.tolist())


def _folds(y: "pd.Series[Any]", metadata: Metadata, seed: int) -> list[Fold]:
    groups = metadata.groups
    count = FOLDS if groups is None else min(FOLDS, groups.nunique())
    return make_folds(REGRESSION, y, count, seed, metadata)


def _models(rows: int, features: Features, seed: int) -> Iterator[Any]:
    """The logarithm of the expected error, a constant or by trees: so it is above 0."""
    yield DummyRegressor(strategy="constant", constant=1.0)
    if rows >= FEWEST_ROWS:
        steps, places = native(features, seed)
        yield make_pipeline(
            *steps,
            HistGradientBoostingRegressor(
                loss="poisson",
                learning_rate=0.05,
                max_iter=60,
                max_leaf_nodes=6,
                min_samples_leaf=20,
                l2_regularization=10.0,
                random_state=seed,
                categorical_features=places,
            ),
        )


def _equally_weighted(scores: Vector, weights: Vector | None) -> Vector:
    """The sorted scores; of rows with weights, as many as their effective number (Kish 1965).

    Those are quantiles of the weighted scores (Tibshirani et al. 2019), each from the middle of
    one of so many equal parts.
    """
    order = np.argsort(scores, kind="stable")
    if weights is None:
        return np.asarray(scores[order])
    share = np.cumsum(weights[order]) / weights.sum()
    count = max(int(weights.sum() ** 2 / np.square(weights).sum() + ROUNDING), 1)
    middles = (np.arange(count) + 0.5) / count
    return np.asarray(scores[order][np.searchsorted(share, middles)])


def _interval_score(scores: Vector, difficulty: Vector, weights: Vector | None) -> float:
    """The mean interval score (Gneiting and Raftery 2007) of the intervals of these scores."""
    tail = (1 - COVERAGE) / 2
    low, high = np.quantile(_equally_weighted(scores, weights), [tail, 1 - tail])
    beyond = np.maximum(low - scores, 0) + np.maximum(scores - high, 0)
    by_row = difficulty * (high - low + beyond / tail)
    return float(np.average(by_row, weights=weights))
