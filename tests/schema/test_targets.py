"""What holds for every task: one suite over the table TARGETS."""

import numpy as np
import pytest
from mlflow.types import DataType

from pipeline.errors import ContractError
from pipeline.inference.mlflow_flavor import signature
from pipeline.schema.columns import NumberColumn
from pipeline.schema.contract import Contract
from pipeline.schema.targets import TARGETS, target_of
from pipeline.tasks import TASKS

SCORES = np.linspace(-2, 3, 39).tolist()  # of the intervals around amounts
OUTPUTS = {
    "binary": np.array([[0.7, 0.3], [0.6, 0.4], [0.1, 0.9]]),
    "multiclass": np.array([[0.2, 0.5, 0.3], [0.4, 0.4, 0.2], [0.1, 0.2, 0.7]]),
    "regression": np.array([[150.0, 20.0], [-3.5, 1.0], [0.0, 0.5]]),
}
CASES = [
    ("binary", (0, 1), 1),
    ("binary", (0, 1), 0),
    ("binary", (False, True), True),
    ("binary", ("no", "yes"), "no"),
    ("multiclass", (3, 5, 8), None),
    ("multiclass", ("a", "b", "c"), None),
    ("regression", (), None),
]


def make_contract(classes, positive):
    return Contract(columns={"x": NumberColumn()}, target="y", classes=classes, positive=positive)


@pytest.fixture(params=CASES, ids=str)
def case(request):
    """The contract and what a model gives for three rows."""
    task, classes, positive = request.param
    return make_contract(classes, positive), OUTPUTS[task]


def test_every_task_is_among_the_cases():
    assert {task for task, *_ in CASES} == set(TARGETS) == set(TASKS)


def test_answers_signature_and_schema_have_the_same_columns(case):
    contract, outputs = case
    target = target_of(contract, None, SCORES)

    answers = target.answers(outputs, None)

    names = [column.name for column in target.columns]
    assert list(answers) == names
    assert signature(contract, None).outputs.input_names() == names
    assert all(len(values) == len(outputs) for values in answers.values())


def test_answers_are_of_the_types_that_signature_and_schema_name(case):
    contract, outputs = case
    target = target_of(contract, None, SCORES)
    types = {"boolean": bool, "integer": int, "string": str, "number": float}

    for column, values in zip(target.columns, target.answers(outputs, None).values(), strict=True):
        assert {type(value) for value in values} == {types[column.json_schema["type"]]}
        assert set(values) <= set(column.json_schema.get("enum", values))
        assert DataType[column.mlflow_type].to_python() is types[column.json_schema["type"]]


def test_arrays_hold_the_answers_with_the_default_setting(case):
    contract, outputs = case
    target = target_of(contract, 0.4 if contract.positive is not None else None, SCORES)

    arrays = {name: values.tolist() for name, values in target.arrays(outputs).items()}

    assert arrays == target.answers(outputs, None)


def test_no_rows_have_the_same_columns(case):
    contract, outputs = case
    target = target_of(contract, None, SCORES)

    answers = target.answers(outputs[:0], None)

    assert answers == {column.name: [] for column in target.columns}
    assert target.explained(outputs[:0]) == []


@pytest.mark.parametrize(("threshold", "labels"), [(None, "nny"), (0.4, "nyy"), (0.95, "nnn")])
def test_label_of_two_classes_is_the_positive_one_from_the_threshold_on(threshold, labels):
    target = target_of(make_contract(("n", "y"), "y"))

    answers = target.answers(OUTPUTS["binary"], threshold)

    assert answers == {"label": list(labels), "probability": [0.3, 0.4, 0.9]}
    assert target.explained(OUTPUTS["binary"]) == [1, 1, 1]


def test_label_of_more_classes_is_the_first_of_the_likeliest():
    target = target_of(make_contract(("a", "b", "c"), None))

    answers = target.answers(OUTPUTS["multiclass"], None)

    assert answers["label"] == ["b", "a", "c"]
    assert answers["probability"] == [0.5, 0.4, 0.7]
    assert answers["probability_c"] == [0.3, 0.2, 0.7]
    assert target.explained(OUTPUTS["multiclass"]) == [1, 0, 2]


@pytest.mark.parametrize(
    ("coverage", "place"), [(None, 2), (0.9, 2), (0.95, 1), (0.94, 1), (0.5, 10), (0.01, 19)]
)
def test_interval_reaches_to_the_scores_beyond_which_half_of_the_rest_lies(coverage, place):
    target = target_of(make_contract((), None), None, SCORES)

    answers = target.answers(OUTPUTS["regression"], coverage)

    assert answers["value"] == [150.0, -3.5, 0.0]
    low, high = SCORES[place - 1], SCORES[-place]
    low = min(low, 0)  # the interval holds the value
    assert answers["low"] == pytest.approx([150 + 20 * low, -3.5 + low, low / 2])
    assert answers["high"] == pytest.approx([150 + 20 * high, -3.5 + high, high / 2])


def test_answers_stay_within_the_targets_range():
    contract = make_contract((), None).model_copy(update={"target_range": (-4.0, 160.0)})

    answers = target_of(contract, None, SCORES).answers(OUTPUTS["regression"], 0.9)

    assert answers["high"][0] == 160
    assert answers["low"][1] == -4
    assert answers["value"] == [150.0, -3.5, 0.0]


@pytest.mark.parametrize("coverage", [0, -0.1, 1, 1.5, 0.951])
def test_coverage_that_the_scores_do_not_bear_is_refused(coverage):
    setting = target_of(make_contract((), None), None, SCORES).setting

    with pytest.raises(ContractError, match=r"params.coverage .* at most 0.95: .* 39 rows"):
        setting.check(coverage)
    setting.check(0.95)
    assert setting.json_schema["maximum"] == 0.95
