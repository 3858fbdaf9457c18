from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from pipeline.errors import ContractError
from pipeline.schema.columns import NumberColumn
from pipeline.schema.rules import Rules, check, check_names, wrong_kind

AGE = {"Age": NumberColumn(unit="years", range=(18, 120))}
MIXED = {"a": NumberColumn(), "Glucose": NumberColumn(), "spare": NumberColumn(optional=True)}
EXPECTED = "expected columns: a, Glucose, spare"
SECRET = 76543  # a value that no rule, row or column name could contain by chance


def cells(*values, dtype=object):
    return pd.Series(values, dtype=dtype)


def sentences(columns, frame, **options):
    """The lines of the message with which a frame is refused."""
    with pytest.raises(ContractError) as error:
        check(columns, frame, **options)
    return str(error.value).split("\n")


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame({"x": np.int8([1, 2]), "y": np.float32([0.5, 1.5])}),
        pd.DataFrame({"x": cells(1, 2, dtype="Int64"), "y": cells(0.5, 1.5, dtype="Float64")}),
        pd.DataFrame({"y": [0.5, 1.5], "x": [1, 2]}),
        pd.DataFrame({"x": [1, 2], "y": cells(0.5, 1.5)}),
    ],
    ids=lambda frame: " and ".join(map(str, frame.dtypes)),
)
def test_check_gives_doubles_in_the_contracts_column_order(frame):
    before = frame.copy()

    checked = check({"x": NumberColumn(), "y": NumberColumn()}, frame)

    assert_frame_equal(checked, pd.DataFrame({"x": [1.0, 2.0], "y": [0.5, 1.5]}))
    assert_frame_equal(frame, before)


def test_absent_optional_column_becomes_nan_and_a_present_one_is_checked():
    columns = {"a": NumberColumn(), "b": NumberColumn(optional=True, range=(0, 1))}

    checked = check(columns, pd.DataFrame({"a": [1, 2]}))

    assert_frame_equal(checked, pd.DataFrame({"a": [1.0, 2.0], "b": [np.nan, np.nan]}))
    assert sentences(columns, pd.DataFrame({"a": [1], "b": [7]})) == [
        "row 1, b: must be at most 1 (got 7)"
    ]


# Broken rules.


@pytest.mark.parametrize(
    ("column", "value", "sentence"),
    [
        (NumberColumn(range=(18, 120), unit="years"), 5, "must be at least 18 years (got 5)"),
        (NumberColumn(range=(18, 120), unit="years"), 121, "must be at most 120 years (got 121)"),
        (NumberColumn(range=(18, None)), -3.5, "must be at least 18 (got -3.5)"),
        (NumberColumn(range=(None, 0.5)), 0.75, "must be at most 0.5 (got 0.75)"),
        (NumberColumn(range=(1234567, None)), 1234566, "must be at least 1234567 (got 1234566)"),
        (NumberColumn(), float("inf"), "must be finite (got inf)"),
        (NumberColumn(), 10**400, "must be finite (got inf)"),
        (NumberColumn(), Decimal("1e400"), "must be finite (got inf)"),
        (NumberColumn(), "30", "must be a number (got '30')"),
        (NumberColumn(), "a" * 5000, f"must be a number (got '{'a' * 39})"),
        (NumberColumn(), True, "must be a number (got True)"),
        (NumberColumn(), [30], "must be a number (got [30])"),
        (NumberColumn(), pd.NaT.__class__, "must be a number (got <class"),
    ],
)
def test_broken_rule_is_named_with_row_column_rule_unit_and_value(column, value, sentence):
    (line,) = sentences({"x": column}, pd.DataFrame({"x": cells(None, value)}))

    assert line.startswith(f"row 2, x: {sentence}")


def test_bounds_belong_to_the_range():
    assert check(AGE, pd.DataFrame({"Age": [18, 120]}))["Age"].tolist() == [18, 120]


@pytest.mark.parametrize("dtype", ["bool", "boolean", object])
def test_booleans_beside_numbers_are_no_numbers(dtype):
    """NumPy would make ones of them, to have a matrix of one type."""
    frame = pd.DataFrame({"x": [0.5, 1.5], "y": cells(True, False, dtype=dtype), "z": [1, 2]})

    assert sentences({name: NumberColumn() for name in "xyz"}, frame, with_values=False) == [
        "row 1, y: must be a number",
        "row 2, y: must be a number",
    ]


@pytest.mark.parametrize("bad", [999, "text", float("inf")])
@pytest.mark.parametrize("rows", [10, 11])
def test_ten_faults_are_named_and_more_end_with_a_closing_line(bad, rows):
    lines = sentences(AGE, pd.DataFrame({"Age": cells(*[bad] * rows)}))

    assert [line.split(",")[0] for line in lines[:10]] == [f"row {row}" for row in range(1, 11)]
    assert lines[10:] == ["and more faults after these"] * (rows > 10)


def test_ten_faults_are_those_of_the_first_rows_over_all_rules_and_columns():
    frame = pd.DataFrame({"x": [2] + [-1] * 50, "y": [5] * 51})

    lines = sentences({name: NumberColumn(range=(0, 1)) for name in "xy"}, frame)

    assert lines[:3] == [
        "row 1, x: must be at most 1 (got 2)",
        "row 1, y: must be at most 1 (got 5)",
        "row 2, x: must be at least 0 (got -1)",
    ]
    assert lines[9:] == ["row 5, y: must be at most 1 (got 5)", "and more faults after these"]


@pytest.mark.parametrize("value", [SECRET, -SECRET, str(SECRET), [SECRET], {"a": SECRET}])
def test_without_values_no_sentence_echoes_the_callers_data(value):
    frame = pd.DataFrame({"Age": cells(30, value)})

    assert str(SECRET) in "".join(sentences(AGE, frame))
    assert str(SECRET) not in "".join(sentences(AGE, frame, with_values=False))


# Columns.


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a", "Glucose", "Spare"], ["column 'Spare' is not known"]),
        (
            ["a", "glucos"],
            [
                "column 'glucos' is not known, did you mean 'Glucose'?",
                "column 'Glucose' is missing, did you mean 'glucos'?",
            ],
        ),
        (["a", "a", "Glucose"], ["column 'a' is there twice"]),
        ([], ["column 'a' is missing", "column 'Glucose' is missing"]),
    ],
)
def test_wrong_columns_are_named_with_the_nearest_name(names, expected):
    frame = pd.DataFrame([[1] * len(names)], columns=names)

    assert sentences(MIXED, frame) == [*expected, EXPECTED]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (
            ["SECRET", "glucos", "a"],
            [
                "column number 1 is not known",
                "column number 2 is not known, did you mean 'Glucose'?",
                "column 'Glucose' is missing",
            ],
        ),
        (["a", "a", "Glucose"], ["column 'a' is there twice"]),
        (
            ["SECRET", "a", "SECRET", "Glucose"],
            ["column number 1 is there twice", *["column number 1 is not known"] * 2],
        ),
    ],
)
def test_without_names_unknown_columns_are_named_by_their_place(names, expected):
    with pytest.raises(ContractError) as error:
        check_names(MIXED, names, with_names=False)

    assert str(error.value).split("\n") == [*expected, EXPECTED]
    assert error.value.rule == "columns"


def test_at_most_ten_column_faults_are_named():
    columns = {f"c{place}": NumberColumn() for place in range(12)}

    lines = sentences(columns, pd.DataFrame({"zzz": [1]}))

    assert (lines[0], lines[9]) == ("column 'zzz' is not known", "column 'c8' is missing")
    assert lines[10:] == ["and more faults after these", f"expected columns: {', '.join(columns)}"]


def test_column_may_be_named_by_a_number():
    assert check({"3": NumberColumn()}, pd.DataFrame({3: [1.0, 2.0]}))["3"].tolist() == [1, 2]


# Rules, over a whole matrix.


def test_rules_put_nan_in_place_of_marks_and_leave_the_matrix_alone():
    rules = Rules(
        {"x": NumberColumn(missing=0), "y": NumberColumn(missing=-1), "z": NumberColumn()}
    )
    X = np.array([[0.0, -1.0, 0.0], [-0.0, 0.0, -1.0]])
    before = X.copy()

    np.testing.assert_array_equal(rules.apply(X), [[np.nan, np.nan, 0], [np.nan, 0, -1]])
    np.testing.assert_array_equal(X, before)


def test_rules_take_the_largest_doubles_where_there_is_no_bound():
    largest = np.finfo(np.float64).max
    X = np.array([[largest], [-largest], [np.nan]])

    np.testing.assert_array_equal(Rules({"x": NumberColumn()}).apply(X), X)


@pytest.mark.parametrize(
    ("cells", "kind"), [([np.inf, 1], "finite"), ([2, np.inf], "range"), ([np.nan, -1], "range")]
)
def test_rule_of_the_error_is_that_of_its_first_sentence(cells, kind):
    with pytest.raises(ContractError) as error:
        Rules({"x": NumberColumn(range=(0, 1))}).apply(np.array(cells, dtype=float)[:, None])

    assert error.value.rule == kind


def test_faults_from_before_are_sorted_among_the_others():
    rules = Rules({"x": NumberColumn(range=(0, 1)), "y": NumberColumn()})
    before = [wrong_kind(2, "y", NumberColumn(), "SECRET")]

    with pytest.raises(ContractError) as error:
        rules.apply(np.array([[5.0, 1.0], [0.0, np.nan], [7.0, 1.0]]), before)

    assert str(error.value).split("\n") == [
        "row 1, x: must be at most 1",
        "row 2, y: must be a number",
        "row 3, x: must be at most 1",
    ]


def test_rules_and_check_come_to_the_same():
    """`check` may take a quick way: here one column at a time does not."""
    rng = np.random.default_rng(0)
    columns = {
        "a": NumberColumn(range=(0, 3)),
        "b": NumberColumn(range=(None, 2), missing=-1),
        "c": NumberColumn(range=(-2, None), missing=5, unit="mm"),
    }
    cells_ = np.array([-1, 0, 1, 2, 2.5, np.nan, 5, np.inf])
    chances = [0.1, 0.2, 0.2, 0.2, 0.1, 0.1, 0.05, 0.05]
    outcomes = set()
    for _ in range(300):
        X = rng.choice(cells_, (rng.integers(1, 4), 3), p=chances)
        frame = pd.DataFrame(X, columns=list(columns))
        direct = outcome(Rules(columns).apply, X)
        quick = outcome(check, columns, frame, with_values=False)
        slow = outcome(check, columns, frame.astype(object), with_values=False)
        assert direct == quick == slow
        outcomes.add(direct[:20])
    assert len(outcomes) > 10


def test_few_cells_come_to_the_same_as_a_matrix():
    rng = np.random.default_rng(0)
    columns = {
        "a": NumberColumn(range=(0, 3)),
        "b": NumberColumn(missing=-1),
        "c": NumberColumn(range=(None, 2)),
    }
    rules = Rules(columns)
    choices = [0, 1, 2, 3, -1, 2.5, -0.0, None, 4, 2**60, 2**53 + 1]
    refused = 0
    for _ in range(500):
        cells_ = [choices[place] for place in rng.integers(0, len(choices), 6)]
        X = np.array(cells_, dtype=float).reshape(2, 3)
        checked = rules.few(cells_)
        refused += checked is None
        if checked is None:
            with pytest.raises(ContractError):
                rules.apply(X)
        else:
            np.testing.assert_array_equal(np.reshape(checked, (2, 3)), rules.apply(X))
    assert 100 < refused < 490


@pytest.mark.parametrize("integer", [2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1, -(2**63) + 1])
def test_an_integer_that_no_double_holds_is_read_in_one_way(integer):
    """Python compares it with a double exactly, NumPy and Arrow as the double nearest to it."""
    marked = Rules({"a": NumberColumn(missing=float(integer))})
    bounded = Rules({"a": NumberColumn(range=(float(integer), float(integer)))})

    assert np.isnan(marked.few([integer])).all()
    assert np.isnan(marked.apply(np.array([[integer]], dtype=float))).all()
    assert bounded.few([integer]) == [float(integer)]
    assert bounded.apply(np.array([[integer]], dtype=float)) == [[float(integer)]]


def outcome(function, *arguments, **options):
    try:
        return str(np.asarray(function(*arguments, **options)).tolist())
    except ContractError as error:
        return str(error)
