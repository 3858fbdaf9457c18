"""A linear classifier of two classes, collapsed to one weight per column."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, isfinite, nan

import numpy as np

from pipeline.schema.contract import Matrix

FEW = 8  # rows of which each is added up by itself: quicker than as many calls of NumPy


@dataclass(frozen=True)
class Linear:
    """The log-odds are the sum of weights times columns, `fill` in place of a missing value.

    They are added up in the order of the columns, whatever the number of rows. Where the sum is
    beyond all doubles the probability is NaN: what such a sum comes to depends on that order.
    """

    fill: Sequence[float]
    weights: Sequence[float]
    intercept: float

    def predict_proba(self, X: Matrix) -> Matrix:
        """Probabilities (rows x 2) of a matrix with NaN where a value is missing."""
        if len(X) <= FEW:
            positive = [_logistic(self._log_odds(row)) for row in X.tolist()]
            return np.array([(1 - p, p) for p in positive]).reshape(-1, 2)
        odds = np.full(len(X), self.intercept)
        with np.errstate(over="ignore", invalid="ignore"):
            for values, weight, fill in zip(X.T, self.weights, self.fill, strict=True):
                odds += weight * np.where(np.isnan(values), fill, values)
            p = np.where(np.isfinite(odds), 1 / (1 + np.exp(-odds)), nan)
        return np.column_stack([1 - p, p])

    def _log_odds(self, row: Sequence[float]) -> float:
        total = self.intercept
        for value, weight, fill in zip(row, self.weights, self.fill, strict=True):
            total += weight * (value if value == value else fill)  # noqa: PLR0124  NaN is not
        return total


def _logistic(odds: float) -> float:
    if not isfinite(odds):
        return nan
    return 1 / (1 + exp(-odds)) if odds > 0 else exp(odds) / (1 + exp(odds))
