"""The probability from which the positive class is predicted."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit
from sklearn.model_selection import FixedThresholdClassifier

from pipeline.config.sections import Train
from pipeline.evaluation.calibration import SURE, logistic_curve
from pipeline.evaluation.metrics import mean
from pipeline.results import Probabilities
from pipeline.schema.contract import Contract
from pipeline.tasks import TaskName


def choose_threshold(
    train: Train,
    contract: Contract,
    probabilities: Probabilities,
    truth: NDArray[np.intp],
    sample_weight: NDArray[np.float64] | None = None,
) -> float | None:
    """The threshold that the config sets, or the cheapest; None where the task has none.

    `probabilities` are out of fold, rows x classes, and `truth` holds the places of the classes.
    """
    choose = THRESHOLDS[contract.task.name]
    return choose(train, contract, probabilities, truth, sample_weight)


def _of_positive(
    train: Train,
    contract: Contract,
    probabilities: Probabilities,
    truth: NDArray[np.intp],
    sample_weight: NDArray[np.float64] | None,
) -> float:
    if train.threshold != "auto":
        return train.threshold
    positive = contract.positive_index
    return cheapest(probabilities[:, positive], truth == positive, train, sample_weight)


def _none(*_: Any) -> None:
    return None


THRESHOLDS: dict[TaskName, Callable[..., float | None]] = {
    "binary": _of_positive,
    "multiclass": _none,
    "regression": _none,
}


def cheapest(
    probability: NDArray[np.float64],
    is_positive: NDArray[np.bool_],
    train: Train,
    sample_weight: NDArray[np.float64] | None = None,
) -> float:
    """The probability from which calling a row positive costs least.

    For calibrated probabilities that is c / (c + d), with c the cost of a false positive and
    d of a false negative (Elkan 2001). Ours are calibrated by a logistic curve first (Platt
    1999), and the threshold is where that curve reaches c / (c + d): two fitted numbers, where
    the cheapest threshold of the sample would follow its noise. Of rows of one class, or of none,
    there is no curve, and it is c / (c + d).
    """
    c, d = train.cost_false_positive, train.cost_false_negative
    expected = c / (c + d)
    if is_positive.all() or not is_positive.any():
        return float(np.clip(expected, SURE, 1 - SURE))
    slope, intercept = logistic_curve(probability, is_positive, sample_weight)
    if slope <= 0:  # no better than chance: all rows alike, by the share of positives
        return SURE if mean(is_positive, sample_weight) >= expected else 1 - SURE
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
