import numpy as np
import pandas as pd
import pytest

from pipeline.reporting import amount_figures, comparison
from pipeline.schema.columns import CategoryColumn, NumberColumn
from tests.support.builders import make_amounts

RNG = np.random.default_rng(0)
COLUMNS = {
    "size": NumberColumn(unit="m²"),
    "few": NumberColumn(),
    "ward": CategoryColumn(levels=("a", "b")),
}


def make_columns(rows):
    size = RNG.normal(size=rows)
    size[:3] = np.nan
    codes = {"few": RNG.integers(0, 3, rows), "ward": RNG.integers(-1, 2, rows)}
    return pd.DataFrame({"size": size, **codes}).astype(float)


def test_figures_of_the_test_part_have_a_panel_for_each_column():
    p = make_amounts(200)

    figures = amount_figures.of_test_part(p, make_columns(200), COLUMNS, "price")

    assert {name: len(each.axes) for name, each in figures.items()} == {
        "predicted_true": 1,
        "residuals": 6,  # two rows of three
        "interval_coverage": 2,
    }
    titles = [axes.get_title() for axes in figures["residuals"].axes]
    assert titles[:4] == ["by prediction", "by size", "by few", "by ward"]


def test_target_is_drawn_alone_and_beside_each_column():
    y = pd.Series(RNG.gamma(2, 10, 150), name="price")

    alone = amount_figures.distribution(y)
    by_column = amount_figures.by_column(make_columns(150), y, COLUMNS, "150 rows")

    assert alone.axes[0].get_xlabel() == "price"
    assert [axes.get_title() for axes in by_column.axes[:3]] == list(COLUMNS)


@pytest.mark.parametrize("rows", [5, 200])
def test_coverage_is_counted_in_tenths_of_the_predictions(rows):
    p = make_amounts(rows)

    table = amount_figures.coverage_by_decile(p)

    assert len(table) == min(rows, 10)
    assert table["rows"].sum() == rows
    held = (table["coverage"] * table["rows"]).sum()
    assert held == pytest.approx(((p.low <= p.truth) & (p.truth <= p.high)).sum())
    assert (table["low (95 %)"] <= table["coverage"]).all()
    assert table["predicted to"].is_monotonic_increasing


def test_models_stand_side_by_side():
    models = {"version 1": make_amounts(), "version 2": make_amounts(seed=1)}

    figure = comparison.of_models(models, ())

    assert [axes.get_title() for axes in figure.axes] == ["version 1", "version 2"]
