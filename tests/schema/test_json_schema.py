"""The schemas of cells, in the forms of which generators of clients make types."""

import pytest

from pipeline.schema import json_schema
from pipeline.schema.columns import (
    BooleanColumn,
    CategoryColumn,
    DateColumn,
    IntegerColumn,
    NumberColumn,
    OrdinalColumn,
)
from pipeline.schema.kinds import kind_of

WHOLE, TEXT = {"type": "integer"}, {"type": "string"}


def only(kind, number):
    """As a range: generators take no enum of fractions."""
    return {"type": kind, "minimum": number, "maximum": number}


@pytest.mark.parametrize(
    ("column", "choices"),
    [
        (IntegerColumn(missing=-9), [WHOLE, only("integer", -9)]),
        (IntegerColumn(missing=0.5), [WHOLE, only("number", 0.5)]),
        (NumberColumn(missing=0), [{"type": "number"}, only("number", 0)]),
        (NumberColumn(missing="n/a"), [{"type": "number"}, {**TEXT, "enum": ["n/a"]}]),
        (BooleanColumn(missing="?"), [{"type": "boolean"}, {**TEXT, "enum": ["?"]}]),
        (DateColumn(missing="?"), [TEXT, {**TEXT, "enum": ["?"]}]),
        (OrdinalColumn(levels=("s", "l")), [{**TEXT, "enum": ["s", "l"]}]),
        (OrdinalColumn(levels=(2, "l")), [{**WHOLE, "enum": [2]}, {**TEXT, "enum": ["l"]}]),
        (CategoryColumn(levels=("a", 1)), [WHOLE, TEXT]),
        (CategoryColumn(levels=(), unseen="refuse"), []),
    ],
    ids=str,
)
def test_values_marks_and_null_are_choices_of_one_type_each(column, choices):
    schema = kind_of(column).json_schema(column)
    assert schema["anyOf"] == [*choices, {"type": "null"}]
    assert json_schema.types(schema) == {"null", *(choice["type"] for choice in choices)}


@pytest.mark.parametrize(
    ("column", "kind"), [(CategoryColumn(), "string"), (CategoryColumn(levels=(1, 2)), "integer")]
)
def test_category_with_other_levels_names_some_and_takes_all(column, kind):
    schema = kind_of(column).json_schema(column)
    assert schema["type"] == [kind, "null"]
    assert schema["examples"] == list(column.levels or ())


@pytest.mark.parametrize(
    ("values", "names"),
    [
        (["yes", "no"], None),
        (["Yes", "yes"], ["VALUE_0", "VALUE_1"]),
        (["a b", "a-b", "a_b"], ["VALUE_0", "VALUE_1", "VALUE_2"]),
        ([1, -1], None),
    ],
)
def test_values_that_generators_would_name_alike_get_other_names(values, names):
    assert json_schema.enum(values).get("x-enum-varnames") == names
