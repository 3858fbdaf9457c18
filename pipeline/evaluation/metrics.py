"""Functions and bootstrap intervals of the metrics.

Two classes: F1, precision, recall, ROC AUC and average precision are the positive class's.
More: they are the mean over the classes (macro, one class against the rest).
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from math import isclose
from typing import Any, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn import metrics as sk

from pipeline.config.sections import Metric, SearchMetric
from pipeline.results import Dataset, Probabilities
from pipeline.schema.contract import Contract

Codes = NDArray[np.intp]
Values = NDArray[np.float64]

SEARCH_METRICS: tuple[SearchMetric, ...] = get_args(SearchMetric)


@dataclass(frozen=True, eq=False)
class Predictions:
    """True classes and predicted probabilities of the same rows.

    `truth` holds places in the order of the columns of `probabilities`; `positive` is the
    place of the positive class, None with more than two; `threshold` defaults to 0.5.
    """

    truth: Codes
    probabilities: Probabilities
    positive: int | None = None
    threshold: float | None = None

    @property
    def classes(self) -> int:
        """How many classes there are."""
        return int(self.probabilities.shape[1])

    def where(self, rows: NDArray[np.bool_]) -> "Predictions":
        """Of some of the rows."""
        return replace(self, truth=self.truth[rows], probabilities=self.probabilities[rows])

    @cached_property
    def labels(self) -> Codes:
        """The predicted classes, as places."""
        if self.positive is None:
            return np.asarray(self.probabilities.argmax(axis=1))
        threshold = 0.5 if self.threshold is None else self.threshold
        at_least = self.probabilities[:, self.positive] >= threshold
        return np.where(at_least, self.positive, 1 - self.positive)

    @cached_property
    def judged(self) -> tuple[int, ...]:
        """The classes that class-wise metrics are averaged over."""
        return tuple(range(self.classes)) if self.positive is None else (self.positive,)


ALL: tuple[Metric, ...] = get_args(Metric)


def predict(dataset: Dataset, model: Any, threshold: float | None) -> Predictions:
    """What a fitted model says of the test part."""
    probabilities = model.predict_proba(dataset.X_test)
    return of_rows(dataset.contract, dataset.y_test, probabilities, threshold)


def of_rows(
    contract: Contract, y: "pd.Series[Any]", probabilities: Probabilities, threshold: float | None
) -> Predictions:
    """Labels of the contract's classes, and what a model says of the same rows."""
    truth = np.searchsorted(np.asarray(contract.classes), y)
    return Predictions(truth, probabilities, contract.positive_index, threshold)


def value(name: Metric, predictions: Predictions) -> float:
    """One metric, by scikit-learn. NaN where it is not defined (AUC of a single class)."""
    return float(_POINT[name](predictions))


def values(predictions: Predictions) -> dict[Metric, float]:
    """All at once: many times faster, and as `value` to within rounding."""
    once = np.ones((1, len(predictions.truth)))
    return {name: float(found[0]) for name, found in _bootstrap(predictions, once).items()}


def intervals(
    predictions: Predictions, resamples: int, seed: int, level: float = 0.95
) -> dict[Metric, tuple[float, float]]:
    """Percentile bootstrap intervals over the rows (Efron and Tibshirani 1993, ch. 13)."""
    drawn = draws(predictions, resamples, seed)
    return {name: middle(values, level) for name, values in drawn.items()}


def doubt(name: Metric, predictions: Predictions, resamples: int, seed: int) -> str:
    """Why the 95 % interval of a metric proves nothing, if it does not.

    It leaves out resamples on which the metric is not defined: where they are more than it would
    leave out anyway, they may lie on either side of it.
    """
    drawn = draws(predictions, resamples, seed)[name]
    lacking = float(np.isnan(drawn).mean())
    if lacking > 0.05:
        return f"leaves out {lacking:.0%} of the resamples, which lack a class,"
    return "has no width" if isclose(*middle(drawn, 0.95)) else ""


@lru_cache(maxsize=8)  # the gate, its paired comparisons and the model card ask for the same
def draws(predictions: Predictions, resamples: int, seed: int) -> Mapping[Metric, Values]:
    """Every metric on every resample; a seed draws the same rows of any model's predictions."""
    rng = np.random.default_rng(seed)
    drawn: dict[Metric, list[Values]] = {name: [] for name in _POINT}
    for weights in _resamples(len(predictions.truth), resamples, rng):
        for name, values in _bootstrap(predictions, weights).items():
            drawn[name].append(values)
    return {name: np.concatenate(values) for name, values in drawn.items()}


def middle(values: Values, level: float) -> tuple[float, float]:
    """The percentiles between which that share of the values lies, those that are defined."""
    defined = values[~np.isnan(values)]
    if not len(defined):
        return (np.nan, np.nan)
    low, high = np.percentile(defined, [50 - 50 * level, 50 + 50 * level])
    return (float(low), float(high))


def _per_class(function: Callable[..., float]) -> Callable[[Predictions], float]:
    def mean(p: Predictions) -> float:
        hits = [(p.truth == k) for k in p.judged]
        if any(hit.all() or not hit.any() for hit in hits):
            return float("nan")
        pairs = zip(hits, p.judged, strict=True)
        return float(np.mean([function(hit, p.probabilities[:, k]) for hit, k in pairs]))

    return mean


def _per_label(function: Callable[..., float]) -> Callable[[Predictions], float]:
    def mean(p: Predictions) -> float:
        labels = list(p.judged)
        return float(function(p.truth, p.labels, labels=labels, average="macro", zero_division=0))

    return mean


def _differ(p: Predictions) -> bool:
    """Whether there are two classes among truth and labels: of one, scikit-learn warns."""
    return len(np.union1d(p.truth, p.labels)) > 1


_POINT: dict[Metric, Callable[[Predictions], float]] = {
    "accuracy": lambda p: sk.accuracy_score(p.truth, p.labels),
    "roc_auc": _per_class(sk.roc_auc_score),
    "average_precision": _per_class(sk.average_precision_score),
    "log_loss": lambda p: sk.log_loss(p.truth, p.probabilities, labels=range(p.classes)),
    "brier": lambda p: sk.brier_score_loss(p.truth, p.probabilities, labels=range(p.classes)),
    "f1": _per_label(sk.f1_score),
    "precision": _per_label(sk.precision_score),
    "recall": _per_label(sk.recall_score),
    "mcc": lambda p: sk.matthews_corrcoef(p.truth, p.labels) if _differ(p) else 0.0,
}


def _row_brier(p: Predictions) -> Values:
    """Squared distance to the truth, halved with two classes, as scikit-learn scales it."""
    distance = p.probabilities - np.eye(p.classes)[p.truth]
    return np.asarray((distance**2).sum(axis=1) / (2 if p.classes == 2 else 1))


def _row_log_loss(p: Predictions) -> Values:
    own = p.probabilities[np.arange(len(p.truth)), p.truth]
    return np.asarray(-np.log(np.clip(own, np.finfo(float).eps, 1)))


def _resamples(rows: int, count: int, rng: np.random.Generator) -> Iterator[Values]:
    """How often each row is drawn, resamples x rows, in blocks of bounded memory."""
    block = max(1, min(count, 4_000_000 // rows))
    for start in range(0, count, block):
        size = min(block, count - start)
        yield rng.multinomial(rows, np.full(rows, 1 / rows), size=size).astype(np.float64)


def _bootstrap(p: Predictions, weights: Values) -> dict[Metric, Values]:
    """Every metric on every resample at once; each equals `value` on the resampled rows."""
    rows = weights.shape[1]
    curves = [_cumulated(p, k, weights) for k in p.judged]
    return {
        "log_loss": weights @ _row_log_loss(p) / rows,
        "brier": weights @ _row_brier(p) / rows,
        "roc_auc": np.mean([_roc_auc(*curve) for curve in curves], axis=0),
        "average_precision": np.mean([_average_precision(*curve) for curve in curves], axis=0),
        **_from_confusion(p, weights),
    }


def _from_confusion(p: Predictions, weights: Values) -> dict[Metric, Values]:
    cells = np.eye(p.classes**2)[p.truth * p.classes + p.labels]
    confusion = (weights @ cells).reshape(-1, p.classes, p.classes)  # truth x predicted
    hits = np.diagonal(confusion, axis1=1, axis2=2)
    actual, predicted = confusion.sum(axis=2), confusion.sum(axis=1)
    total = weights.shape[1]
    judged = list(p.judged)

    def mean(part: Values, whole: Values) -> Values:
        return np.asarray(_ratio(part, whole)[:, judged].mean(axis=1))

    # Gorodkin (2004), the correlation of two K-category assignments.
    covariance = hits.sum(axis=1) * total - (actual * predicted).sum(axis=1)
    variances = (total**2 - (actual**2).sum(axis=1)) * (total**2 - (predicted**2).sum(axis=1))
    return {
        "accuracy": hits.sum(axis=1) / total,
        "precision": mean(hits, predicted),
        "recall": mean(hits, actual),
        "f1": mean(2 * hits, actual + predicted),
        "mcc": _ratio(covariance, np.sqrt(variances)),
    }


def _ratio(part: Values, whole: Values) -> Values:
    return np.asarray(np.divide(part, whole, out=np.zeros_like(part), where=whole != 0))


def _cumulated(p: Predictions, positive: int, weights: Values) -> tuple[Values, Values]:
    """Weights of positives and negatives at or above each distinct score, from the top."""
    scores = p.probabilities[:, positive]
    order = np.argsort(-scores, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(scores[order]) != 0])
    hit = (p.truth == positive)[order]
    ordered = weights[:, order]
    grouped = [np.add.reduceat(ordered * side, starts, axis=1) for side in (hit, ~hit)]
    return np.cumsum(grouped[0], axis=1), np.cumsum(grouped[1], axis=1)


def _roc_auc(above: Values, false: Values) -> Values:
    area = np.trapezoid(np.pad(above, ((0, 0), (1, 0))), np.pad(false, ((0, 0), (1, 0))), axis=1)
    pairs = above[:, -1] * false[:, -1]
    return np.divide(area, pairs, out=np.full_like(area, np.nan), where=pairs != 0)


def _average_precision(above: Values, false: Values) -> Values:
    gained = np.diff(above, axis=1, prepend=0)
    area = (gained * _ratio(above, above + false)).sum(axis=1)
    total = above[:, -1]
    both = (total != 0) & (false[:, -1] != 0)
    return np.asarray(np.divide(area, total, out=np.full_like(area, np.nan), where=both))
