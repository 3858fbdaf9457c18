"""How far probabilities are from what comes to pass."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from pipeline.metrics import Predictions

SURE = 1e-6  # probabilities are kept this far from 0 and 1


@dataclass(frozen=True)
class Calibration:
    """Of one class against the rest.

    `error` is the mean distance of the probabilities from their recalibration, `slope` and
    `intercept` are that of the curve in log-odds: 1 and 0 where nothing is to be corrected.
    """

    error: float
    slope: float
    intercept: float


def logistic_curve(
    probability: NDArray[np.float64], is_positive: NDArray[np.bool_]
) -> tuple[float, float]:
    """Slope and intercept of the logistic regression of the truth on the log-odds (Platt 1999)."""
    scores = logit(np.clip(probability, SURE, 1 - SURE))
    curve = LogisticRegression(C=1e6, max_iter=1000).fit(scores[:, None], is_positive)
    return float(curve.coef_[0, 0]), float(curve.intercept_[0])


def calibration(predictions: Predictions) -> Calibration:
    """Of the class whose probabilities are furthest off; NaN where the rows lack a class.

    The integrated calibration index (Austin and Steyerberg 2019) with the curve of Cox (1958) as
    the recalibration: two fitted numbers have little noise of their own on a few hundred rows,
    where the error over bins would mostly be the bins' noise.
    """
    found = [_of_class(predictions, place) for place in predictions.judged]
    return max(found, key=lambda one: (np.isnan(one.error), one.error))


def _of_class(predictions: Predictions, place: int) -> Calibration:
    is_positive = predictions.truth == place
    if is_positive.all() or not is_positive.any():
        return Calibration(np.nan, np.nan, np.nan)
    probability = predictions.probabilities[:, place]
    slope, intercept = logistic_curve(probability, is_positive)
    recalibrated = expit(slope * logit(np.clip(probability, SURE, 1 - SURE)) + intercept)
    return Calibration(float(np.abs(probability - recalibrated).mean()), slope, intercept)
