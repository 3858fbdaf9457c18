import pytest
from pydantic import ValidationError

from pipeline.schema.columns import NumberColumn


def test_column_needs_no_setting():
    column = NumberColumn()

    assert column.range == (None, None)
    assert column.missing is None
    assert not column.optional


@pytest.mark.parametrize("bounds", [(0, 1), (1, 1), (None, 1), (0, None), (None, None), (-2, -1)])
def test_range_takes_ordered_and_open_bounds(bounds):
    assert NumberColumn(range=bounds).range == bounds


def test_range_with_larger_number_first_is_refused():
    with pytest.raises(ValidationError, match=r"range is \[120, 18\]; the smaller number comes"):
        NumberColumn(range=(120, 18))


@pytest.mark.parametrize(
    "settings",
    [
        {"unt": "kg"},
        {"unit": 3},
        {"range": (0,)},
        {"range": (0, 1, 2)},
        {"range": ("0", 1)},
        {"range": (0, float("inf"))},
        {"missing": True},
        {"missing": [1]},
        {"missing": float("nan")},
        {"optional": "yes"},
        {"optional": 1},
    ],
    ids=str,
)
def test_column_guesses_no_types_and_no_names(settings):
    with pytest.raises(ValidationError):
        NumberColumn(**settings)


def test_column_is_frozen():
    with pytest.raises(ValidationError, match="frozen"):
        NumberColumn().unit = "kg"
