import json

import pytest

from pipeline.schema.columns import NumberColumn
from pipeline.schema.contract import Contract

AGE = {"Age": NumberColumn(unit="years", range=(18, 120))}


@pytest.mark.parametrize(
    ("classes", "positive", "place", "task"),
    [
        ((0, 1), 1, 1, "binary"),
        ((0, 1), 0, 0, "binary"),
        ((False, True), True, 1, "binary"),
        (("no", "yes"), "no", 0, "binary"),
        (("1", "2"), "2", 1, "binary"),
        ((0, 1, 2), None, None, "multiclass"),
        ((), None, None, "regression"),
    ],
)
def test_contract_survives_json_with_the_types_of_its_classes(classes, positive, place, task):
    before = Contract(columns=AGE, target="y", classes=classes, positive=positive)

    after = Contract.model_validate_json(before.model_dump_json())

    assert after == before
    assert [type(label) for label in after.classes] == [type(label) for label in classes]
    assert type(after.positive) is type(positive)
    assert (after.positive_index, after.task.name) == (place, task)


def test_contract_of_a_version_without_kinds_is_read():
    column = {"meaning": "", "unit": "years", "range": [18, 120], "missing": 0, "optional": False}
    contract = {"columns": {"Age": column}, "target": "y", "classes": [0, 1], "positive": 1}

    read = Contract.model_validate_json(json.dumps(contract))

    assert read.columns == {"Age": NumberColumn(unit="years", range=(18, 120), missing=0)}
