"""Compiles a fitted classifier, and proves that the result answers as the classifier does."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pipeline.compiled import Predict, load
from pipeline.contract import Contract, Matrix, Rules
from pipeline.onnx_builder import TranslationError
from pipeline.onnx_graph import translate
from pipeline.results import Dataset, Training

TOLERANCE = 1e-6  # between probabilities
RANDOM_ROWS = 10_000
MISSING = 0.1  # share of the random cells
SEED = 0


@dataclass(frozen=True)
class Compilation:
    """The graph, or why there is none."""

    graph: bytes | None
    reason: str


def compile_model(dataset: Dataset, training: Training) -> Compilation:
    """A graph that equals the model on the training part and on random rows, or none."""
    model = training.model
    try:
        graph = translate(model, len(dataset.contract.columns)).SerializeToString()
        compiled = load(graph)
        apart = _prove(dataset, training, compiled)
    except TranslationError as reason:
        return Compilation(None, str(reason))
    except Exception as error:  # of a private attribute, of the runtime, of an overflow: no must
        return Compilation(None, f"{type(error).__name__}: {error}")
    if apart:
        return Compilation(None, apart)
    seen = len(dataset.X_train)
    return Compilation(graph, f"equal on {seen} training and {RANDOM_ROWS} random rows")


def _prove(dataset: Dataset, training: Training, compiled: Predict) -> str:
    """In what the two differ, and on which rows; nothing if they are equal."""
    model = training.model

    def original(X: Matrix) -> Matrix:
        probabilities: Matrix = model.predict_proba(pd.DataFrame(X, columns=list(dataset.X_train)))
        return probabilities

    seen = dataset.X_train.to_numpy()
    for name, rows in (("training", seen), ("random", random_rows(dataset.contract, seen))):
        apart = difference(original, compiled, rows, dataset.contract, training.threshold)
        if apart:
            return f"on {len(rows)} {name} rows, {apart}"
    return ""


def difference(
    original: Predict,
    compiled: Callable[[Matrix], Matrix],
    rows: Matrix,
    contract: Contract,
    threshold: float | None,
) -> str:
    """In what two classifiers differ: probabilities beyond 1e-6, or any label."""
    before, after = original(rows), compiled(rows)
    with np.errstate(invalid="ignore"):  # a NaN is a difference
        most = float(np.abs(before - after).max())
    if not most <= TOLERANCE:  # or NaN
        return f"probabilities differ by up to {most:.2g}"
    changed = int((_calls(before, contract, threshold) != _calls(after, contract, threshold)).sum())
    return f"{changed} labels differ" if changed else ""


def _calls(probabilities: Matrix, contract: Contract, threshold: float | None) -> Any:
    positive = contract.positive_index
    if positive is None or threshold is None:
        return probabilities.argmax(axis=1)
    return probabilities[:, positive] >= threshold


def random_rows(contract: Contract, seen: Matrix) -> Matrix:
    """Rows that keep the contract: by turns seen values, each column shuffled, and any at all."""
    rng = np.random.default_rng(SEED)
    shape = (RANDOM_ROWS, seen.shape[1])
    rules = Rules(contract.columns)
    low, high = np.nanmin(seen, axis=0), np.nanmax(seen, axis=0)
    wide = high - low + 1  # where the contract knows no bound
    low = np.where(rules.low > -np.inf, np.maximum(rules.low, low - wide), low - wide)
    high = np.where(rules.high < np.inf, np.minimum(rules.high, high + wide), high + wide)
    rows = rng.uniform(low, high, shape)
    shuffled = np.column_stack([rng.choice(column, RANDOM_ROWS) for column in seen.T])
    rows[::2] = shuffled[::2]
    rows[rng.random(shape) < MISSING] = np.nan
    return rows
