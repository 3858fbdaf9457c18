"""Pictures of a search and of what it led to: its trials, the blend, the audit of the procedure."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pipeline.evaluation.corrected_t_test import Comparison
from pipeline.evaluation.metrics import Values
from pipeline.reporting.style import (
    COLORS,
    FONT,
    MARKERS,
    REFERENCE,
    bars,
    label,
    legend,
    sheet,
    styled,
    title,
)
from pipeline.results import Trial
from pipeline.tasks import Family

FAR = 3  # times the width of the middle half of the losses


@styled
def search_history(trials: Sequence[Trial], loss: str) -> Figure:
    """Loss of each trial by family, and the best so far; failed and far-off ones at the upper edge.

    Far off is what lies above the middle half of the losses by more than three times its width
    ("far out" in Tukey 1977).
    """
    figure = sheet(3.8)
    axes = figure.add_subplot()
    losses = np.array([trial.loss for trial in trials])
    numbers = np.array([trial.number for trial in trials])
    families = np.array([trial.family for trial in trials])
    is_failed = np.isinf(losses)
    low, edge = _limits(losses[~is_failed])
    is_far = ~is_failed & (losses > edge)
    for place, family in enumerate(dict.fromkeys(families)):
        color, marker = _series(place)
        near = (families == family) & ~is_far & ~is_failed
        axes.scatter(numbers[near], losses[near], 18, c=color, marker=marker, label=label(family))
        far = numbers[(families == family) & is_far]
        axes.scatter(far, np.full(len(far), edge), 30, c=color, marker="^", clip_on=False)
    best = np.minimum.accumulate(losses)
    axes.step(numbers, best, color="black", where="post", linewidth=1, label="best so far")
    if is_far.any():
        text = f"{is_far.sum()} far off, up to {losses[is_far].max():.3g}"
        axes.scatter([], [], 30, c=REFERENCE, marker="^", label=text)
    if is_failed.any():
        at_edge = np.full(is_failed.sum(), edge)
        text = f"{is_failed.sum()} failed"
        cross: dict[str, Any] = {"c": "black", "marker": "x", "clip_on": False, "label": text}
        axes.scatter(numbers[is_failed], at_edge, 24, **cross)
    axes.set(xlabel="trial", ylabel=f"{loss}, mean over the folds", ylim=(low, edge))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    legend(figure, axes)
    title(figure, f"Search: {loss} of {len(trials)} trials, cross-validated")
    return figure


def _limits(losses: Values) -> tuple[float, float]:
    """The y axis: from below the best to above the worst, or to where trials are far off."""
    low, high = losses.min(), losses.max()
    quarter, three_quarters = np.percentile(losses, [25, 75])
    fence = three_quarters + FAR * (three_quarters - quarter)
    if fence > quarter:
        high = min(high, fence)
    margin = 0.06 * (high - low) or 0.02 * abs(high) or 1.0
    return low - margin, high + margin


def _series(place: int) -> tuple[str, str]:
    """Colour and marker of a series among others."""
    return COLORS[place % len(COLORS)], MARKERS[place % len(MARKERS)]


@styled
def audit(
    differences: Mapping[str, "pd.Series[float]"],
    comparisons: Mapping[str, Comparison],
    inner: "pd.Series[float]",
    outer: "pd.Series[float]",
    loss: str,
) -> Figure:
    """The loss over the outer folds: against each other model, and against the inner score."""
    figure = sheet(4 + 0.6 * len(comparisons))
    ratios = [0.8 + 0.6 * len(comparisons), 2.2]
    above, below = figure.subplots(2, 1, height_ratios=ratios)
    _differences(above, differences, comparisons)
    above.set_xlabel(f"{loss} of the procedure minus the other's (left of 0: better)")
    above.set_title("Against simpler models, fold by fold")
    for place, (name, each) in enumerate({"inner": inner, "outer": outer}.items()):
        color, marker = _series(place)
        text = f"{name}, mean {each.mean():.4f}"
        below.plot(each.index + 1, each, color=color, marker=marker, markersize=4, label=text)
    below.set(xlabel="outer fold", ylabel=loss, title="What it thought and what came")
    below.xaxis.set_major_locator(MaxNLocator(integer=True))
    for axes in (above, below):
        legend(figure, axes)
    title(figure, f"Audit of the procedure: {loss} in {len(outer)} outer folds")
    return figure


def _differences(
    axes: Axes, differences: Mapping[str, "pd.Series[float]"], comparisons: Mapping[str, Comparison]
) -> None:
    """A row for each other model: folds as dots, their mean, its interval and its p-value."""
    axes.axvline(0, color=REFERENCE, linewidth=1)
    options: dict[str, Any] = {"fmt": "D", "color": "black", "capsize": 4, "markersize": 5}
    for place, (other, compared) in enumerate(comparisons.items()):
        folds, mean = differences[other], compared.difference
        axes.scatter(folds, np.full(len(folds), place), 18, c=COLORS[0], alpha=0.6, label="a fold")
        reach = [[mean - compared.low], [compared.high - mean]]
        axes.errorbar([mean], [place + 0.25], xerr=reach, label="mean, 95 % interval", **options)
        p_value = f"p = {compared.p_value:.3f}"
        axes.text(mean, place + 0.34, p_value, ha="center", va="bottom", fontsize=FONT - 1)
    names = [name.replace("_", " ") for name in comparisons]
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(-0.4, len(names) - 0.2)


@styled
def weights(table: Mapping[Family, float]) -> Figure:
    """Weight of each family in the blend, the largest on top."""
    values = pd.Series(table, dtype=float).sort_values(kind="stable")
    figure, axes = bars(values, [f"{value:.0%}" for value in values])
    axes.set(xlim=(0, 1.1), xlabel="weight")
    title(figure, "Weights of the families in the blend")
    return figure
