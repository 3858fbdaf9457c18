"""From checked rows to answers, on plain arrays: what both doors of the served model share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ContractError, ModelError
from pipeline.inference import explain
from pipeline.inference.runtimes import Predict
from pipeline.schema.contract import Contract
from pipeline.schema.faults import MOST_FAULTS, Fault, contract_error
from pipeline.schema.kinds import kind_of
from pipeline.schema.matrix import Matrix
from pipeline.schema.rules import Rules
from pipeline.schema.targets import target_of

MOST_EXPLAINED = 100  # rows of a request
TOO_LARGE = "is larger than in all rows of the training part, and has no finite answer"
FLAGS = ("version", "explain")
LABEL_NAME = "label_name"  # of an answer: what data.labels calls its label


@dataclass(frozen=True)
class Params:
    """What a request may ask for."""

    threshold: float | None = None
    coverage: float | None = None
    version: bool = False
    explain: bool = False
    labels: bool = False

    @property
    def setting(self) -> float | None:
        """The number that the target takes, of which it has one at most."""
        return self.threshold if self.coverage is None else self.coverage


class Trained(NamedTuple):
    """What answers depend on beside the classifier, from the training part.

    `threshold` is None but with two classes; `reference` and `magnitude` hold one number per
    column: a usual value (of numbers the median, of texts none), and the largest absolute value.
    `scores` are those of the intervals around amounts, sorted; `class_names` are those of
    `data.labels`, in the order of the classes, and none without it.
    """

    threshold: float | None
    reference: Matrix
    magnitude: Matrix
    scores: Sequence[float] = ()
    class_names: Sequence[str] = ()

    @classmethod
    def on(
        cls,
        contract: Contract,
        X_train: Matrix,
        threshold: float | None,
        scores: Sequence[float] = (),
        class_names: Sequence[str] = (),
    ) -> "Trained":
        """Measured on the training part (rows x columns, NaN where a value is missing)."""
        numbers = Rules(contract.columns).numbers(X_train)
        usual = [
            kind_of(column).reference(column, values)
            for column, values in zip(contract.columns.values(), numbers.T, strict=True)
        ]
        magnitude = np.nanmax(np.abs(numbers), axis=0, initial=0.0)
        return cls(threshold, np.array(usual), magnitude, scores, class_names)


class Predictor:
    """A contract and a model behind it.

    `predict` maps a matrix with NaN for missing values to probabilities, or to amounts and their
    difficulties; `model_version` holds the name and the version of the model, as answers show
    them on request.
    """

    def __init__(
        self,
        contract: Contract,
        predict: Predict,
        trained: Trained,
        model_version: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.contract = contract
        self.rules = Rules(contract.columns)
        self.target = target_of(contract, trained.threshold, trained.scores)
        self.predict = predict
        self.trained = trained
        self.threshold = trained.threshold
        self.reference = trained.reference
        self.model_version = model_version
        self.is_compiled = False

    def params(self, given: Mapping[str, Any]) -> Params:
        """The params of a request. Raises ContractError for what is unknown or out of range."""
        setting = self.target.setting
        flags = flags_of(self.trained.class_names)
        allowed = (*([setting.name] if setting else []), *flags)
        for name, value in given.items():
            if name not in allowed:
                raise ContractError(f"params may hold {', '.join(allowed)} only", "params")
            if value is not None and type(value) not in (
                (bool,) if name in flags else (float, int)
            ):
                noun = "true or false" if name in flags else "a number"
                raise ContractError(f"params.{name} must be {noun}", "params")
        asked = {name: value for name, value in given.items() if value is not None}
        if setting and setting.name in asked:
            setting.check(asked[setting.name])
        return Params(**asked)

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

    def outputs(self, X: Matrix) -> Matrix:
        """What the model gives for each row, from which the answers follow (rows x outputs).

        Raises ContractError, ModelError where one is not finite.
        """
        outputs = self.predict(X)
        self._check_finite(X, outputs)
        return outputs

    def _answers(self, X: Matrix, params: Params) -> dict[str, list[Any]]:
        outputs = self.outputs(X)
        columns = self.target.answers(outputs, params.setting)
        if params.labels:
            names = dict(zip(self.contract.classes, self.trained.class_names, strict=True))
            columns |= {LABEL_NAME: [names[label] for label in columns["label"]]}
        if params.explain:
            columns |= self._explanations(X, self.target.explained(outputs))
        if params.version:
            columns |= {name: [text] * len(X) for name, text in self.model_version.items()}
        return columns

    def _explanations(self, X: Matrix, places: list[int]) -> dict[str, list[Any]]:
        """Of the output in each row's place: in log-odds of a class, or in the target's unit."""
        if len(X) > MOST_EXPLAINED:
            raise ContractError(f"params.explain takes at most {MOST_EXPLAINED} rows", "params")
        columns: dict[str, list[Any]] = {"base": [], "contributions": []}
        names = list(self.contract.columns)
        for row, place in zip(X, places, strict=True):

            def value(rows: Matrix, target: int = place) -> Matrix:
                return self.target.scale(self.predict(rows)[:, target])

            shares = explain.contributions(value, row, self.reference)
            self._check_finite(X, shares)
            columns["base"].append(float(value(self.reference[None])[0]))
            columns["contributions"].append(dict(zip(names, shares.tolist(), strict=True)))
        return columns

    def _check_finite(self, X: Matrix, numbers: Matrix) -> None:
        """Raises ContractError, or ModelError where the rows of `X` are not the cause."""
        if not isfinite(numbers.sum()):
            self._check_magnitude(X)
            raise ModelError("the model's answer is not a finite number; train another one")

    def is_large(self, X: Matrix) -> NDArray[np.bool_]:
        """Which numbers are larger than all of their column in the training part."""
        large: NDArray[np.bool_] = np.abs(self.rules.numbers(X)) > self.trained.magnitude
        return large

    def _check_magnitude(self, X: Matrix) -> None:
        """Raises ContractError for numbers that are larger than all of the training part."""
        names = list(self.contract.columns)
        faults = [
            Fault(int(row) + 1, names[place], TOO_LARGE, "", "finite")
            for row, place in np.argwhere(self.is_large(X))[: MOST_FAULTS + 1]
        ]
        if faults:
            raise contract_error(faults)


def flags_of(class_names: Sequence[str]) -> tuple[str, ...]:
    """The params that are true or false, of a model whose classes have those names."""
    return (*FLAGS, "labels") if class_names else FLAGS


def records(columns: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """One dict per row of what `Predictor.answers` gives."""
    if len(columns) == 2:  # the usual two, in half the time
        (one, ones), (other, others) = columns.items()
        return [{one: a, other: b} for a, b in zip(ones, others, strict=True)]
    names = list(columns)
    return [dict(zip(names, row, strict=True)) for row in zip(*columns.values(), strict=True)]
