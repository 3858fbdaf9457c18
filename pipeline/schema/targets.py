"""What is predicted, and what an answer about it holds: one row for each task.

The answers of the predictor, MLflow's signature and the OpenAPI schema all follow from these.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import floor, inf, nan
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from pipeline.errors import ContractError
from pipeline.schema import json_schema
from pipeline.schema.contract import Contract, Label
from pipeline.tasks import COVERAGE, TaskName

if TYPE_CHECKING:
    from pipeline.schema.matrix import Matrix, Vector

MLFLOW_TYPES = {bool: "boolean", int: "long", str: "string"}  # of a label
HALF = 0.5  # the threshold of a model that has none
CERTAIN = 1e-12  # nearer to 0 or 1 than this, log-odds are cut off
ROUNDING = 1e-9  # of a count of scores


class AnswerColumn(NamedTuple):
    """A column of the answers, with its type in MLflow's signature and its JSON Schema."""

    name: str
    mlflow_type: str
    json_schema: dict[str, Any]


class Setting(NamedTuple):
    """The number that a request may set in `params`, within bounds that it may reach or not."""

    name: str
    default: float
    most: float = 1.0
    is_least_valid: bool = True  # 0
    usual: str = ""  # the default, for people

    def check(self, value: float) -> None:
        """Raises ContractError for a value out of range."""
        if not (0 < value <= self.most or (self.is_least_valid and value == 0)):
            raise ContractError(f"params.{self.name} must be {self.range}", "params")

    @property
    def range(self) -> str:
        """What is valid, for people."""
        if self.is_least_valid:
            return "between 0 and 1"
        rows = round(2 / (1 - self.most)) - 1
        return (
            f"above 0 and at most {self.most:.6g}: beyond that, the {rows} rows on which the "
            "intervals rest do not say how far to reach"
        )

    @property
    def json_schema(self) -> dict[str, Any]:
        """As JSON Schema has it, without the default: clients would send it to the next version."""
        least = "minimum" if self.is_least_valid else "exclusiveMinimum"
        bounds = {least: 0, "maximum": self.most if self.most < 1 else 1}
        usual = f"{self.usual}{self.default:.6g}, if not given"
        return {"type": ["number", "null"], **bounds, "description": usual}


class Target(Protocol):
    """What follows from the target of a contract."""

    columns: tuple[AnswerColumn, ...]
    setting: Setting | None

    def answers(self, outputs: Matrix, setting: float | None) -> dict[str, list[Any]]:
        """The columns' values, one per row of what the model gives (rows x outputs).

        `setting` is what the request sets, None for the default.
        """

    def arrays(self, outputs: Matrix) -> dict[str, Any]:
        """As `answers` with the default setting, in arrays: for many rows."""

    def explained(self, outputs: Matrix) -> list[int]:
        """The place of the output that is explained, of each row."""

    def scale(self, output: Vector) -> Vector:
        """Outputs in the unit in which contributions add up to them."""


def log_odds(probability: Vector) -> Vector:
    """ln(p / (1 - p)), finite."""
    p = np.clip(probability, CERTAIN, 1 - CERTAIN)
    odds: Vector = np.log(p) - np.log1p(-p)
    return odds


class _Classes(Target):
    """What all targets of classes have: their outputs are probabilities, one per class."""

    def scale(self, output: Vector) -> Vector:
        """In log-odds."""
        return log_odds(output)


class Binary(_Classes):
    """Two classes: the positive one's probability, and the label from a threshold on it."""

    def __init__(self, contract: Contract, threshold: float | None = None, _: Any = ()) -> None:
        positive = contract.positive_index
        assert positive is not None
        self.columns = (_label(contract.classes), _probability("probability"))
        self._positive = positive
        self._labels = contract.classes[1 - positive], contract.classes[positive]
        self.setting = None
        if threshold is not None:
            self.setting = Setting("threshold", threshold, usual="the model's own, ")
        self._threshold = HALF if threshold is None else threshold

    def answers(self, outputs: Matrix, setting: float | None) -> dict[str, list[Any]]:
        """The label is the positive class where its probability reaches the threshold."""
        threshold = self._threshold if setting is None else setting
        negative, positive = self._labels
        probability = outputs[:, self._positive].tolist()
        label = [positive if p >= threshold else negative for p in probability]
        return {"label": label, "probability": probability}

    def arrays(self, outputs: Matrix) -> dict[str, Any]:
        """As `answers`, which is quicker for one row."""
        probability = outputs[:, self._positive]
        places = (probability >= self._threshold).astype(np.intp)
        return {"label": np.array(self._labels)[places], "probability": probability}

    def explained(self, outputs: Matrix) -> list[int]:
        """The positive class's, whatever the label."""
        return [self._positive] * len(outputs)


class Multiclass(_Classes):
    """More classes: the likeliest as the label, its probability, and that of each class."""

    setting = None

    def __init__(self, contract: Contract, *_: Any) -> None:
        self._classes = np.array(contract.classes)
        self._names = [f"probability_{label}" for label in contract.classes]
        self.columns = (
            _label(contract.classes),
            *(_probability(name) for name in ("probability", *self._names)),
        )

    def answers(self, outputs: Matrix, setting: float | None) -> dict[str, list[Any]]:
        """No threshold counts: the label is the first of the likeliest classes."""
        return {name: values.tolist() for name, values in self.arrays(outputs).items()}

    def arrays(self, outputs: Matrix) -> dict[str, Any]:
        """As `answers`."""
        return {
            "label": self._classes[outputs.argmax(axis=1)],
            "probability": outputs.max(axis=1, initial=0.0),
            **dict(zip(self._names, outputs.T, strict=True)),
        }

    def explained(self, outputs: Matrix) -> list[int]:
        """The label's."""
        places: list[int] = outputs.argmax(axis=1).tolist()
        return places


class Amount(Target):
    """An amount with an interval around it, which holds the truth with the coverage asked for.

    A model gives each row's value and its difficulty, the size of error to be expected. `scores`
    are errors (true minus predicted) over difficulties of rows that the model was not trained on,
    sorted; the interval reaches as many difficulties to either side as the quantiles of the scores
    say (normalized conformal prediction: Papadopoulos, Gammerman and Vovk 2008; Lei et al. 2018,
    section 5.2; with each tail apart as in Romano, Patterson and Candes 2019, theorem 2). Without
    scores there is no interval, and its bounds are NaN.
    """

    def __init__(self, contract: Contract, _: Any = None, scores: Sequence[float] = ()) -> None:
        low, high = contract.target_range
        self._range = -inf if low is None else low, inf if high is None else high
        self._scores = scores
        bounds = {"minimum": low, "maximum": high}
        schema = {"type": "number", **{key: v for key, v in bounds.items() if v is not None}}
        self.columns = tuple(
            AnswerColumn(name, "double", schema) for name in ("value", "low", "high")
        )
        most = max(1 - 2 / (len(scores) + 1), 0.0)
        self.setting = Setting("coverage", COVERAGE, most, is_least_valid=False)

    def answers(self, outputs: Matrix, setting: float | None) -> dict[str, list[Any]]:
        """The value and the interval of that coverage, within the target's range."""
        parts = self.bounds(outputs, COVERAGE if setting is None else setting)
        names = (column.name for column in self.columns)
        return {name: part.tolist() for name, part in zip(names, parts, strict=True)}

    def arrays(self, outputs: Matrix) -> dict[str, Any]:
        """As `answers`."""
        names = (column.name for column in self.columns)
        return dict(zip(names, self.bounds(outputs, COVERAGE), strict=True))

    def bounds(self, outputs: Matrix, coverage: float) -> tuple[Vector, Vector, Vector]:
        """Value, low and high of each row."""
        value = outputs[:, 0]
        low, high = (value + factor * outputs[:, -1] for factor in self.factors(coverage))
        low, high = np.minimum(low, value), np.maximum(high, value)
        value, low, high = (np.clip(one, *self._range) for one in (value, low, high))
        return value, low, high

    def factors(self, coverage: float) -> tuple[float, float]:
        """Of the n scores the k-th smallest and the k-th largest, k (n + 1) (1 - coverage) / 2.

        Rounded down; NaN without scores.
        """
        place = floor((len(self._scores) + 1) * (1 - coverage) / 2 + ROUNDING)
        if not place:
            return nan, nan
        return float(self._scores[place - 1]), float(self._scores[-place])

    def explained(self, outputs: Matrix) -> list[int]:
        """The value."""
        return [0] * len(outputs)

    def scale(self, output: Vector) -> Vector:
        """As it is."""
        return output


TARGETS: Mapping[TaskName, Callable[..., Target]] = MappingProxyType(
    {"binary": Binary, "multiclass": Multiclass, "regression": Amount}
)


def target_of(
    contract: Contract, threshold: float | None = None, scores: Sequence[float] = ()
) -> Target:
    """What follows from the contract's target, and from the model's threshold or scores."""
    return TARGETS[contract.task.name](contract, threshold, scores)


def _label(classes: Sequence[Label]) -> AnswerColumn:
    return AnswerColumn("label", MLFLOW_TYPES[type(classes[0])], json_schema.enum(classes))


def _probability(name: str) -> AnswerColumn:
    return AnswerColumn(name, "double", {"type": "number", "minimum": 0, "maximum": 1})
