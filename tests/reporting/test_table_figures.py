"""Pictures of tables, small and large: what they hold, and that all of it can be read."""

from collections.abc import Iterator

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from pipeline.reporting import table_figures as figures
from pipeline.reporting.style import MOST_BARS
from pipeline.schema.columns import BooleanColumn, CategoryColumn, DateColumn, NumberColumn
from pipeline.schema.kinds import KINDS
from tests.support.builders import make_dataset
from tests.support.pictures import (
    bar_widths,
    drawn,
    heading,
    long_names,
    texts,
    ticks,
    unreadable,
)

SIZES = [(2, 8, False), (2, 100, True), (20, 8, True), (20, 100, False)]  # classes, columns


@pytest.fixture(autouse=True)
def _no_figure_is_left_in_pyplot() -> Iterator[None]:
    before = plt.get_fignums()
    yield
    assert plt.get_fignums() == before


@pytest.fixture(params=SIZES, ids=lambda size: "{}-classes-{}-columns-long-{}".format(*size))
def size(request) -> tuple[int, int, bool]:
    return request.param


@pytest.fixture
def table(size) -> tuple[pd.DataFrame, "pd.Series[str]"]:
    """Features of which every third has gaps, and labels."""
    classes, columns, is_long = size
    rng = np.random.default_rng(0)
    X = pd.DataFrame(
        rng.normal(size=(400, columns)), columns=long_names("column", columns, is_long)
    )
    X.iloc[:100, ::3] = np.nan
    y = pd.Series(
        np.resize(long_names("class", classes, is_long), 400), name="$ or €? " + "of it " * 9
    )
    return X, y


def draw_all(X: pd.DataFrame, y: "pd.Series[str]") -> dict[str, Figure | None]:
    part = X.iloc[:, :15]
    return {
        "class balance": figures.class_balance(y),
        "missing": figures.missing(X),
        "correlations": figures.correlations(X.iloc[:, :30].corr(), None, "400 rows"),
        "distributions": figures.distributions(
            part, y, dict.fromkeys(part, NumberColumn()), "400 rows"
        ),
    }


def test_every_label_of_every_size_is_whole_and_apart(table):
    pictures = draw_all(*table)
    assert {name: unreadable(one) for name, one in pictures.items()} == {n: [] for n in pictures}


def test_distributions_have_a_panel_for_each_column_and_a_strip_for_each_class(table, size):
    X, y = table[0].iloc[:, :15], table[1]
    figure = figures.distributions(X, y, dict.fromkeys(X, NumberColumn()), "400 rows")
    panels = [axes for axes in figure.axes if axes.axison]
    assert len(panels) == X.shape[1]
    assert len(ticks(panels[0].yaxis)) == size[0]
    assert len(set(ticks(panels[0].yaxis))) == size[0]
    for axes in panels:
        strips = [patch.get_data() for patch in axes.patches][::2]
        assert [strip.baseline for strip in strips] == [*range(size[0])][::-1]
        of_class = [(strip.values - strip.baseline).sum() for strip in strips]
        assert of_class == pytest.approx([of_class[0]] * size[0])  # of all present rows


def test_class_balance_has_rows_and_shares_in_the_order_of_the_classes():
    y = pd.Series(pd.Categorical(["b", "a", "b", "b"], ["b", "a"]), name="label")
    figure = drawn(figures.class_balance(y))
    assert ticks(figure.axes[0].yaxis) == ["a", "b"]  # from the bottom
    assert bar_widths(figure) == [1, 3]
    assert texts(figure) == ["1 (25.0%)", "3 (75.0%)"]
    assert heading(figure) == "Class balance of label, 4 rows"


def test_class_balance_of_many_classes_is_of_those_with_most_rows():
    y = pd.Series(np.r_[np.arange(50), np.arange(MOST_BARS)], name="label")
    figure = drawn(figures.class_balance(y))
    assert bar_widths(figure) == [2] * MOST_BARS
    assert heading(figure).endswith("(the 30 of 50 classes with most rows)")


def test_missing_has_the_columns_that_lack_values_the_most_on_top():
    X = make_dataset().X
    X.loc[X.index[:60], "noise"] = np.nan
    figure = drawn(figures.missing(X))
    assert ticks(figure.axes[0].yaxis) == ["gap", "noise"]
    assert bar_widths(figure) == pytest.approx([X["gap"].isna().mean(), 0.5])
    assert heading(figure).startswith("Missing values in 2 of 4 columns, 120 rows")


def test_missing_of_no_gap_is_no_picture_and_of_many_columns_is_of_those_with_most():
    X = pd.DataFrame(np.zeros((10, 300))).rename(columns=str)
    assert figures.missing(X) is None
    X.iloc[:1, :100] = np.nan
    X.iloc[:5, 250:] = np.nan
    figure = drawn(figures.missing(X))
    assert bar_widths(figure) == [0.5] * MOST_BARS
    assert heading(figure).endswith("(the 30 of 150 columns with most)")


def test_correlations_put_alike_columns_side_by_side_and_the_target_last():
    rng = np.random.default_rng(0)
    x, z = rng.normal(size=(2, 50))
    X = pd.DataFrame({"x": x, "z": z, "label": x, "like x": x**3, "like z": -z, "constant": 1.0})
    table = X.corr(method="spearman")
    figure = drawn(figures.correlations(table, "label", "50 rows"))
    order = ticks(figure.axes[0].yaxis)
    assert order[-1] == "label"
    assert {frozenset(order[place : place + 2]) for place in range(4)} >= {
        frozenset({"x", "like x"}),
        frozenset({"z", "like z"}),
    }
    assert texts(figure) == [f"{value:.2f}" for value in table.loc[order, order].to_numpy().ravel()]


LEVELS = tuple("abcdefghij")


def test_each_kind_of_column_has_a_panel():
    assert set(figures.PANELS) == set(KINDS)


def test_distributions_have_bars_of_levels_and_years_of_dates():
    rng = np.random.default_rng(0)
    codes = np.r_[np.repeat([0.0, 1.0], 40), np.arange(20.0) % 10]
    X = pd.DataFrame({"city": codes, "sure": codes % 2, "on": 20_000 + rng.integers(0, 900, 100)})
    y = pd.Series(np.tile(["no", "yes"], 50), name="label")
    columns = {"city": CategoryColumn(levels=LEVELS), "sure": BooleanColumn(), "on": DateColumn()}
    city, sure, on = drawn(figures.distributions(X, y, columns, "100 rows")).axes
    assert city.get_xlabel() == "(the 8 of 10 levels with most rows)"
    assert len(ticks(city.xaxis)) == figures.MOST_LEVELS
    assert {"a", "b"} < set(ticks(city.xaxis))
    assert ticks(sure.xaxis) == ["false", "true"]
    heights = sure.patches[0].get_data().values[::2] - 1
    of_no = X.loc[y == "no", "sure"].mean()
    assert heights[1] / heights[0] == pytest.approx(of_no / (1 - of_no))
    assert "2025" in ticks(on.xaxis)


AWKWARD = {
    "constant": np.full(20, 7.0),
    "of one class": np.r_[np.ones(10), np.full(10, np.nan)],
    "empty": np.full(20, np.nan),
    "huge": np.arange(20) * 1e300,
    "tiny": np.arange(20) * 1e-300,
    "constant and huge": np.full(20, 1e17),
}


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("name", AWKWARD)
def test_distributions_draw_awkward_columns(name, place):
    X = pd.DataFrame({"plain": np.arange(20.0)})
    X.insert(place, "awkward", AWKWARD[name])
    y = pd.Series(np.repeat([0, 1], 10), name="label")
    figure = drawn(figures.distributions(X, y, dict.fromkeys(X, NumberColumn()), "20 rows"))
    assert len(figure.axes[1 - place].patches) == 4  # two classes, and all rows behind each
