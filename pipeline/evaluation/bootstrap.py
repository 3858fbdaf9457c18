"""Bootstrap intervals of all metrics at once, over the rows or over the groups of them."""

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from math import isclose

import numpy as np

from pipeline.datasets.sampling import sample
from pipeline.evaluation.amounts import resampled_metrics
from pipeline.evaluation.metrics import (
    AnyPredictions,
    Predictions,
    Values,
    row_losses,
    true_class_probability,
)
from pipeline.tasks import AMOUNT, CLASSIFICATION, METRICS, TaskName

MOST_ROWS = 20_000  # of which all resamples are drawn

# What Brier's sum of squares is divided by, as scikit-learn scales it.
BRIER_SCALE: dict[TaskName, int] = {"binary": 2, "multiclass": 1}


def values(predictions: AnyPredictions) -> dict[str, float]:
    """Every metric at once: many times faster than `metrics.value`, and equal within rounding."""
    once = np.ones((1, len(predictions.truth)))
    metrics = BOOTSTRAPS[predictions.task.name](predictions, _weighted(predictions, once))
    return {name: float(value[0]) for name, value in metrics.items()}


def intervals(
    predictions: AnyPredictions, resamples: int, seed: int, level: float = 0.95
) -> dict[str, tuple[float, float]]:
    """Percentile bootstrap intervals over the rows (Efron and Tibshirani 1993, ch. 13).

    Where rows have groups, whole groups are drawn (Davison and Hinkley 1997, section 3.8): rows of
    one group are alike, and count for less than as many of different ones.
    """
    drawn = resampled(predictions, resamples, seed)
    return {name: percentile_interval(values, level) for name, values in drawn.items()}


def caveat(name: str, predictions: AnyPredictions, resamples: int, seed: int) -> str:
    """Why the 95 % interval of a metric proves nothing, if it does not.

    It leaves out resamples on which the metric is not defined: where they are more than it would
    leave out anyway, they may lie on either side of it.
    """
    drawn = resampled(predictions, resamples, seed)[name]
    lacking = float(np.isnan(drawn).mean())
    if lacking > 0.05:
        return f"leaves out {lacking:.0%} of the resamples, which lack a class,"
    return "has no width" if isclose(*percentile_interval(drawn, 0.95)) else ""


@lru_cache(maxsize=8)  # the gate, its paired comparisons and the model card ask for the same
def resampled(predictions: AnyPredictions, resamples: int, seed: int) -> Mapping[str, Values]:
    """Every metric on every resample; a seed draws the same rows of any model's predictions.

    Of more than 20,000 rows it is the bag of little bootstraps (Kleiner et al. 2014) with one
    bag: resamples of the size of all rows, drawn from a stratified sample of them, and moved by
    what the metric of the sample differs from that of all rows.
    """
    rng = np.random.default_rng(seed)
    rows = sample(predictions.truth, MOST_ROWS, seed, predictions.metadata)
    is_all = len(rows) == len(predictions.truth)
    part = predictions if is_all else predictions.where(rows)
    drawn: dict[str, list[Values]] = {name: [] for name in predictions.task.metrics}
    for weights in _resamples(part, resamples, rng, _units(predictions)):
        for name, each in BOOTSTRAPS[part.task.name](part, weights).items():
            drawn[name].append(each)
    metrics = {name: np.concatenate(each) for name, each in drawn.items()}
    if is_all:
        return metrics
    of_all, of_part = values(predictions), values(part)
    return {
        name: np.clip(each + of_all[name] - of_part[name], *METRICS[name].bounds)
        for name, each in metrics.items()
    }


def percentile_interval(values: Values, level: float) -> tuple[float, float]:
    """The percentiles between which that share of the values lies, those that are defined."""
    defined = values[~np.isnan(values)]
    if not len(defined):
        return (np.nan, np.nan)
    low, high = np.percentile(defined, [50 - 50 * level, 50 + 50 * level])
    return (float(low), float(high))


def _row_brier(p: Predictions) -> Values:
    """Squared distance of each row's probabilities to the truth."""
    distance = p.probabilities - np.eye(p.classes)[p.truth]
    return np.asarray((distance**2).sum(axis=1) / BRIER_SCALE[p.task.name])


def _units(p: AnyPredictions) -> int:
    """How many rows, or groups of them, there are to draw from."""
    codes = p.metadata.group_codes
    return len(p.truth) if codes is None else int(codes.max()) + 1


def _resamples(
    p: AnyPredictions, count: int, rng: np.random.Generator, draws: int
) -> Iterator[Values]:
    """How much each row counts in so many draws, resamples x rows, in blocks of bounded memory."""
    rows, codes, units = len(p.truth), p.metadata.group_codes, _units(p)
    block = max(1, min(count, 4_000_000 // rows))
    for start in range(0, count, block):
        size = min(block, count - start)
        drawn = rng.multinomial(draws, np.full(units, 1 / units), size=size).astype(np.float64)
        yield _weighted(p, drawn if codes is None else drawn[:, codes])


def _weighted(p: AnyPredictions, drawn: Values) -> Values:
    """How often each row is drawn, times its weight."""
    return drawn if p.weights is None else drawn * p.weights


def _of_classes(p: Predictions, weights: Values) -> dict[str, Values]:
    """Every metric on every resample at once; each equals `value` on the resampled rows."""
    rows = weights.sum(axis=1)
    curves = [cumulated(p, k, weights) for k in p.averaged_classes]
    return {
        "log_loss": weights @ row_losses(true_class_probability(p.probabilities, p.truth)) / rows,
        "brier": weights @ _row_brier(p) / rows,
        "roc_auc": np.mean([roc_auc(*curve) for curve in curves], axis=0),
        "average_precision": np.mean([average_precision(*curve) for curve in curves], axis=0),
        **_from_confusion(p, weights),
    }


def _from_confusion(p: Predictions, weights: Values) -> dict[str, Values]:
    cells = np.eye(p.classes**2)[p.truth * p.classes + p.labels]
    confusion = (weights @ cells).reshape(-1, p.classes, p.classes)  # truth x predicted
    hits = np.diagonal(confusion, axis1=1, axis2=2)
    actual, predicted = confusion.sum(axis=2), confusion.sum(axis=1)
    total = weights.sum(axis=1)
    averaged = list(p.averaged_classes)

    def mean(part: Values, whole: Values) -> Values:
        return np.asarray(_ratio(part, whole)[:, averaged].mean(axis=1))

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


BOOTSTRAPS: dict[TaskName, Callable[..., dict[str, Values]]] = {
    **dict.fromkeys(CLASSIFICATION, _of_classes),
    **dict.fromkeys(AMOUNT, resampled_metrics),
}


def _ratio(part: Values, whole: Values) -> Values:
    return np.asarray(np.divide(part, whole, out=np.zeros_like(part), where=whole != 0))


def resampled_rows(p: Predictions, part: Predictions, count: int, seed: int) -> Values:
    """How much each row of a part counts on each resample of the size of `p`: resamples x rows."""
    rng = np.random.default_rng(seed)
    return np.concatenate(list(_resamples(part, count, rng, _units(p))))


def cumulated(p: Predictions, positive: int, weights: Values) -> tuple[Values, Values]:
    """Weights of positives and negatives at or above each distinct score, from the top.

    Both are resamples x scores.
    """
    scores = p.probabilities[:, positive]
    order = np.argsort(-scores, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(scores[order]) != 0])
    hit = (p.truth == positive)[order]
    ordered = weights[:, order]
    grouped = [np.add.reduceat(ordered * side, starts, axis=1) for side in (hit, ~hit)]
    return np.cumsum(grouped[0], axis=1), np.cumsum(grouped[1], axis=1)


def roc_auc(above: Values, false: Values) -> Values:
    """The area under the ROC curve of each resample; NaN where a class is lacking."""
    area = np.trapezoid(np.pad(above, ((0, 0), (1, 0))), np.pad(false, ((0, 0), (1, 0))), axis=1)
    pairs = above[:, -1] * false[:, -1]
    return np.divide(area, pairs, out=np.full_like(area, np.nan), where=pairs != 0)


def average_precision(above: Values, false: Values) -> Values:
    """The average precision of each resample; NaN where a class is lacking."""
    gained = np.diff(above, axis=1, prepend=0)
    area = (gained * _ratio(above, above + false)).sum(axis=1)
    total = above[:, -1]
    both = (total != 0) & (false[:, -1] != 0)
    return np.asarray(np.divide(area, total, out=np.full_like(area, np.nan), where=both))
