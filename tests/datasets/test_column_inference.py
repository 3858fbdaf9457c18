"""What the columns of a table hold, as far as the table itself says."""

import numpy as np
import pandas as pd
import pytest

from pipeline.datasets.column_inference import infer, positive_class
from pipeline.datasets.kinds import TABLE_KINDS
from pipeline.schema.rules import check

ROWS = 60


def texts(*values):
    """A column of texts, as CSV gives it, that repeats the values."""
    return pd.Series([values[place % len(values)] for place in range(ROWS)], dtype="str")


def guess(cells, name="x"):
    inferred = infer(pd.DataFrame({name: cells}), set())
    return inferred.columns.get(name), inferred.drop.get(name)


@pytest.mark.parametrize(
    ("cells", "kind", "settings"),
    [
        (texts("1", "2.5", "-3"), "number", {"range": (-6, 6)}),
        (texts("1", "2", "3"), "integer", {"range": (0, 4)}),
        (texts("0", "1"), "integer", {"range": (0, 1)}),
        (texts("1e3", "+2", " 4 "), "integer", {}),
        (texts("1", "2", "?"), "integer", {"missing": ("?",)}),
        (texts("1.5", "-", "n/a", "#DIV/0!", "2"), "number", {"missing": ("-", "#DIV/0!")}),
        (texts("1", "3.5", "inf", "-Inf"), "number", {"missing": ("inf", "-Inf")}),
        (texts("1", "NA", None, "2"), "integer", {"missing": None}),
        (texts("true", "False"), "boolean", {}),
        (texts("TRUE", None, "FALSE"), "boolean", {}),
        (texts("007", "042"), "category", {}),
        (texts("1", "01", "2"), "category", {}),
        (texts("yes", "no"), "category", {"missing": None}),
        (texts("NA", "EU", "AS"), "category", {"missing": None}),
        (texts("None", "Some"), "category", {"missing": None}),
        (texts("red", "?", "blue"), "category", {"missing": ("?",)}),
        (texts("1", "two"), "category", {}),
        (texts("2024-01-31", "2023-12-01"), "date", {"format": None}),
        (texts("2024-01-31T10:00:00Z", "2023-12-01T00:00:00+02:00"), "date", {"format": None}),
        (texts("31.01.2024", "01.12.2023"), "date", {"format": "%d.%m.%Y"}),
        (texts("01/31/2024", "12/01/2023", None), "date", {"format": "%m/%d/%Y"}),
        (texts("3 Jan 2024", "12 Feb 2023"), "date", {"format": "%d %b %Y"}),
        (texts("2024", "2023", "1999"), "integer", {}),
        (texts("1-2", "3-4"), "category", {}),
        (pd.Series([True, None] * 30), "boolean", {}),
        (pd.Series(pd.to_datetime(["2024-01-01", "2024-02-01"] * 30)), "date", {}),
        (pd.Series(np.linspace(0, 1, ROWS)), "number", {"range": (0, 1.5)}),
        (pd.Series(["a", "b"] * 30, dtype="category"), "category", {}),
        (
            pd.Series(pd.Categorical(["s", "l"] * 30, ["s", "m", "l"], ordered=True)),
            "ordinal",
            {"levels": ("s", "m", "l")},
        ),
        (
            pd.Series([f"some few words {n}" for n in range(ROWS)]),
            "text",
            {"max_length": 1000, "missing": None},
        ),
        (
            pd.Series(["?", *(f"{'some words ' * 100}{n}" for n in range(1, ROWS))]),
            "text",
            {"max_length": 1700, "missing": ("?",)},
        ),
    ],
)
def test_kind_of_a_column_is_seen_in_its_cells(cells, kind, settings):
    column, reason = guess(cells)

    assert reason is None
    assert column.kind == kind
    assert {name: getattr(column, name) for name in settings} == settings


@pytest.mark.parametrize(
    "cells",
    [
        texts("1", "2.5", "?"),
        texts("1", "2.5", "inf"),
        texts("true", "FALSE", None),
        texts("31.01.2024", "-", "01.12.2023"),
        texts("a", "?", "NA"),
        texts("007", None),
        pd.Series([True, None] * 30),
        pd.Series(pd.to_datetime(["2024-01-01", None] * 30)),
        pd.Series([3, 4.0, None] * 20),
    ],
)
def test_column_is_read_as_it_was_inferred(cells):
    column, _ = guess(cells)

    table_kind = TABLE_KINDS[column.kind]
    read = table_kind.read(cells, column)
    checked = check(
        {"x": table_kind.learn(column, read, np.arange(ROWS))}, pd.DataFrame({"x": read})
    )

    gaps = [pd.isna(c) or c in {"?", "-", "inf"} for c in cells]
    assert checked["x"].isna().tolist() == gaps


@pytest.mark.parametrize(
    ("name", "cells", "reason"),
    [
        ("x", texts("7"), "has one value only, 7"),
        ("x", texts("a"), "has one value only, a"),
        ("x", texts("true"), "has one value only, true"),
        ("x", texts("2024-01-01"), "has one value only, 2024-01-01"),
        ("x", texts(None, "NA"), "has no value"),
        (
            "rownames",
            pd.Series(map(str, range(1, ROWS + 1)), dtype="str"),
            "numbers the rows: 1 to 60",
        ),
        ("x", pd.Series(range(5, ROWS + 5)), "numbers the rows: 5 to 64"),
        ("x", pd.Series([n for n in range(90) if n % 3]), "numbers the rows: 1 to 89"),
        (
            "patient_id",
            pd.Series(np.arange(ROWS) ** 2),
            "each row has another value: 60 in 60 rows",
        ),
        (
            "x",
            pd.Series([f"person {n}" for n in range(ROWS)]),
            "each row has another value: 60 diff",
        ),
        ("", texts("a", "b"), "has no name in the header"),
        ("x", pd.Series([f"{n:032x}" for n in range(ROWS)]), "each row has another value: 60 diff"),
        ("name_id", pd.Series([f"some few words {n}" for n in range(ROWS)]), "each row has"),
    ],
)
def test_column_that_nothing_can_be_learnt_from_is_dropped_with_the_reason(name, cells, reason):
    column, why = guess(cells, name)

    assert column is None
    assert why.startswith(reason)


def test_amounts_that_all_differ_are_no_ids():
    rng = np.random.default_rng(0)

    amounts, _ = guess(pd.Series(rng.normal(size=ROWS)), "key figure")
    cents, _ = guess(pd.Series(rng.permutation(10_000)[:ROWS]), "salary")

    assert (amounts.kind, cents.kind) == ("number", "integer")


def test_format_of_dates_that_fits_more_than_one_is_to_be_checked():
    inferred = infer(pd.DataFrame({"x": texts("01/02/2024", "03/04/2024")}), set())

    assert "check the format, %m/%d/%Y fits too" in inferred.notes["x"]


@pytest.mark.parametrize(
    ("classes", "counts", "positive"),
    [
        ((0, 1), (9, 1), 1),
        ((False, True), (1, 9), True),
        (("No", "Yes"), (1, 9), "Yes"),
        (("bad", "good"), (5, 5), "bad"),
        (("CH", "MM"), (9, 1), "MM"),
        (("a", "b"), (1, 9), "a"),
        (("a", "b"), (5, 5), "b"),
        ((0, 1, 2), (1, 1, 1), None),
    ],
)
def test_positive_class_is_the_one_that_means_yes_or_else_the_rarer(classes, counts, positive):
    y = pd.Series(
        [label for label, count in zip(classes, counts, strict=True) for _ in range(count)]
    )

    assert positive_class(y, classes) is positive or positive_class(y, classes) == positive
