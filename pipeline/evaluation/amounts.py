"""Predicted amounts with their intervals beside the true ones, and the metrics of them."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from sklearn import metrics as sk

from pipeline.results import Metadata
from pipeline.schema.matrix import Vector
from pipeline.tasks import COVERAGE, REGRESSION, Task

NO_METADATA = Metadata()
TAIL = (1 - COVERAGE) / 2  # of the rows, beyond either end of an interval


@dataclass(frozen=True, eq=False)
class AmountPredictions:
    """True and predicted amounts of the same rows, with the ends of their 90 % intervals.

    Where there are no intervals their ends are NaN.
    """

    truth: Vector
    value: Vector
    low: Vector
    high: Vector
    metadata: Metadata = NO_METADATA
    threshold: None = None
    task: Task = REGRESSION

    def where(self, rows: NDArray[np.bool_] | NDArray[np.intp]) -> "AmountPredictions":
        """The predictions of some of the rows, which a mask or their places select."""
        parts = {name: getattr(self, name)[rows] for name in ("truth", "value", "low", "high")}
        return replace(self, **parts, metadata=self.metadata.where(rows))

    @cached_property
    def weights(self) -> Vector | None:
        """The weight of each row, None where they are alike."""
        return self.metadata.sample_weight

    @cached_property
    def errors(self) -> Vector:
        """Predicted minus true."""
        return self.value - self.truth

    @cached_property
    def row_metrics(self) -> dict[str, Vector]:
        """By metric that is a mean over the rows, what each row adds to it."""
        y, low, high = self.truth, self.low, self.high
        beyond = np.maximum(low - y, 0) + np.maximum(y - high, 0)
        bounds = sum(
            np.maximum(level * (y - end), (level - 1) * (y - end))
            for level, end in ((TAIL, low), (1 - TAIL, high))
        )
        return {
            "mae": np.abs(self.errors),
            # The mean of the quantile losses of both ends (Koenker and Bassett 1978).
            "pinball": np.asarray(bounds) / 2,
            # Gneiting and Raftery (2007), section 6.2.
            "interval_score": high - low + beyond / TAIL,
            "coverage": np.where(np.isnan(low), np.nan, (low <= y) & (y <= high)),
            "interval_width": high - low,
        }


def _mean_of(name: str) -> Callable[[AmountPredictions], float]:
    def mean(p: AmountPredictions) -> float:
        return float(np.average(p.row_metrics[name], weights=p.weights))

    return mean


def _by_scikit_learn(function: Callable[..., float]) -> Callable[[AmountPredictions], float]:
    def value(p: AmountPredictions) -> float:
        return function(p.truth, p.value, sample_weight=p.weights)

    return value


def _r2(p: AmountPredictions) -> float:
    """NaN where all amounts are the same, of which it says nothing."""
    if np.ptp(p.truth) == 0:
        return float("nan")
    return float(sk.r2_score(p.truth, p.value, sample_weight=p.weights))


FUNCTIONS: dict[str, Callable[[AmountPredictions], float]] = {
    "rmse": _by_scikit_learn(sk.root_mean_squared_error),
    "mae": _by_scikit_learn(sk.mean_absolute_error),
    "median_absolute_error": _by_scikit_learn(sk.median_absolute_error),
    "r2": _r2,
    **{
        name: _mean_of(name) for name in ("pinball", "interval_score", "coverage", "interval_width")
    },
}


def resampled_metrics(p: AmountPredictions, weights: Vector) -> dict[str, Vector]:
    """Every metric on every resample at once (resamples x rows: how much each row counts)."""
    rows = weights.sum(axis=1)
    squares = weights @ np.square(p.errors)
    centred = p.truth - p.truth.mean()
    spread = weights @ np.square(centred) - np.square(weights @ centred) / rows
    is_spread = spread > 1e-12 * (weights @ np.square(p.truth))
    part = np.divide(squares, spread, out=np.full_like(squares, np.nan), where=is_spread)
    return {
        "rmse": np.sqrt(squares / rows),
        "median_absolute_error": _medians(np.abs(p.errors), weights),
        "r2": 1 - part,
        **{name: weights @ values / rows for name, values in p.row_metrics.items()},
    }


def _medians(values: Vector, weights: Vector) -> Vector:
    """The weighted median of each resample, the mean of the middle two where there are two."""
    order = np.argsort(values, kind="stable")
    ordered, above = values[order], np.cumsum(weights[:, order], axis=1)
    half = above[:, -1:] / 2
    first = np.argmax(above >= half, axis=1)
    second = np.argmax(above > half, axis=1)
    return np.asarray((ordered[first] + ordered[second]) / 2)
