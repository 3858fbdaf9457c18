"""The pictures of amounts: in the table, predicted beside true, and how their intervals hold."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import binomtest

from pipeline.evaluation.amounts import AmountPredictions
from pipeline.reporting.style import (
    BAND,
    REFERENCE,
    label,
    legend,
    name_axis,
    panels,
    styled,
    title,
)
from pipeline.schema.columns import Column
from pipeline.schema.kinds import kind_of
from pipeline.schema.matrix import Vector
from pipeline.tasks import COVERAGE

DECILES = 10
BINS = 30
MOST_DOTS = 5_000
MOST_PANELS = 6  # columns beside whose values errors are drawn
MOST_LEVELS = 8
WIDTH_OF_PANEL = 1.8  # inches
ENDS = [0.05, 0.25, 0.5, 0.75, 0.95]  # of bands
NUMBERS = ("number", "integer", "date")  # kinds of columns that are drawn along an axis


@styled
def distribution(y: "pd.Series[Any]") -> Figure:
    """How many rows have which amount, with its median and the middle 90 % of the rows."""
    figure, (axes,) = panels(1, 3)
    axes.hist(y.to_numpy(), BINS)
    low, middle, high = np.quantile(y, [0.05, 0.5, 0.95])
    axes.axvspan(low, high, color=REFERENCE, alpha=BAND, label="nine in ten rows")
    axes.axvline(middle, color="black", label=f"median {middle:.4g}")
    axes.set(xlabel=label(y.name), ylabel="rows")
    title(figure, f"Distribution of {label(y.name)}", f"Nine in ten: {low:.4g} to {high:.4g}")
    legend(figure, axes)
    return figure


@styled
def by_column(
    X: pd.DataFrame, y: "pd.Series[Any]", columns: Mapping[str, Column], note: str = ""
) -> Figure:
    """The target beside each column: its quantiles in tenths of numbers, and for each level."""
    figure, every = panels(X.shape[1], 2)
    for axes, (name, values) in zip(every, X.items(), strict=True):
        axes.set_title(label(name))
        _quantiles(axes, columns[str(name)], values.to_numpy(), y.to_numpy())
    title(figure, f"{label(y.name)} by column: median, middle half and nine in ten", note)
    return figure


def of_test_part(
    p: AmountPredictions, X: pd.DataFrame, columns: Mapping[str, Column], target: str
) -> dict[str, Figure]:
    """The figures of a model's predictions on the test part, by name; `X` has the best columns."""
    return {
        "predicted_true": predicted_against_true({"model": p}, target),
        "residuals": residuals(p, X.iloc[:, :MOST_PANELS], columns),
        "interval_coverage": interval_coverage(coverage_by_decile(p)),
    }


@styled
def predicted_against_true(models: Mapping[str, AmountPredictions], target: str) -> Figure:
    """A dot for each row, of each model, and the line on which there is no error."""
    figure, every = panels(len(models), 3, most=2)
    for axes, (name, p) in zip(every, models.items(), strict=True):
        places = _some(len(p.truth))
        axes.scatter(p.value[places], p.truth[places], s=6, alpha=0.5, linewidths=0)
        ends = [min(p.truth.min(), p.value.min()), max(p.truth.max(), p.value.max())]
        axes.plot(ends, ends, ":", color=REFERENCE)
        axes.set(title=label(name), xlabel="predicted", ylabel=label(target))
    title(figure, "Predicted and true", "On the dotted line there is no error")
    return figure


@styled
def residuals(p: AmountPredictions, X: pd.DataFrame, columns: Mapping[str, Column]) -> Figure:
    """True minus predicted amounts by what was predicted, and by the columns."""
    figure, every = panels(1 + X.shape[1], 2)
    errors = -p.errors
    places = _some(len(errors))
    every[0].scatter(p.value[places], errors[places], s=6, alpha=0.5, linewidths=0)
    every[0].set_title("by prediction")
    for axes, (name, values) in zip(every[1:], X.items(), strict=True):
        axes.set_title(f"by {label(name, 24)}")
        _quantiles(axes, columns[str(name)], values.to_numpy(), errors)
    for axes in every:
        axes.axhline(0, color=REFERENCE, linestyle=":")
    title(figure, "Residuals: true minus predicted", "Median, middle half and nine in ten")
    return figure


def coverage_by_decile(p: AmountPredictions) -> pd.DataFrame:
    """Rows, coverage with its 95 % interval, and width in each tenth by the prediction."""
    parts = np.array_split(np.argsort(p.value, kind="stable"), min(DECILES, len(p.value)))
    rows = []
    for place, part in enumerate(parts, 1):
        within = (p.low[part] <= p.truth[part]) & (p.truth[part] <= p.high[part])
        low, high = coverage_interval(within)
        rows.append(
            {
                "tenth": place,
                "rows": len(part),
                "predicted from": p.value[part].min(),
                "predicted to": p.value[part].max(),
                "coverage": within.mean(),
                "low (95 %)": low,
                "high (95 %)": high,
                "mean width": (p.high[part] - p.low[part]).mean(),
                "RMSE": float(np.sqrt(np.square(p.errors[part]).mean())),
            }
        )
    return pd.DataFrame(rows)


def coverage_interval(within: Any) -> tuple[float, float]:
    """The 95 % interval of a share of rows (Clopper and Pearson 1934)."""
    interval = binomtest(int(within.sum()), len(within)).proportion_ci(0.95, method="exact")
    return float(interval.low), float(interval.high)


@styled
def interval_coverage(table: pd.DataFrame) -> Figure:
    """How often 90 % intervals hold the truth, and how wide they are, by tenths of predictions."""
    figure, (held, wide) = panels(2, 2.6)
    below = table["coverage"] - table["low (95 %)"]
    above = table["high (95 %)"] - table["coverage"]
    held.errorbar(table["tenth"], table["coverage"], [below, above], fmt="o", capsize=3)
    held.axhline(COVERAGE, color=REFERENCE, linestyle=":")
    held.set(title="coverage", ylim=(0, 1.05))
    wide.bar(table["tenth"], table["mean width"])
    wide.set_title("mean width")
    for axes in (held, wide):
        axes.set_xlabel("tenth of the rows, by prediction")
    title(figure, f"Intervals of {COVERAGE:.0%}: how many rows they hold, and how wide they are")
    return figure


def _quantiles(axes: Axes, column: Column, values: Vector, y: Vector) -> None:
    """Bands of y's quantiles over tenths of a column's numbers, or a line for each level."""
    present = ~np.isnan(values)
    values, y = values[present], y[present]
    is_axis = column.kind in NUMBERS and len(np.unique(values)) > MOST_LEVELS
    if is_axis:
        parts = np.array_split(np.argsort(values, kind="stable"), min(DECILES, len(values)))
        places = np.array([np.median(values[part]) for part in parts])
    else:
        levels, counts = np.unique(values, return_counts=True)
        levels = np.sort(levels[np.argsort(-counts, kind="stable")[:MOST_LEVELS]])
        parts = [np.flatnonzero(values == level) for level in levels]
        places = np.arange(len(levels), dtype=np.float64)
        names = [kind_of(column).written(column, level) for level in levels]
        name_axis(axes.xaxis, places.tolist(), names, WIDTH_OF_PANEL)
        axes.set_xlim(-0.5, max(len(levels), 1) - 0.5)
    if not parts:
        return
    low, first, middle, third, high = np.array([np.quantile(y[part], ENDS) for part in parts]).T
    axes.errorbar(places, middle, [middle - low, high - middle], fmt="none", linewidth=1)
    axes.errorbar(places, middle, [middle - first, third - middle], fmt="none", linewidth=4)
    axes.plot(places, middle, "-" * is_axis + "o", color="black", markersize=3, linewidth=1)


def _some(rows: int) -> Any:
    """The places of at most so many rows as a picture can show."""
    return np.random.default_rng(0).permutation(rows)[:MOST_DOTS]
