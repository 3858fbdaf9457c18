"""From checked rows to answers, on plain arrays: what both doors of the served model share."""

import json
import pickle
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pipeline.errors import ContractError, ModelError
from pipeline.inference import compiled, explain
from pipeline.inference.compiled import Predict
from pipeline.inference.linear import Linear
from pipeline.schema.contract import MOST_FAULTS, Contract, Fault, Matrix, Rules, broken

CONTRACT = "contract.json"
SERVED = "served.json"  # threshold, reference row, versions, a collapsed model
GRAPH = "compiled.onnx"
PICKLE = "model.pkl"
# MLflow's own serving_input_example.json has NaN for a gap, which is not JSON.
EXAMPLE, EXAMPLE_ANSWER = "request_example.json", "answer_example.json"
LIBRARIES = ("scikit-learn", "numpy")
MOST_EXPLAINED = 100  # rows of a request
TOO_LARGE = "is larger than in all rows of the training part, and has no finite answer"
PARAMS: Mapping[str, tuple[type, ...]] = {
    "threshold": (float, int),
    "version": (bool,),
    "explain": (bool,),
}


@dataclass(frozen=True)
class Params:
    """What a request may ask for."""

    threshold: float | None = None
    version: bool = False
    explain: bool = False


class Trained(NamedTuple):
    """What answers depend on beside the classifier, from the training part.

    `threshold` is None with more than two classes; `reference` and `magnitude` hold one number
    per column: the median, and the largest absolute value.
    """

    threshold: float | None
    reference: Matrix
    magnitude: Matrix


class Scorer:
    """A contract and a classifier behind it.

    `trained` is what the training part says of itself; `predict` maps a matrix with NaN for
    missing values to probabilities.
    """

    def __init__(
        self, contract: Contract, predict: Predict, trained: Trained, identity: Mapping[str, str]
    ) -> None:
        self.contract = contract
        self.rules = Rules(contract.columns)
        self.predict = predict
        self.trained = trained
        self.threshold = threshold = trained.threshold
        self.reference = trained.reference
        self.identity = identity
        self.is_compiled = False
        self._threshold = 0.5 if threshold is None else threshold
        self._positive = contract.positive_index

    def params(self, given: Mapping[str, Any]) -> Params:
        """The params of a request. Raises ContractError for what is unknown or out of range."""
        known = [name for name in PARAMS if name != "threshold" or self.threshold is not None]
        for name, value in given.items():
            if name not in known:
                raise ContractError(f"params may hold {', '.join(known)} only", "params")
            if value is not None and type(value) not in PARAMS[name]:
                kind = "a number" if name == "threshold" else "true or false"
                raise ContractError(f"params.{name} must be {kind}", "params")
        threshold = given.get("threshold")
        if threshold is not None and not 0 <= threshold <= 1:
            raise ContractError("params.threshold must be between 0 and 1", "params")
        return Params(**{name: value for name, value in given.items() if value is not None})

    def answers(self, X: Matrix, params: Params) -> dict[str, list[Any]]:
        """Columns of answers for rows that `Rules.apply` has let through, in their order.

        Raises ContractError for rows with numbers so large that an answer is not finite, or that
        the classifier raises, and ModelError where an answer is not finite for other reasons.
        """
        try:
            return self._answers(X, params)
        except (ContractError, ModelError):
            raise
        except Exception:  # whatever a classifier raises: of 1e39, where it works in floats
            self._check_magnitude(X)
            raise

    def _answers(self, X: Matrix, params: Params) -> dict[str, list[Any]]:
        probabilities = self.predict(X)
        self._check_finite(X, probabilities)
        positive = self._positive
        classes = self.contract.classes
        columns: dict[str, list[Any]]
        if positive is None:
            places = probabilities.argmax(axis=1).tolist()
            columns = {
                "label": [classes[place] for place in places],
                "probability": probabilities.max(axis=1, initial=0.0).tolist(),
            }
            for place, label in enumerate(classes):
                columns[f"probability_{label}"] = probabilities[:, place].tolist()
        else:
            threshold = self._threshold if params.threshold is None else params.threshold
            no, yes = classes[1 - positive], classes[positive]
            probability = probabilities[:, positive].tolist()
            columns = {
                "label": [yes if p >= threshold else no for p in probability],
                "probability": probability,
            }
            places = [positive] * len(X)
        if params.explain:
            columns |= self._explanations(X, places)
        if params.version:
            columns |= {name: [text] * len(X) for name, text in self.identity.items()}
        return columns

    def _explanations(self, X: Matrix, places: list[int]) -> dict[str, list[Any]]:
        """In log-odds of the class in each row's place: the positive one, or the label's own."""
        if len(X) > MOST_EXPLAINED:
            raise ContractError(f"params.explain takes at most {MOST_EXPLAINED} rows", "params")
        told: dict[str, list[Any]] = {"base": [], "contributions": []}
        names = list(self.contract.columns)
        for row, place in zip(X, places, strict=True):

            def value(rows: Matrix, target: int = place) -> Matrix:
                return explain.log_odds(self.predict(rows)[:, target])

            shares = explain.contributions(value, row, self.reference)
            self._check_finite(X, shares)
            told["base"].append(float(value(self.reference[None])[0]))
            told["contributions"].append(dict(zip(names, shares.tolist(), strict=True)))
        return told

    def _check_finite(self, X: Matrix, numbers: Matrix) -> None:
        """Raises ContractError, or ModelError where the rows of `X` are not the cause."""
        if not isfinite(numbers.sum()):
            self._check_magnitude(X)
            raise ModelError("the model's answer is not a finite number; train another one")

    def _check_magnitude(self, X: Matrix) -> None:
        """Raises ContractError for numbers that are larger than all of the training part."""
        names = list(self.contract.columns)
        faults = [
            Fault(int(row) + 1, names[place], TOO_LARGE, "", "finite")
            for row, place in np.argwhere(np.abs(X) > self.trained.magnitude)[: MOST_FAULTS + 1]
        ]
        if faults:
            raise broken(faults)


def records(columns: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """One dict per row of what `Scorer.answers` gives."""
    if len(columns) == 2:  # the usual two, in half the time
        (one, ones), (other, others) = columns.items()
        return [{one: a, other: b} for a, b in zip(ones, others, strict=True)]
    names = list(columns)
    return [dict(zip(names, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def describe(
    threshold: float | None, X_train: Matrix, linear: Linear | None = None
) -> dict[str, Any]:
    """What `load` wants to know beyond the contract and the classifier, as plain data."""
    return {
        "threshold": threshold,
        "reference": np.nanmedian(X_train, axis=0).tolist(),
        "magnitude": np.nanmax(np.abs(X_train), axis=0).tolist(),
        "trained_with": _versions(),
        "linear": asdict(linear) if linear else None,
    }


def load(folder: Path, identity: Mapping[str, str] | None = None, unpickle: bool = True) -> Scorer:
    """The scorer of a model's folder; unpickles only what is not compiled.

    With `unpickle=False`, not there either: such a scorer knows the contract, but no answers.
    Raises ModelError under another Python, scikit-learn or NumPy than the model was trained with.
    """
    served = json.loads((folder / SERVED).read_text("utf-8"))
    _check_versions(served["trained_with"])
    contract = Contract.model_validate_json((folder / CONTRACT).read_text("utf-8"))
    has_graph = (folder / GRAPH).exists()
    linear = served.get("linear")
    predict: Predict
    if linear:
        predict = Linear(**linear).predict_proba
    elif has_graph:
        predict = compiled.load(folder / GRAPH)
    else:
        predict = _unpickle(folder, contract) if unpickle else _no_answers
    scorer = _of_description(contract, predict, served, identity or {})
    scorer.is_compiled = has_graph or bool(linear)
    return scorer


def of_model(model: Any, contract: Contract, served: Mapping[str, Any]) -> Scorer:
    """The scorer of a fitted scikit-learn classifier."""
    return _of_description(contract, by_frames(model, contract), served, {})


def _of_description(
    contract: Contract, predict: Predict, served: Mapping[str, Any], identity: Mapping[str, str]
) -> Scorer:
    reference = np.array(served["reference"])
    # Models that were logged before it was written down: any number may be too large.
    magnitude = np.array(served.get("magnitude", np.zeros_like(reference)))
    trained = Trained(served["threshold"], reference, magnitude)
    return Scorer(contract, predict, trained, identity)


def _unpickle(folder: Path, contract: Contract) -> Predict:
    code = str(folder / "code")
    if code not in sys.path:
        sys.path.append(code)  # modules of the user's; last, or it would hide the project's own
    with (folder / PICKLE).open("rb") as file:
        return by_frames(pickle.load(file), contract)


def _no_answers(_: Matrix) -> Matrix:
    raise RuntimeError("the model was not unpickled")


def by_frames(model: Any, contract: Contract) -> Predict:
    """A classifier that wants named columns, asked by matrices; no rows are no trouble."""
    import pandas as pd  # with scikit-learn: a compiled model does without

    names = list(contract.columns)

    def predict(X: Matrix) -> Matrix:
        if not len(X):  # scikit-learn refuses no rows
            return np.empty((0, len(contract.classes)))
        probabilities: Matrix = model.predict_proba(pd.DataFrame(X, columns=names))
        return probabilities

    return predict


def _versions() -> dict[str, str]:
    python = ".".join(platform.python_version_tuple()[:2])  # a pickle holds across patches
    return {"Python": python, **{name: version(name) for name in LIBRARIES}}


def _check_versions(trained_with: Mapping[str, str]) -> None:
    here = _versions()
    other = {name: now for name, now in here.items() if trained_with.get(name) != now}
    if other:
        was = ", ".join(f"{name} {trained_with.get(name)}" for name in other)
        now = ", ".join(f"{name} {text}" for name, text in other.items())
        raise ModelError(
            f"the model was trained with {was}, and this is {now}; "
            "serve it from the environment of its requirements.txt, or train it again"
        )
