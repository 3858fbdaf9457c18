"""How much each family weighs in the blend, and where its decision threshold lies.

Both are chosen on out-of-fold predictions of the training part.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.config import Family, Train
from pipeline.results import Probabilities

MOST_STEPS = 200
LEAST_GAIN = 1e-6  # in log loss; below it, the search has come to rest


def select_weights(
    out_of_fold: dict[Family, Probabilities], truth: NDArray[np.intp]
) -> dict[Family, float]:
    """Ensemble selection with replacement (Caruana et al. 2004), for the lowest log loss.

    It starts from one copy of each family and adds or takes away one copy at a time, so a
    family that does not help ends with no weight and one that dominates can have it all.
    `truth` holds the places of the true classes; the weights sum to 1.
    """
    names = list(out_of_fold)
    stack = np.stack([out_of_fold[name] for name in names])
    counts = np.ones(len(names))
    loss = _log_loss(np.tensordot(counts / counts.sum(), stack, axes=1), truth)
    for _ in range(MOST_STEPS):
        moves = [
            counts + step * np.eye(len(names))[place]
            for place in range(len(names))
            for step in (1, -1)
            if counts[place] + step >= 0 and counts.sum() + step > 0
        ]
        losses = [_log_loss(np.tensordot(m / m.sum(), stack, axes=1), truth) for m in moves]
        best = int(np.argmin(losses))
        if losses[best] > loss - LEAST_GAIN:
            break
        counts, loss = moves[best], losses[best]
    return dict(zip(names, (counts / counts.sum()).tolist(), strict=True))


def mix(out_of_fold: dict[Family, Probabilities], weights: dict[Family, float]) -> Probabilities:
    """The weighted mean of the families' probabilities."""
    return np.asarray(sum(weights[name] * out_of_fold[name] for name in weights))


def choose_threshold(
    probability: NDArray[np.float64], is_positive: NDArray[np.bool_], train: Train
) -> float:
    """The probability from which calling a row positive costs least.

    For calibrated probabilities that is c / (c + d), with c the cost of a false positive and
    d of a false negative (Elkan 2001). The cheapest threshold of the sample replaces it only
    when it saves more than two standard errors of the saving, lest noise move the decision.
    """
    c, d = train.cost_false_positive, train.cost_false_negative
    expected = c / (c + d)

    def costs(threshold: float) -> NDArray[np.float64]:
        called = probability >= threshold
        return np.where(called & ~is_positive, c, 0.0) + np.where(~called & is_positive, d, 0.0)

    values = np.unique(probability)
    candidates = (values[1:] + values[:-1]) / 2
    if not len(candidates):
        return expected
    cheapest = float(
        candidates[np.argmin(_total_costs(probability, is_positive, candidates, c, d))]
    )
    saved = costs(expected) - costs(cheapest)
    error = saved.std(ddof=1) / np.sqrt(len(saved))
    return cheapest if saved.mean() > 2 * error else expected


def _total_costs(
    probability: NDArray[np.float64],
    is_positive: NDArray[np.bool_],
    thresholds: NDArray[np.float64],
    c: float,
    d: float,
) -> NDArray[Any]:
    positives, negatives = np.sort(probability[is_positive]), np.sort(probability[~is_positive])
    missed = np.searchsorted(positives, thresholds)
    alarms = len(negatives) - np.searchsorted(negatives, thresholds)
    return d * missed + c * alarms


def _log_loss(probabilities: Probabilities, truth: NDArray[np.intp]) -> float:
    own = probabilities[np.arange(len(truth)), truth]
    return float(-np.log(np.clip(own, np.finfo(float).eps, 1)).mean())
