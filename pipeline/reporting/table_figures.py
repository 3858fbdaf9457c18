"""Pictures of a table before any model sees it: classes, gaps, correlations, distributions."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform

from pipeline.reporting.style import (
    CHARACTER,
    COLORS,
    FONT,
    MOST_BARS,
    REFERENCE,
    SMALL,
    WIDTH,
    bars,
    label,
    labels,
    name_axis,
    panels,
    part,
    sheet,
    styled,
    title,
)
from pipeline.schema.columns import Column
from pipeline.schema.kinds import kind_of

BINS = 20
MOST_CLASSES = 20  # of which distributions are drawn
MOST_LEVELS = 8  # of a column among others
MOST_WRITTEN = 12  # columns of a matrix whose cells hold their value
LONGEST_LEVEL = 14  # characters
LONGEST_CLASS = 20
LONGEST_HEADING = 22
MOST_LETTERS = 22  # of all levels of a panel that stand side by side
PANELS_IN_ROW = 3

Vector = NDArray[np.float64]


@styled
def class_balance(y: "pd.Series[Any]") -> Figure:
    """Rows per class, in the order of the classes; of many classes, of those with most rows."""
    counts = y.value_counts().sort_index()
    drawn = counts[counts.rank(method="first", ascending=False) <= MOST_BARS][::-1]
    which = part(len(drawn), len(counts), "with most rows", "classes")
    figure, axes = bars(drawn, [f"{n} ({n / len(y):.1%})" for n in drawn])
    title(figure, f"Class balance of {label(y.name)}, {len(y)} rows{which}")
    axes.set_xlabel("rows")
    return figure


@styled
def missing(X: pd.DataFrame) -> Figure | None:
    """Share of missing values of the columns that have some, the most on top; None without any."""
    share = X.isna().mean()
    share = share[share > 0].sort_values(kind="stable")
    if share.empty:
        return None
    drawn = share.tail(MOST_BARS)
    which = part(len(drawn), len(share), "with most")
    figure, axes = bars(drawn, [f"{value:.1%}" for value in drawn])
    title(
        figure, f"Missing values in {len(share)} of {X.shape[1]} columns, {len(X)} rows", which[1:]
    )
    axes.set_xlabel("share of rows")
    return figure


@styled
def correlations(table: pd.DataFrame, target: str | None, note: str) -> Figure:
    """Matrix of Spearman correlations, columns that go together side by side, the target last.

    `note` says of which columns and rows. The order is that of the leaves of average linkage by
    1 - |rho|, in which neighbours are most alike (Bar-Joseph et al. 2001).
    """
    order = _clustered(table.drop(index=target, columns=target) if target else table)
    order += [target] if target else []
    table = table.loc[order, order]
    count, names = len(table), labels(order)
    margin = max(map(len, names)) * CHARACTER * (FONT - 1)
    side = WIDTH - margin - 1  # and the color bar
    figure = sheet(side + margin + 0.6)
    axes = figure.add_subplot()
    # Of both signs: cividis has no middle, and blue and red differ for the colour-blind too.
    picture = axes.imshow(np.ma.masked_invalid(table.to_numpy()), cmap="RdBu_r", vmin=-1, vmax=1)
    axes.set_facecolor("0.85")
    for axis in (axes.xaxis, axes.yaxis):
        name_axis(axis, range(count), names, side)
    if count <= MOST_WRITTEN:
        for (row, column), value in np.ndenumerate(table.to_numpy()):
            color = "white" if abs(value) > 0.6 else "black"
            text = f"{value:.2f}"
            axes.text(column, row, text, ha="center", va="center", color=color, fontsize=SMALL)
    figure.colorbar(picture, ax=axes, shrink=0.6, label="Spearman's ρ")
    title(figure, f"Correlations (Spearman), clustered, {note}")
    return figure


def _clustered(table: pd.DataFrame) -> list[Any]:
    """The columns in the order in which neighbours go together; as they are where none does."""
    if len(table) < 3:
        return list(table.columns)
    distance = 1 - np.nan_to_num(np.abs(table.to_numpy())).clip(max=1)
    distance = (distance + distance.T) / 2
    np.fill_diagonal(distance, 0)
    tree = linkage(squareform(distance, checks=False), "average", optimal_ordering=True)
    return [table.columns[place] for place in leaves_list(tree)]


@styled
def distributions(
    X: pd.DataFrame, y: "pd.Series[Any]", columns: Mapping[str, Column], note: str
) -> Figure:
    """A panel for each column, as its kind asks, with a strip for each class, one below the other.

    A strip has the shares of the class's rows that fall into each bin, to one scale within a panel,
    and as a grey line those of all rows. `note` says of which columns and rows. Of texts `X` holds
    the lengths.
    """
    counts = y.value_counts().sort_index()
    classes = counts.index[counts.rank(method="first", ascending=False) <= MOST_CLASSES]
    which = part(len(classes), len(counts), "with most rows", "classes").strip()
    figure, axes = panels(X.shape[1], 0.65 + len(classes) * np.clip(1.6 / len(classes), 0.14, 0.45))
    headings = labels(X.columns, LONGEST_HEADING)
    for place, (axis, (name, values)) in enumerate(zip(axes, X.items(), strict=True)):
        column, present = columns[str(name)], values.dropna()
        edges, where = PANELS[column.kind](axis, column, present.to_numpy())
        of_row = y.loc[present.index].to_numpy()
        _strips(axis, edges, where, [of_row == one for one in classes])
        names = (
            labels(classes, LONGEST_CLASS) if place % PANELS_IN_ROW == 0 else [""] * len(classes)
        )
        axis.set_yticks(np.arange(len(classes))[::-1] + 0.4, names, fontsize=SMALL)
        axis.set_title(headings[place], fontsize=FONT - 1)
        axis.tick_params("y", length=0)
        axis.tick_params("x", labelsize=SMALL)
        axis.xaxis.label.set_fontsize(SMALL)
    meaning = "height: share of the class's rows; grey line: of all rows"
    title(figure, f"Distributions by class of {label(y.name)}, {note}", which, meaning)
    figure.supylabel(label(y.name), fontsize=FONT - 1)
    return figure


def _strips(
    axes: Axes, edges: Vector, where: Vector, of_classes: Sequence[NDArray[np.bool_]]
) -> None:
    """A histogram for each class, the first on top: `where` on the x axis its rows are."""
    axes.set_ylim(-0.1, len(of_classes))
    if not len(edges):
        return
    shares = [_shares(where[rows], edges) for rows in of_classes]
    of_all = _shares(where, edges)
    scale = 0.85 / max(of_all.max(), *(share.max() for share in shares), 1e-9)
    for place, share in enumerate(shares):
        base = len(shares) - 1 - place
        color = COLORS[place] if len(shares) <= len(COLORS) else COLORS[0]
        axes.stairs(base + scale * share, edges, baseline=base, fill=True, color=color)
        axes.stairs(base + scale * of_all, edges, baseline=base, color=REFERENCE, linewidth=0.7)


def _shares(values: Vector, edges: Vector) -> Vector:
    return np.asarray(np.histogram(values, edges)[0] / max(len(values), 1))


def _numbers(axes: Axes, column: Column, values: Vector) -> tuple[Vector, Vector]:
    """Bins of one width; whole numbers in a small range have one each."""
    axes.set_xlabel(getattr(column, "unit", ""))
    axes.xaxis.set_major_locator(MaxNLocator(4))
    low, high = (values.min(), values.max()) if len(values) else (0.0, 1.0)
    if high - low < BINS and not np.mod(values, 1).any():
        return np.arange(low, high + 2) - 0.5, values
    try:
        return np.histogram_bin_edges(values, min(BINS, len(np.unique(values)))), values
    except ValueError:  # one huge number, with no bin of finite size around it
        return np.empty(0), values


def _dates(axes: Axes, column: Column, values: Vector) -> tuple[Vector, Vector]:
    """As of numbers: matplotlib counts dates in days since 1970 too."""
    edges, values = _numbers(axes, column, values)
    locator = AutoDateLocator(minticks=2, maxticks=6)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    return edges, values


def _lengths(axes: Axes, column: Column, values: Vector) -> tuple[Vector, Vector]:
    """As of numbers, which the lengths of texts are."""
    bins = _numbers(axes, column, values)
    axes.set_xlabel("characters")
    return bins


def _levels(axes: Axes, column: Column, values: Vector) -> tuple[Vector, Vector]:
    """A bin for each level in its order; of many levels, for the most frequent."""
    codes, counts = np.unique(values, return_counts=True)
    drawn = np.sort(codes[np.argsort(-counts, kind="stable")[:MOST_LEVELS]])
    axes.set_xlabel(part(len(drawn), len(codes), "with most rows", "levels").strip())
    names = labels((kind_of(column).written(column, code) for code in drawn), LONGEST_LEVEL)
    is_long = max(map(len, names), default=0) * len(names) > MOST_LETTERS
    axes.set_xticks(range(len(drawn)), names, rotation=90 if is_long else 0)
    where = np.searchsorted(drawn, values) if len(drawn) else values
    is_drawn = np.isin(values, drawn)
    edges = np.arange(len(drawn))[:, None] + [-0.4, 0.4]  # and a gap between two
    return edges.ravel(), np.where(is_drawn, where, -1)


# kind of column -> the edges of bins along x and where the rows are; it also writes the x axis.
PANELS: Mapping[str, Callable[[Axes, Any, Vector], tuple[Vector, Vector]]] = {
    **dict.fromkeys(("number", "integer"), _numbers),
    **dict.fromkeys(("boolean", "category", "ordinal"), _levels),
    "date": _dates,
    "text": _lengths,
}
