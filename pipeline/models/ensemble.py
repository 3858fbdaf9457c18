"""How much each family weighs in the blend, and where its decision threshold lies.

Both are chosen on out-of-fold predictions of the training part.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from pipeline.config.sections import Family, Train
from pipeline.evaluation.calibration import SURE, logistic_curve
from pipeline.results import Probabilities

MOST_STEPS = 200
LEAST_GAIN = 1e-6  # in log loss; below it, the search has come to rest
STANDARD_ERRORS = 0.5


def select_weights(
    out_of_fold: dict[Family, Probabilities], truth: NDArray[np.intp]
) -> dict[Family, float]:
    """Ensemble selection with replacement (Caruana et al. 2004), for the lowest log loss.

    It starts from one copy of each family and adds or takes away one copy at a time, so a
    family that does not help ends with no weight and one that dominates can have it all. Of the
    blends on that path it takes the first that is no more than half a standard error worse than
    the last, after the one-standard-error rule of Breiman et al. (1984, section 3.4.3): gains
    smaller than that are mostly noise of these rows. Of the rules that are compared nested in
    benchmarks/selection_rules.py it has the lowest mean loss, and on no table is it
    significantly worse than the best family alone; two standard errors stay near the plain mean
    on small tables, whatever suits them. `truth` holds the places of the true classes; the
    weights sum to 1.
    """
    names = list(out_of_fold)
    # rows x families: what each family gives the true class
    own = np.stack([out_of_fold[name][np.arange(len(truth)), truth] for name in names], axis=1)
    path = selection_path(own)
    last = _losses(own, path[-1])
    counts = next(
        counts for counts in path if is_close(_losses(own, counts), last, STANDARD_ERRORS)
    )
    return dict(zip(names, (counts / counts.sum()).tolist(), strict=True))


def selection_path(own: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Copies of each family, from one each to where no single step lowers the mean loss.

    `own` is what each family gives the true class of each row, rows x families.
    """
    count = own.shape[1]
    steps = np.repeat(np.eye(count), 2, axis=0) * np.tile([1, -1], count)[:, None]
    path = [np.ones(count)]
    loss = _losses(own, path[0]).mean()
    for _ in range(MOST_STEPS):
        moves = path[-1] + steps
        moves = moves[(moves.min(axis=1) >= 0) & (moves.sum(axis=1) > 0)]
        losses = row_losses(own @ (moves / moves.sum(axis=1, keepdims=True)).T).mean(axis=0)
        best = int(np.argmin(losses))
        if losses[best] > loss - LEAST_GAIN:
            break
        path.append(moves[best])
        loss = losses[best]
    return path


def _losses(own: NDArray[np.float64], counts: NDArray[np.float64]) -> NDArray[np.float64]:
    return row_losses(own @ (counts / counts.sum()))


def row_losses(own: NDArray[np.float64]) -> NDArray[np.float64]:
    """The log loss of each row from the probability of its true class."""
    return np.asarray(-np.log(np.clip(own, np.finfo(float).eps, 1)))


def is_close(
    losses: NDArray[np.float64], best: NDArray[np.float64], standard_errors: float
) -> bool:
    """Whether losses on the same rows are no more than that much worse on average.

    `standard_errors` counts in standard errors of the mean of the rows' differences.
    """
    worse_by = losses - best
    error = worse_by.std(ddof=1) / np.sqrt(len(worse_by))
    return bool(worse_by.mean() <= standard_errors * error)


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
    slope, intercept = logistic_curve(probability, is_positive)
    if slope <= 0:  # no better than chance: all rows alike, by the share of positives
        return SURE if is_positive.mean() >= expected else 1 - SURE
    return float(np.clip(expit((logit(expected) - intercept) / slope), SURE, 1 - SURE))
