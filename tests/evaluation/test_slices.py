import numpy as np
import pytest

from pipeline.evaluation.slices import groups
from pipeline.schema.columns import CategoryColumn, NumberColumn


def members(column, values, cuts):
    """Each group's name and the places of its rows."""
    result = groups(column, NumberColumn(), np.array(values, dtype=float), cuts)
    return {name: np.flatnonzero(where).tolist() for name, where in result}


@pytest.mark.parametrize(
    ("cuts", "names"),
    [
        ((30.0,), ["Age < 30", "Age >= 30"]),
        ((30.0, 50.0), ["Age < 30", "30 <= Age < 50", "Age >= 50"]),
        ((-1.5, 0.0, 0.25), ["Age < -1.5", "-1.5 <= Age < 0", "0 <= Age < 0.25", "Age >= 0.25"]),
    ],
)
def test_groups_are_named_by_their_cuts_the_lowest_first(cuts, names):
    assert list(members("Age", [1.0], cuts)) == names


@pytest.mark.parametrize("cut", [1_000_001.0, 20_240_131.0, 0.12345678])
def test_name_tells_a_cut_with_all_its_digits(cut):
    below, above = members("income", [1.0], (cut,))
    assert float(below.removeprefix("income < ")) == cut
    assert float(above.removeprefix("income >= ")) == cut


def test_cut_opens_a_group():
    result = members("Age", [29.999, 30, 49.999, 50, 30], (30.0, 50.0))
    assert result == {"Age < 30": [0], "30 <= Age < 50": [1, 2, 4], "Age >= 50": [3]}


def test_gaps_are_a_group_of_their_own_and_of_no_other():
    result = members("Age", [np.nan, 20, 90, np.nan], (30.0,))
    assert result == {"Age < 30": [1], "Age >= 30": [2], "Age missing": [0, 3]}


def test_group_without_rows_is_there_too():
    result = members("Age", [70, 80], (30.0, 50.0))
    assert result == {"Age < 30": [], "30 <= Age < 50": [], "Age >= 50": [0, 1]}


@pytest.mark.parametrize("cuts", [(0.0,), (-1.0, 0.5), (-2.0, -1.0, 0.0, 1.0)])
@pytest.mark.parametrize("gaps", [0, 7, 40])
def test_each_row_is_in_one_group(cuts, gaps):
    values = np.round(np.random.default_rng(0).normal(size=40), 1)  # some lie on a cut
    values[:gaps] = np.nan
    result = [where for _, where in groups("x", NumberColumn(), values, cuts)]
    assert len(result) == len(cuts) + 1 + bool(gaps)
    assert np.sum(result, axis=0).tolist() == [1] * 40


def test_group_is_the_rows_between_its_cuts():
    values = np.random.default_rng(0).normal(size=60)
    _, middle, _ = (where for _, where in groups("x", NumberColumn(), values, (-0.5, 0.5)))
    assert middle.tolist() == [-0.5 <= value < 0.5 for value in values]


def test_without_cuts_each_value_is_a_group():
    codes = np.array([0, 1, np.nan, 0, -1])
    result = groups("city", CategoryColumn(levels=("Oslo", "Rome")), codes, ())
    assert {name: np.flatnonzero(where).tolist() for name, where in result} == {
        "city = (other)": [4],
        "city = Oslo": [0, 3],
        "city = Rome": [1],
        "city missing": [2],
    }
