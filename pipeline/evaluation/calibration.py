"""How far predicted probabilities are from the rates at which their classes occur."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc, expit, logit
from sklearn.linear_model import LogisticRegression

from pipeline.evaluation.metrics import Predictions, mean

SURE = 1e-6  # the least distance of a probability from 0 and 1


@dataclass(frozen=True)
class Calibration:
    """The calibration of one class against the rest.

    `error` is the mean distance of the probabilities from their recalibration, `slope` and
    `intercept` are that of the curve in log-odds: 1 and 0 where nothing is to be corrected, and
    `p_value` is of the likelihood-ratio test that they are so. `rate` is the share of the rows
    that are of the class. `is_separated` where some probability has all rows of the class on one
    side and all others on the other: such a curve has no finite slope (Albert and Anderson 1984),
    and what is fitted is as steep as it happens to be.
    """

    error: float
    slope: float
    intercept: float
    p_value: float
    rate: float
    is_separated: bool

    @property
    def relative(self) -> float:
        """The error over 4 r (1 - r), r the rate: the same where the classes are even."""
        return self.error / (4 * self.rate * (1 - self.rate))


def logistic_curve(
    probability: NDArray[np.float64],
    is_positive: NDArray[np.bool_],
    weights: NDArray[np.float64] | None = None,
) -> tuple[float, float]:
    """Slope and intercept of the logistic regression of the truth on the log-odds (Platt 1999)."""
    scores = logit(np.clip(probability, SURE, 1 - SURE))
    curve = LogisticRegression(C=1e6, max_iter=1000).fit(scores[:, None], is_positive, weights)
    return float(curve.coef_[0, 0]), float(curve.intercept_[0])


def calibration(predictions: Predictions) -> Calibration:
    """The calibration of the class that is furthest off; NaN where the rows lack a class."""
    return max(calibrations(predictions), key=lambda one: (np.isnan(one.error), one.relative))


def calibrations(predictions: Predictions) -> list[Calibration]:
    """The calibration of the positive class, or of each class where none is positive.

    The integrated calibration index (Austin and Steyerberg 2019) with the curve of Cox (1958) as
    the recalibration: two fitted numbers have little noise on a few hundred rows,
    where the error over bins would mostly be the bins' noise. What noise they have, the test of
    Miller, Langefeld, Tierney, Hui and McDonald (1993) allows for: its hypothesis is that slope and
    intercept are 1 and 0. Where rows have groups or weights, its likelihood is of no use, and the
    test is that of the scores with a variance over the groups (Liang and Zeger 1986).
    """
    weights = predictions.weights
    if weights is not None and not weights.all():
        predictions = predictions.where(weights > 0)
    return [_of_class(predictions, place) for place in predictions.averaged_classes]


def _of_class(predictions: Predictions, place: int) -> Calibration:
    is_positive = predictions.truth == place
    if is_positive.all() or not is_positive.any():
        return Calibration(np.nan, np.nan, np.nan, np.nan, np.nan, is_separated=False)
    probability = np.clip(predictions.probabilities[:, place], SURE, 1 - SURE)
    weights, metadata = predictions.weights, predictions.metadata
    slope, intercept = logistic_curve(probability, is_positive, weights)
    recalibrated = expit(slope * logit(probability) + intercept)
    if weights is None and metadata.groups is None:
        statistic = 2 * (
            _log_likelihood(recalibrated, is_positive) - _log_likelihood(probability, is_positive)
        )
    else:
        statistic = _score_statistic(probability, is_positive, weights, metadata.group_codes)
    return Calibration(
        error=mean(np.abs(predictions.probabilities[:, place] - recalibrated), weights),
        slope=slope,
        intercept=intercept,
        p_value=float(chdtrc(2, max(statistic, 0.0))),
        rate=mean(is_positive, weights),
        is_separated=bool(probability[is_positive].min() >= probability[~is_positive].max()),
    )


def _score_statistic(
    probability: NDArray[np.float64],
    is_positive: NDArray[np.bool_],
    weights: NDArray[np.float64] | None,
    groups: NDArray[np.intp] | None,
) -> float:
    """The score statistic of slope 1 and intercept 0, with a variance between the groups."""
    residuals = (is_positive - probability) * (1.0 if weights is None else weights)
    scores = np.stack([residuals, residuals * logit(probability)], axis=1)
    if groups is not None:
        scores = np.stack([np.bincount(groups, column) for column in scores.T], axis=1)
    total = scores.sum(axis=0)
    return float(total @ np.linalg.pinv(scores.T @ scores) @ total)


def _log_likelihood(probability: NDArray[np.float64], is_positive: NDArray[np.bool_]) -> float:
    of_truth = np.where(is_positive, probability, 1 - probability)
    return float(np.log(np.clip(of_truth, SURE, 1)).sum())
