"""How much each family weighs in the blend, and where its decision threshold lies.

Both are chosen on out-of-fold predictions of the training part.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from pipeline.config import Family, Train
from pipeline.results import Probabilities

MOST_STEPS = 200
SURE = 1e-6  # probabilities are kept this far from 0 and 1
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
    d of a false negative (Elkan 2001). Ours are calibrated by a logistic curve first (Platt
    1999), and the threshold is where that curve reaches c / (c + d): two fitted numbers, where
    the cheapest threshold of the sample would follow its noise.
    """
    c, d = train.cost_false_positive, train.cost_false_negative
    expected = c / (c + d)
    scores = logit(np.clip(probability, SURE, 1 - SURE))
    curve = LogisticRegression(C=1e6, max_iter=1000).fit(scores[:, None], is_positive)
    slope, intercept = curve.coef_[0, 0], curve.intercept_[0]
    if slope <= 0:  # no better than chance: all rows alike, by the share of positives
        return SURE if is_positive.mean() >= expected else 1 - SURE
    return float(np.clip(expit((logit(expected) - intercept) / slope), SURE, 1 - SURE))


def _log_loss(probabilities: Probabilities, truth: NDArray[np.intp]) -> float:
    own = probabilities[np.arange(len(truth)), truth]
    return float(-np.log(np.clip(own, np.finfo(float).eps, 1)).mean())
