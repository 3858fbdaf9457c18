"""Compiles a fitted classifier, and proves that the result answers as the classifier does."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from pipeline.export.onnx_builder import TranslationError
from pipeline.export.onnx_graph import translate, unscaled
from pipeline.inference.runtimes import Linear, Predict, of_classifier, of_graph
from pipeline.results import Dataset, Training
from pipeline.schema.columns import Matrix
from pipeline.schema.contract import Contract
from pipeline.schema.rules import Rules

TOLERANCE = 1e-6  # between probabilities
RANDOM_ROWS = 10_000
ONE_BY_ONE = 200  # rows that are asked alone, as most requests do
MISSING = 0.1  # share of the random cells
SEED = 0


@dataclass(frozen=True)
class Compilation:
    """The model collapsed, or as a graph, or why it is neither."""

    linear: Linear | None
    graph: bytes | None
    reason: str

    @property
    def summary(self) -> str:
        """For the run's tag."""
        if self.linear is None and self.graph is None:
            return f"no: {self.reason}"
        return f"{'collapsed' if self.graph is None else 'ONNX'}, {self.reason}"


def compile_model(dataset: Dataset, training: Training) -> Compilation:
    """What equals the model on the training part and on random rows, if anything does."""
    linear = graph = None
    try:
        linear = collapse(training.model)
        if linear is None:
            columns = len(dataset.contract.columns)
            graph = translate(training.model, columns).SerializeToString()
        apart = _prove(
            dataset, training, linear.predict_proba if linear else of_graph(graph or b"")
        )
    except TranslationError as error:
        return Compilation(None, None, str(error))
    except Exception as error:  # of a private attribute, of the runtime, of an overflow: no must
        return Compilation(None, None, f"{type(error).__name__}: {error}")
    if apart:
        return Compilation(None, None, apart)
    reason = f"equal on {len(dataset.X_train)} training and {RANDOM_ROWS} random rows"
    return Compilation(linear, graph, reason)


def collapse(classifier: Any) -> Linear | None:
    """Logistic regression of two classes behind an imputer and a scaler, if that is what it is."""
    if type(classifier) is FixedThresholdClassifier:
        classifier = classifier.estimator_
    steps = [step for _, step in classifier.steps] if type(classifier) is Pipeline else [classifier]
    fill = np.full(classifier.n_features_in_, np.nan)
    if type(steps[0]) is SimpleImputer:
        fill = steps.pop(0).statistics_
    if [type(step) for step in steps] == [StandardScaler, LogisticRegression]:
        steps = [unscaled(*steps)]
    if [type(step) for step in steps] != [LogisticRegression] or len(classifier.classes_) != 2:
        return None
    weights, intercept = steps[0].coef_[0], steps[0].intercept_[0]
    return Linear(fill.tolist(), weights.tolist(), float(intercept))


def _prove(dataset: Dataset, training: Training, compiled: Predict) -> str:
    """In what the two differ, and on which rows; nothing if they are equal."""
    original = of_classifier(training.model, dataset.contract)
    seen = dataset.X_train.to_numpy()
    for name, rows in (("training", seen), ("random", random_rows(dataset.contract, seen))):
        apart = difference(original, compiled, rows, dataset.contract, training.threshold)
        if apart:
            return f"on {len(rows)} {name} rows, {apart}"
    each = seen[:ONE_BY_ONE]
    apart = difference(
        original,
        lambda rows: np.concatenate([compiled(row[None]) for row in rows]),
        each,
        dataset.contract,
        training.threshold,
    )
    return f"on {len(each)} rows one by one, {apart}" if apart else ""


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
    low, high = np.maximum(rules.low, low - wide), np.minimum(rules.high, high + wide)
    rows = rng.uniform(low, high, shape)
    shuffled = np.column_stack([rng.choice(column, RANDOM_ROWS) for column in seen.T])
    rows[::2] = shuffled[::2]
    rows[rng.random(shape) < MISSING] = np.nan
    return rows
