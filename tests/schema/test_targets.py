"""What holds for every task: one suite over the table TARGETS."""

import numpy as np
import pytest
from mlflow.types import DataType

from pipeline.inference.mlflow_flavor import signature
from pipeline.schema.columns import NumberColumn
from pipeline.schema.contract import Contract
from pipeline.schema.targets import TARGETS, target_of
from pipeline.tasks import TASKS

PROBABILITIES = {
    "binary": np.array([[0.7, 0.3], [0.6, 0.4], [0.1, 0.9]]),
    "multiclass": np.array([[0.2, 0.5, 0.3], [0.4, 0.4, 0.2], [0.1, 0.2, 0.7]]),
}
CASES = [
    ("binary", (0, 1), 1),
    ("binary", (0, 1), 0),
    ("binary", (False, True), True),
    ("binary", ("no", "yes"), "no"),
    ("multiclass", (3, 5, 8), None),
    ("multiclass", ("a", "b", "c"), None),
]


def make_contract(classes, positive):
    return Contract(columns={"x": NumberColumn()}, target="y", classes=classes, positive=positive)


@pytest.fixture(params=CASES, ids=str)
def case(request):
    """The contract and probabilities of three rows."""
    task, classes, positive = request.param
    return make_contract(classes, positive), PROBABILITIES[task]


def test_every_task_is_among_the_cases():
    assert {task for task, *_ in CASES} == set(TARGETS) == set(TASKS)


def test_answers_signature_and_schema_have_the_same_columns(case):
    contract, probabilities = case
    target = target_of(contract)

    answers = target.answers(probabilities, None)

    names = [column.name for column in target.columns]
    assert list(answers) == names
    assert signature(contract, None).outputs.input_names() == names
    assert all(len(values) == len(probabilities) for values in answers.values())


def test_answers_are_of_the_types_that_signature_and_schema_name(case):
    contract, probabilities = case
    target = target_of(contract)
    types = {"boolean": bool, "integer": int, "string": str, "number": float}

    for column, values in zip(
        target.columns, target.answers(probabilities, None).values(), strict=True
    ):
        assert {type(value) for value in values} == {types[column.json_schema["type"]]}
        assert set(values) <= set(column.json_schema.get("enum", values))
        assert DataType[column.mlflow_type].to_python() is types[column.json_schema["type"]]


def test_no_rows_have_the_same_columns(case):
    contract, probabilities = case
    target = target_of(contract)

    answers = target.answers(probabilities[:0], None)

    assert answers == {column.name: [] for column in target.columns}
    assert target.explained(probabilities[:0]) == []


@pytest.mark.parametrize(("threshold", "labels"), [(None, "nny"), (0.4, "nyy"), (0.95, "nnn")])
def test_label_of_two_classes_is_the_positive_one_from_the_threshold_on(threshold, labels):
    target = target_of(make_contract(("n", "y"), "y"))

    answers = target.answers(PROBABILITIES["binary"], threshold)

    assert answers == {"label": list(labels), "probability": [0.3, 0.4, 0.9]}
    assert target.explained(PROBABILITIES["binary"]) == [1, 1, 1]


def test_label_of_more_classes_is_the_first_of_the_likeliest():
    target = target_of(make_contract(("a", "b", "c"), None))

    answers = target.answers(PROBABILITIES["multiclass"], None)

    assert answers["label"] == ["b", "a", "c"]
    assert answers["probability"] == [0.5, 0.4, 0.7]
    assert answers["probability_c"] == [0.3, 0.2, 0.7]
    assert target.explained(PROBABILITIES["multiclass"]) == [1, 0, 2]
