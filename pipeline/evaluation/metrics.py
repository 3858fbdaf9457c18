"""A model's predictions of labelled rows, and the metrics of them.

F1, precision, recall, ROC AUC and average precision are those of the positive class; where there
is none, they are the mean over the classes (macro, one class against the rest).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import sqrt
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn import metrics as sk

from pipeline.evaluation import amounts
from pipeline.evaluation.amounts import AmountPredictions
from pipeline.inference.runtimes import outputs
from pipeline.results import Dataset, Metadata, Outputs, Probabilities, is_amount
from pipeline.schema.contract import Contract
from pipeline.schema.targets import Amount
from pipeline.tasks import AMOUNT, CLASSIFICATION, COVERAGE, Task, TaskName, classification

Codes = NDArray[np.intp]
Values = NDArray[np.float64]
NO_METADATA = Metadata()
PART = 100_000  # rows that a model is asked at once: its steps copy them several times


@dataclass(frozen=True, eq=False)
class Predictions:
    """True classes and predicted probabilities of the same rows.

    `truth` holds places in the order of the columns of `probabilities`; `positive` is the
    place of the positive class, None with more than two; `threshold` defaults to 0.5. `metadata`
    is of the same rows.
    """

    truth: Codes
    probabilities: Probabilities
    positive: int | None = None
    threshold: float | None = None
    metadata: Metadata = NO_METADATA

    @property
    def classes(self) -> int:
        """How many classes there are."""
        return int(self.probabilities.shape[1])

    @property
    def task(self) -> Task:
        """The kind of prediction."""
        return classification(self.positive)

    def where(self, rows: NDArray[np.bool_] | Codes) -> "Predictions":
        """The predictions of some of the rows, which a mask or their places select."""
        return replace(
            self,
            truth=self.truth[rows],
            probabilities=self.probabilities[rows],
            metadata=self.metadata.where(rows),
        )

    @cached_property
    def weights(self) -> Values | None:
        """The weight of each row, None where they are alike."""
        return self.metadata.sample_weight

    @cached_property
    def labels(self) -> Codes:
        """The predicted classes, as places."""
        return LABELS[self.task.name](self)

    @cached_property
    def averaged_classes(self) -> tuple[int, ...]:
        """The classes that class-wise metrics are the mean of: the positive one, or all."""
        return tuple(range(self.classes)) if self.positive is None else (self.positive,)


def _by_threshold(predictions: Predictions) -> Codes:
    (positive,) = predictions.averaged_classes
    threshold = 0.5 if predictions.threshold is None else predictions.threshold
    at_least = predictions.probabilities[:, positive] >= threshold
    return np.where(at_least, positive, 1 - positive)


def _most_probable(predictions: Predictions) -> Codes:
    return np.asarray(predictions.probabilities.argmax(axis=1))


LABELS: dict[TaskName, Callable[[Predictions], Codes]] = {
    "binary": _by_threshold,
    "multiclass": _most_probable,
}
AnyPredictions: TypeAlias = "Predictions | AmountPredictions"


def predict(
    dataset: Dataset, model: Any, threshold: float | None, scores: Sequence[float] = ()
) -> AnyPredictions:
    """The predictions of a fitted model on the test part; amounts with intervals by `scores`."""
    X = dataset.X_test
    parts = [X.iloc[start : start + PART] for start in range(0, len(X), PART)]
    given = np.concatenate([outputs(model, part) for part in parts])
    metadata = dataset.metadata.of(dataset.X_test)
    return of_rows(dataset.contract, dataset.y_test, given, scores or threshold, metadata)


def of_rows(
    contract: Contract,
    y: "pd.Series[Any]",
    given: Outputs,
    chosen: float | Sequence[float] | None,
    metadata: Metadata = NO_METADATA,
) -> AnyPredictions:
    """The true target and what a model gives for the same rows, as the contract's task has it.

    `chosen` is the threshold between two classes, or the scores of the intervals around amounts.
    """
    truth = y.to_numpy()
    if contract.classes:
        truth = np.searchsorted(np.asarray(contract.classes), y)
    return of_truth(contract, truth, given, chosen, metadata)


def of_truth(
    contract: Contract,
    truth: NDArray[Any],
    given: Outputs,
    chosen: float | Sequence[float] | None,
    metadata: Metadata = NO_METADATA,
) -> AnyPredictions:
    """As `of_rows`, with the places of the classes in place of the labels."""
    scores = chosen if isinstance(chosen, Sequence) else ()
    threshold = None if isinstance(chosen, Sequence) else chosen
    if contract.classes:
        return Predictions(truth, given, contract.positive_index, threshold, metadata)
    bounds = Amount(contract, None, scores).bounds(given, COVERAGE)
    return AmountPredictions(truth.astype(np.float64), *bounds, metadata)


def out_of_fold(
    y: "pd.Series[Any]", given: Outputs, positive: int | None, metadata: Metadata
) -> AnyPredictions:
    """Those of a trial, of which no interval is known: amounts are doubles, and no class is."""
    truth = truth_of(y)
    if truth.dtype == np.float64:
        none = np.full(len(truth), np.nan)
        return AmountPredictions(truth, given[:, 0], none, none, metadata)
    return Predictions(truth, given, positive, metadata=metadata)


def truth_of(y: "pd.Series[Any]") -> NDArray[Any]:
    """The amounts, or the places of the classes among those that there are."""
    if is_amount(y):
        return y.to_numpy()
    return np.unique(y, return_inverse=True)[1]


def true_class_probability(probabilities: Probabilities, truth: Codes) -> Values:
    """The probability that each row's true class got."""
    return np.asarray(probabilities[np.arange(len(truth)), truth])


class RowLoss(NamedTuple):
    """The loss of each row, as a function of what is linear in the weights of a blend.

    `linear(outputs, truth)` gives a number for each row, which a blend's members average.
    """

    linear: Callable[[Outputs, NDArray[Any]], Values]
    loss: Callable[[Values], Values]
    of_mean: Callable[[float], float] = float  # the task's loss, from the mean of the rows'
    scale: Callable[[NDArray[Any]], float] = lambda _: 1.0  # of `linear`

    def __call__(self, given: Outputs, truth: NDArray[Any]) -> Values:
        """The loss of each row of what a model gives."""
        return self.loss(self.linear(given, truth))


def row_losses(probability: Values) -> Values:
    """The log loss of each row, from the probability that its true class got."""
    return np.asarray(-np.log(np.clip(probability, np.finfo(float).eps, 1)))


def _error(given: Outputs, truth: Values) -> Values:
    return np.asarray(given[:, 0] - truth)


def _spread(truth: Values) -> float:
    return float(truth.std()) or 1.0


ROW_LOSSES: dict[TaskName, RowLoss] = {
    **dict.fromkeys(CLASSIFICATION, RowLoss(true_class_probability, row_losses)),
    **dict.fromkeys(AMOUNT, RowLoss(_error, np.square, sqrt, _spread)),
}


def value(name: str, predictions: AnyPredictions) -> float:
    """One metric, by scikit-learn. NaN where it is not defined (AUC of a single class)."""
    weights = predictions.weights
    if weights is not None and not weights.all():
        predictions = predictions.where(weights > 0)  # of rows without weight scikit-learn warns
    return float(FUNCTIONS[name](predictions))


def mean(values: Values | NDArray[np.bool_], weights: Values | None) -> float:
    """The mean of the rows' values by their weights."""
    return float(values.mean() if weights is None else np.average(values, weights=weights))


def _per_class(function: Callable[..., float]) -> Callable[[Predictions], float]:
    def average(p: Predictions) -> float:
        hits = [(p.truth == k) for k in p.averaged_classes]
        if any(hit.all() or not hit.any() for hit in hits):
            return float("nan")
        pairs = zip(hits, p.averaged_classes, strict=True)
        scores = [function(hit, p.probabilities[:, k], sample_weight=p.weights) for hit, k in pairs]
        return float(np.mean(scores))

    return average


def _per_label(function: Callable[..., float]) -> Callable[[Predictions], float]:
    def average(p: Predictions) -> float:
        labels = list(p.averaged_classes)
        options = {"average": "macro", "zero_division": 0, "sample_weight": p.weights}
        return float(function(p.truth, p.labels, labels=labels, **options))

    return average


def _mcc(p: Predictions) -> float:
    """0 where there is one class among truth and labels: of it, scikit-learn warns."""
    if len(np.union1d(p.truth, p.labels)) < 2:
        return 0.0
    return float(sk.matthews_corrcoef(p.truth, p.labels, sample_weight=p.weights))


def _per_row(function: Callable[..., float]) -> Callable[[Predictions], float]:
    def average(p: Predictions) -> float:
        labels = range(p.classes)
        return function(p.truth, p.probabilities, labels=labels, sample_weight=p.weights)

    return average


FUNCTIONS: dict[str, Callable[[Any], float]] = {
    **amounts.FUNCTIONS,
    "accuracy": lambda p: sk.accuracy_score(p.truth, p.labels, sample_weight=p.weights),
    "roc_auc": _per_class(sk.roc_auc_score),
    "average_precision": _per_class(sk.average_precision_score),
    "log_loss": _per_row(sk.log_loss),
    "brier": _per_row(sk.brier_score_loss),
    "f1": _per_label(sk.f1_score),
    "precision": _per_label(sk.precision_score),
    "recall": _per_label(sk.recall_score),
    "mcc": _mcc,
}
