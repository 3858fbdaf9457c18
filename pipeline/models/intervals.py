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

from pipeline.evaluation.cross_validation import make_folds, out_of_fold
from pipeline.evaluation.fitting import fit
from pipeline.models.encoders import Features, native
from pipeline.results import Metadata
from pipeline.schema.matrix import Vector
from pipeline.tasks import COVERAGE, REGRESSION

FEWEST_ROWS = 100  # of which more than a constant is learnt
FOLDS = 5


class Intervals(NamedTuple):
    """The fitted model of the difficulty, and the scores: signed errors over it, sorted."""

    difficulty: Any
    scores: Sequence[float]


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
    folds = make_folds(REGRESSION, relative, FOLDS, seed, metadata)
    best: tuple[float, Any, Vector] | None = None
    for model in _models(len(X), features, seed):
        difficulty = out_of_fold(model, X, relative, folds, metadata)[:, 0]
        scores = errors / difficulty
        loss = _interval_score(scores, difficulty)
        if best is None or loss < best[0]:
            best = loss, model, scores
    assert best is not None
    _, model, scores = best
    return Intervals(fit(model, X, relative, metadata), np.sort(scores).tolist())


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


def _interval_score(scores: Vector, difficulty: Vector) -> float:
    """The mean interval score (Gneiting and Raftery 2007) of the intervals of these scores."""
    low, high = np.quantile(scores, [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2])
    beyond = np.maximum(low - scores, 0) + np.maximum(scores - high, 0)
    return float((difficulty * (high - low + 2 / (1 - COVERAGE) * beyond)).mean())
