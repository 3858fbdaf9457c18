"""The probability from which the positive class is predicted."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit
from sklearn.model_selection import FixedThresholdClassifier

from pipeline.config.sections import Train
from pipeline.evaluation.calibration import SURE, logistic_curve
from pipeline.results import Probabilities
from pipeline.schema.contract import Contract
from pipeline.tasks import TaskName


def choose_threshold(
    train: Train, contract: Contract, probabilities: Probabilities, truth: NDArray[np.intp]
) -> float | None:
    """The threshold that the config sets, or the cheapest; None where the task has none.

    `probabilities` are out of fold, rows x classes, and `truth` holds the places of the classes.
    """
    return THRESHOLDS[contract.task.name](train, contract, probabilities, truth)


def _of_positive(
    train: Train, contract: Contract, probabilities: Probabilities, truth: NDArray[np.intp]
) -> float:
    if train.threshold != "auto":
        return train.threshold
    positive = contract.positive_index
    return cheapest(probabilities[:, positive], truth == positive, train)


def _none(*_: Any) -> None:
    return None


THRESHOLDS: dict[TaskName, Callable[..., float | None]] = {
    "binary": _of_positive,
    "multiclass": _none,
}


def cheapest(
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


def with_threshold(model: Any, threshold: float | None, contract: Contract) -> Any:
    """The classifier, unfitted, that predicts by the threshold where there is one."""
    if threshold is None:
        return model
    return FixedThresholdClassifier(
        model,
        threshold=threshold,
        pos_label=contract.positive,
        response_method="predict_proba",
    )
