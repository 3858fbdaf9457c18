"""A linear classifier of two classes, collapsed to one weight per column."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp

import numpy as np

from pipeline.contract import Matrix

FEW = 8  # rows of which each is added up by itself: quicker than as many calls of NumPy


@dataclass(frozen=True)
class Linear:
    """The log-odds are the sum of weights times columns, `fill` in place of a missing value."""

    fill: Sequence[float]
    weights: Sequence[float]
    intercept: float

    def predict_proba(self, X: Matrix) -> Matrix:
        """Probabilities (rows x 2) of a matrix with NaN where a value is missing."""
        if len(X) <= FEW:
            positive = [_logistic(self._log_odds(row)) for row in X.tolist()]
            return np.array([(1 - p, p) for p in positive]).reshape(-1, 2)
        odds = np.where(np.isnan(X), self.fill, X) @ np.asarray(self.weights) + self.intercept
        with np.errstate(over="ignore"):  # exp of a very unlikely row: its probability is 0
            p = 1 / (1 + np.exp(-odds))
        return np.column_stack([1 - p, p])

    def _log_odds(self, row: Sequence[float]) -> float:
        total = self.intercept
        for value, weight, fill in zip(row, self.weights, self.fill, strict=True):
            total += weight * (value if value == value else fill)  # noqa: PLR0124  NaN is not
        return total


def _logistic(odds: float) -> float:
    return 1 / (1 + exp(-odds)) if odds > 0 else exp(odds) / (1 + exp(odds))
