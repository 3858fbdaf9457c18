import json

import pytest

from pipeline.schema.columns import Column
from pipeline.schema.contract import Contract

AGE = {"Age": Column(unit="years", range=(18, 120))}


@pytest.mark.parametrize(
    ("classes", "positive", "place", "task"),
    [
        ((0, 1), 1, 1, "binary"),
        ((0, 1), 0, 0, "binary"),
        ((False, True), True, 1, "binary"),
        (("no", "yes"), "no", 0, "binary"),
        (("1", "2"), "2", 1, "binary"),
        ((0, 1, 2), None, None, "multiclass"),
    ],
)
def test_contract_survives_json_with_the_types_of_its_classes(classes, positive, place, task):
    before = Contract(columns=AGE, target="y", classes=classes, positive=positive)

    after = Contract.model_validate_json(before.model_dump_json())

    assert after == before
    assert [type(label) for label in after.classes] == [type(label) for label in classes]
    assert type(after.positive) is type(positive)
    assert (after.positive_index, after.task.name) == (place, task)


def test_kind_of_a_column_is_not_written_while_there_is_one():
    """Else contracts and fingerprints of earlier versions would differ."""
    contract = Contract(columns=AGE, target="y", classes=(0, 1), positive=1)

    (column,) = json.loads(contract.model_dump_json())["columns"].values()

    assert list(column) == ["meaning", "unit", "range", "missing", "optional"]
    assert contract.columns["Age"].kind == "number"
