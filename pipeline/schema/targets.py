"""What is predicted, and what an answer about it holds: one row for each task.

The answers of the predictor, MLflow's signature and the OpenAPI schema all follow from these.
"""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

from pipeline.schema import json_schema
from pipeline.schema.contract import Contract, Label
from pipeline.schema.matrix import Matrix
from pipeline.tasks import TaskName

MLFLOW_TYPES = {bool: "boolean", int: "long", str: "string"}  # of a label
HALF = 0.5  # the threshold of a model that has none


class AnswerColumn(NamedTuple):
    """A column of the answers, with its type in MLflow's signature and its JSON Schema."""

    name: str
    mlflow_type: str
    json_schema: dict[str, Any]


class Target(Protocol):
    """What follows from the target of a contract."""

    columns: tuple[AnswerColumn, ...]

    def answers(self, probabilities: Matrix, threshold: float | None) -> dict[str, list[Any]]:
        """The columns' values, one per row of the probabilities (rows x classes)."""

    def explained(self, probabilities: Matrix) -> list[int]:
        """The place of the class of which each row's probability is explained."""


class Binary(Target):
    """Two classes: the positive one's probability, and the label from a threshold on it."""

    def __init__(self, contract: Contract) -> None:
        positive = contract.positive_index
        assert positive is not None
        self.columns = (_label(contract.classes), _probability("probability"))
        self._positive = positive
        self._labels = contract.classes[1 - positive], contract.classes[positive]

    def answers(self, probabilities: Matrix, threshold: float | None) -> dict[str, list[Any]]:
        """The label is the positive class where its probability reaches the threshold."""
        threshold = HALF if threshold is None else threshold
        negative, positive = self._labels
        probability = probabilities[:, self._positive].tolist()
        label = [positive if p >= threshold else negative for p in probability]
        return {"label": label, "probability": probability}

    def explained(self, probabilities: Matrix) -> list[int]:
        """The positive class's, whatever the label."""
        return [self._positive] * len(probabilities)


class Multiclass(Target):
    """More classes: the likeliest as the label, its probability, and that of each class."""

    def __init__(self, contract: Contract) -> None:
        self._classes = contract.classes
        self._names = [f"probability_{label}" for label in contract.classes]
        self.columns = (
            _label(contract.classes),
            *(_probability(name) for name in ("probability", *self._names)),
        )

    def answers(
        self,
        probabilities: Matrix,
        threshold: float | None,
    ) -> dict[str, list[Any]]:
        """No threshold counts: the label is the first of the likeliest classes."""
        return {
            "label": [self._classes[place] for place in self.explained(probabilities)],
            "probability": probabilities.max(axis=1, initial=0.0).tolist(),
            **dict(zip(self._names, probabilities.T.tolist(), strict=True)),
        }

    def explained(self, probabilities: Matrix) -> list[int]:
        """The label's."""
        places: list[int] = probabilities.argmax(axis=1).tolist()
        return places


TARGETS: Mapping[TaskName, Callable[[Contract], Target]] = MappingProxyType(
    {"binary": Binary, "multiclass": Multiclass}
)


def target_of(contract: Contract) -> Target:
    """What follows from the contract's target."""
    return TARGETS[contract.task.name](contract)


def _label(classes: Sequence[Label]) -> AnswerColumn:
    return AnswerColumn("label", MLFLOW_TYPES[type(classes[0])], json_schema.enum(classes))


def _probability(name: str) -> AnswerColumn:
    return AnswerColumn(name, "double", {"type": "number", "minimum": 0, "maximum": 1})
