"""What computes a model's outputs: an ONNX graph, a weighted sum, or scikit-learn itself."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import exp, isfinite, nan
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.schema.contract import Contract
from pipeline.schema.matrix import Matrix, Vector
from pipeline.schema.rules import as_frame

# Read at the import: with it, ONNX Runtime keeps an id in the home and sends what it does.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime

# From rows x columns, NaN for missing, to rows x outputs: a probability for each class, or an
# amount and its difficulty.
Predict = Callable[[Matrix], Matrix]
DIFFICULTY = "difficulty_"  # attribute of a fitted regressor: the model of the size of its errors
CHUNK = 1024  # rows at a time: what lies between the steps of a model stays in the cache
CELLS = "cells"  # the first step of a pipeline that takes cells, and not their codes
MOST_ROWS = 100_000  # at a time: the steps of a classifier copy them several times
FEW = 8  # rows of which each is added up by itself: quicker than as many calls of NumPy


def of_graph(graph: bytes | Path) -> Predict:
    """The `predict_proba` of an ONNX graph: the classifier's, many times faster."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    source = str(graph) if isinstance(graph, Path) else graph
    session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    run = session.run
    names = [tensor.name for tensor in session.get_outputs()]

    def predict(X: Matrix) -> Matrix:
        if 0 < len(X) <= CHUNK:
            first: Matrix = run(names, {"X": X})[0]
            return first
        parts = [run(names, {"X": X[at : at + CHUNK]})[0] for at in range(0, len(X), CHUNK)]
        classes = session.get_outputs()[0].shape[1]
        return np.concatenate(parts) if parts else np.empty((0, classes))

    return predict


def outputs(model: Any, X: Any) -> Matrix:
    """The probabilities of a classifier; the amounts of a regressor, and their difficulties.

    A regressor without a model of its errors gives amounts alone.
    """
    if hasattr(model, "predict_proba"):
        probabilities: Matrix = model.predict_proba(X)
        return probabilities
    difficulty = getattr(model, DIFFICULTY, None)
    models = (model,) if difficulty is None else (model, difficulty)
    return np.column_stack([one.predict(X) for one in models])


def behind_cells(model: Any) -> Any:
    """The classifier that takes codes, of one that may begin with the encoder of its cells."""
    steps = getattr(model, "steps", [("", None)])
    return steps[-1][1] if steps[0][0] == CELLS else model


def of_estimator(estimator: Any, contract: Contract) -> Predict:
    """The outputs of a scikit-learn estimator that takes named columns."""
    columns, estimator = contract.columns, behind_cells(estimator)

    def predict(X: Matrix) -> Matrix:
        if not len(X):  # scikit-learn refuses no rows
            return np.empty((0, len(contract.classes) or 2))
        parts = [X[at : at + MOST_ROWS] for at in range(0, len(X), MOST_ROWS)]
        answers = [outputs(estimator, as_frame(columns, part)) for part in parts]
        return answers[0] if len(answers) == 1 else np.concatenate(answers)

    return predict


@dataclass(frozen=True)
class Linear:
    """A linear classifier of two classes, collapsed to one weight per column.

    The log-odds are the sum of weights times columns, `fill` in place of a missing value, added
    up in the order of the columns, whatever the number of rows. Where the sum is beyond all
    doubles the probability is NaN: what such a sum comes to depends on that order.
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
            for at in range(0, len(X), CHUNK):
                self._add(X[at : at + CHUNK], odds[at : at + CHUNK])
            p = np.where(np.isfinite(odds), 1 / (1 + np.exp(-odds)), nan)
        return np.column_stack([1 - p, p])

    def _add(self, rows: Matrix, odds: Vector) -> None:
        """Adds the columns of some rows to their log-odds."""
        columns = np.array(rows.T, order="C")  # a copy, whatever the order of the rows
        gaps = np.isnan(columns)
        for place, (weight, fill) in enumerate(zip(self.weights, self.fill, strict=True)):
            if gaps[place].any():
                columns[place][gaps[place]] = fill
            odds += weight * columns[place]

    def _log_odds(self, row: Sequence[float]) -> float:
        total = self.intercept
        for value, weight, fill in zip(row, self.weights, self.fill, strict=True):
            total += weight * (value if value == value else fill)  # noqa: PLR0124  NaN is not
        return total


def _logistic(odds: float) -> float:
    if not isfinite(odds):
        return nan
    return 1 / (1 + exp(-odds)) if odds > 0 else exp(odds) / (1 + exp(odds))
