"""Compiles a fitted estimator, and proves that the result answers as the estimator does."""

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
from pipeline.export.random_rows import ROWS, SEED, random_rows
from pipeline.inference.runtimes import Linear, Predict, of_estimator, of_graph
from pipeline.results import Dataset, Training
from pipeline.schema.contract import Contract
from pipeline.schema.kinds import text_columns
from pipeline.schema.matrix import Matrix
from pipeline.schema.targets import target_of

TOLERANCE = 1e-6  # between probabilities
RELATIVE = 1e-9  # between amounts, and between their difficulties
MOST_ROWS = 100_000  # of the training part
ONE_BY_ONE = 200  # rows that are asked alone, as most requests do


@dataclass(frozen=True)
class Compilation:
    """A model collapsed to a weighted sum, or translated to a graph, or the reason why neither."""

    linear: Linear | None
    graph: bytes | None
    reason: str

    @property
    def summary(self) -> str:
        """One line on what became of the model: the tag `compiled` of the run."""
        if self.linear is None and self.graph is None:
            return f"no: {self.reason}"
        return f"{'collapsed' if self.graph is None else 'ONNX'}, {self.reason}"

    @property
    def predict(self) -> Predict | None:
        """What became of the model, to be asked."""
        if self.linear is not None:
            return self.linear.predict_proba
        return None if self.graph is None else of_graph(self.graph)


def compile_model(dataset: Dataset, training: Training) -> Compilation:
    """What equals the model on the training part and on random rows, if anything does.

    Of a large training part, on a sample.
    """
    linear = graph = None
    if texts := text_columns(dataset.contract.columns):
        return Compilation(None, None, f"{texts[0]!r} holds texts, and a graph takes numbers alone")
    try:
        linear = collapse(training.model)
        if linear is None:
            columns = len(dataset.contract.columns)
            graph = translate(training.model, columns).SerializeToString()
        compiled = linear.predict_proba if linear else of_graph(graph or b"")
        difference = _prove(dataset, training, compiled)
    except TranslationError as error:
        return Compilation(None, None, str(error))
    except Exception as error:  # a private attribute is gone, or the runtime fails: go without
        return Compilation(None, None, f"{type(error).__name__}: {error}")
    if difference:
        return Compilation(None, None, difference)
    rows = len(dataset.X_train)
    training_rows = f"{rows}" if rows <= MOST_ROWS else f"{MOST_ROWS} of {rows}"
    reason = f"equal on {training_rows} training and {ROWS} random rows"
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
    contract = dataset.contract
    original = of_estimator(training.model, contract)

    def one_by_one(rows: Matrix) -> Matrix:
        return np.concatenate([compiled(row[None]) for row in rows])

    X_train = dataset.X_train.to_numpy()
    if len(X_train) > MOST_ROWS:
        drawn = np.random.default_rng(SEED).choice(len(X_train), MOST_ROWS, replace=False)
        X_train = X_train[drawn]
    for name, rows, predict in (
        ("training rows", X_train, compiled),
        ("random rows", random_rows(contract, X_train), compiled),
        ("rows one by one", X_train[:ONE_BY_ONE], one_by_one),
    ):
        difference = find_difference(original, predict, rows, contract, training.threshold)
        if difference:
            return f"on {len(rows)} {name}, {difference}"
    return ""


def find_difference(
    original: Predict,
    compiled: Predict,
    rows: Matrix,
    contract: Contract,
    threshold: float | None,
) -> str:
    """In what two models differ: probabilities beyond 1e-6, or any label; amounts beyond 1e-9.

    That of amounts is relative to each, or to their mean size where one is smaller.
    """
    before, after = original(rows), compiled(rows)
    if not contract.classes:
        size = np.abs(before)
        with np.errstate(invalid="ignore"):
            most = float((np.abs(before - after) / np.maximum(size, size.mean(axis=0))).max())
        return "" if most <= RELATIVE else f"amounts differ by up to {most:.2g} of their size"
    with np.errstate(invalid="ignore"):  # a NaN is a difference
        most = float(np.abs(before - after).max())
    if not most <= TOLERANCE:  # or NaN
        return f"probabilities differ by up to {most:.2g}"
    target = target_of(contract)
    labels = (target.answers(answer, threshold)["label"] for answer in (before, after))
    changed = sum(one != other for one, other in zip(*labels, strict=True))
    return f"{changed} labels differ" if changed else ""
