"""A model's predictions of labelled rows, and the metrics of them.

F1, precision, recall, ROC AUC and average precision are those of the positive class; where there
is none, they are the mean over the classes (macro, one class against the rest).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn import metrics as sk

from pipeline.results import Dataset, Metadata, Probabilities
from pipeline.schema.contract import Contract
from pipeline.tasks import Task, TaskName, classification

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


def predict(dataset: Dataset, model: Any, threshold: float | None) -> Predictions:
    """The predictions of a fitted model on the test part."""
    X = dataset.X_test
    parts = [X.iloc[start : start + PART] for start in range(0, len(X), PART)]
    probabilities = np.concatenate([model.predict_proba(part) for part in parts])
    metadata = dataset.metadata.of(dataset.X_test)
    return of_rows(dataset.contract, dataset.y_test, probabilities, threshold, metadata)


def of_rows(
    contract: Contract,
    y: "pd.Series[Any]",
    probabilities: Probabilities,
    threshold: float | None,
    metadata: Metadata = NO_METADATA,
) -> Predictions:
    """Labels of the contract's classes and a model's probabilities of the same rows."""
    truth = np.searchsorted(np.asarray(contract.classes), y)
    return Predictions(truth, probabilities, contract.positive_index, threshold, metadata)


def true_class_probability(probabilities: Probabilities, truth: Codes) -> Values:
    """The probability that each row's true class got."""
    return np.asarray(probabilities[np.arange(len(truth)), truth])


def row_losses(probability: Values) -> Values:
    """The log loss of each row, from the probability that its true class got."""
    return np.asarray(-np.log(np.clip(probability, np.finfo(float).eps, 1)))


def value(name: str, predictions: Predictions) -> float:
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


FUNCTIONS: dict[str, Callable[[Predictions], float]] = {
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
