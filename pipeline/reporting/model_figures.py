"""Pictures of a classifier on labelled rows: curves, confusion, threshold, importance."""

from collections.abc import Callable, Mapping, Sequence
from textwrap import fill
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from sklearn.calibration import calibration_curve
from sklearn.metrics import confusion_matrix

from pipeline.evaluation.curves import (
    GRID,
    Curve,
    class_curves,
    drawable,
    mean_curves,
)
from pipeline.evaluation.metrics import Predictions, Values
from pipeline.reporting.style import (
    BAND,
    CHARACTER,
    COLORS,
    FONT,
    MARKERS,
    MOST_BARS,
    REFERENCE,
    SMALL,
    TINY,
    WIDTH,
    bars,
    entries,
    label,
    labels,
    legend,
    name_axis,
    panels,
    part,
    sheet,
    styled,
    title,
)
from pipeline.tasks import CLASSIFICATION, TaskName

BINS = 8  # of a calibration
MOST_CLASSES = 20  # that have a panel
MOST_CONFUSED = 30  # classes of a confusion matrix
MOST_COUNTED = 20  # classes of a confusion matrix whose cells hold their count
LONGEST_HEADING = 20  # characters, of a panel beside three others
NAMES = {"roc": "ROC", "precision_recall": "Precision and recall", "calibration": "Calibration"}
AXES = {
    "roc": ("False positive rate", "True positive rate"),
    "precision_recall": ("Recall", "Precision"),
    "calibration": ("Mean predicted probability", "Fraction of positives"),
}
UNIT = {
    **dict.fromkeys(("xlim", "ylim"), (-0.02, 1.02)),
    **dict.fromkeys(("xticks", "yticks"), (0, 0.5, 1)),
}
INTERVAL = "95 % band (bootstrap)"


@styled
def curves(predictions: Predictions, classes: Sequence[Any], seed: int) -> dict[str, Figure]:
    """ROC, precision-recall and calibration: of the positive class, or a panel for each class.

    The bands are those of `class_curves`. A model that says the same of every row, the dummy, has
    the diagonal, and the share of the class. The bins of the calibration take rows as they are,
    whatever their weights.
    """
    places = _most_frequent(predictions, drawable(predictions), MOST_CLASSES)
    both = class_curves(predictions, places, seed)
    what = (predictions, classes, places)
    heads = [f"AUC {one.roc.area:.3f}" for one in both]
    roc, roc_axes = _of_classes("roc", *what, heads)
    heads = [f"AP {one.precision_recall.area:.3f}" for one in both]
    pr, pr_axes = _of_classes("precision_recall", *what, heads)
    calibration, calibration_axes = _of_classes("calibration", *what, [""] * len(places))
    for number, (place, one) in enumerate(zip(places, both, strict=True)):
        hits, probability = predictions.truth == place, predictions.probabilities[:, place]
        _roc(roc_axes[number], one.roc, COLORS[0], "this model")
        _dotted(roc_axes[number], [0, 1], "dummy: chance")
        _band(pr_axes[number], one.precision_recall, COLORS[0], "this model")
        _dotted(pr_axes[number], [hits.mean()] * 2, "dummy: prevalence")
        _calibration(calibration_axes[number], hits, probability, COLORS[0], "this model")
    _zoom(calibration_axes)
    figures = {"roc": roc, "precision_recall": pr, "calibration": calibration}
    for figure in figures.values():
        legend(figure, figure.axes[0] if len(places) == 1 else None)
    return figures


@styled
def model_comparison(
    models: Mapping[str, Predictions], classes: Sequence[Any], seed: int = 0
) -> Figure:
    """ROC, precision-recall and calibration of models on the same rows, a colour for each model.

    Of more than two classes the curves are the means over those of each class against the rest, as
    the metrics are, and the calibration is of all classes' probabilities together.
    """
    first = next(iter(models.values()))
    places = drawable(first)
    figure = sheet(WIDTH)
    roc, pr, calibration, key = figure.subplots(2, 2).ravel()
    for number, (name, p) in enumerate(models.items() if places else ()):
        color, both = COLORS[number], mean_curves(p, places, seed)
        areas = f"AUC {both.roc.area:.3f}, AP {both.precision_recall.area:.3f}"
        text = f"{label(name)}\n{areas}"
        _roc(roc, both.roc, color, text)
        _band(pr, both.precision_recall, color, text)
        hits = np.equal.outer(p.truth, places).ravel()
        _calibration(calibration, hits, p.probabilities[:, places].ravel(), color, text)
        _dotted(pr, [np.isin(p.truth, places).mean() / len(places)] * 2)
    for axes, name in ((roc, "roc"), (pr, "precision_recall"), (calibration, "calibration")):
        axes.set(**UNIT, title=NAMES[name], xlabel=AXES[name][0], ylabel=AXES[name][1])
    _dotted(roc, [0, 1], "dummy: chance, prevalence;\nperfectly calibrated")
    _zoom([calibration])
    key.set_axis_off()
    key.legend(*entries(roc), loc="center left")
    title(figure, f"{' and '.join(map(label, models))} on {_rows(first, classes)}")
    return figure


@styled
def confusion(predictions: Predictions, classes: Sequence[Any]) -> dict[str, Figure]:
    """Confusion matrix at the model's threshold: counts, and in colour the share of a true class.

    With weights the counts are sums of them.
    """
    places = _most_frequent(predictions, tuple(range(predictions.classes)), MOST_CONFUSED)
    table = confusion_matrix(
        predictions.truth, predictions.labels, labels=places, sample_weight=predictions.weights
    )
    names = labels(classes[place] for place in places)
    margin = max(map(len, names)) * CHARACTER * (FONT - 1) + 0.3
    side = min(WIDTH - margin - 1, 1.1 * len(places))
    figure = sheet(side + 1 + min(margin, max(0.3, margin)))
    axes = figure.add_subplot()
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1e-9)
    picture = axes.imshow(shares, vmin=0, vmax=1)
    for axis in (axes.xaxis, axes.yaxis):
        name_axis(axis, range(len(places)), names, side)
    if len(places) <= MOST_COUNTED:
        size = min(float(FONT), max(TINY, side / len(places) / 4 / CHARACTER))
        for (row, column), count in np.ndenumerate(table):
            color = "black" if shares[row, column] > 0.6 else "white"
            center: dict[str, Any] = {
                "ha": "center",
                "va": "center",
                "color": color,
                "fontsize": size,
            }
            axes.text(column, row, f"{count:.5g}", **center)
    axes.set(xlabel="predicted", ylabel="true")
    figure.colorbar(picture, ax=axes, shrink=0.6, label="share of the true class")
    which = part(len(places), predictions.classes, "with most rows", "classes")
    title(figure, f"Confusion on {len(predictions.truth)} rows{which}")
    return {"confusion": figure}


TEST_FIGURES: dict[TaskName, Callable[..., dict[str, Figure]]] = {
    **dict.fromkeys(
        CLASSIFICATION, lambda p, classes, seed: curves(p, classes, seed) | confusion(p, classes)
    )
}


def of_test_part(predictions: Predictions, classes: Sequence[Any], seed: int) -> dict[str, Figure]:
    """The figures of a model's predictions on the test part, by name."""
    return TEST_FIGURES[predictions.task.name](predictions, classes, seed)


@styled
def thresholds(table: pd.DataFrame, chosen: float, what: str) -> Figure:
    """Metrics over the threshold, that of the model marked; `what` says of which class and rows.

    A metric is not drawn where it is NaN, as precision is where nothing is predicted.
    """
    figure = sheet(3.6)
    axes = figure.add_subplot()
    for number, name in enumerate(table.columns.drop("threshold")):
        options: dict[str, Any] = {"marker": MARKERS[number], "markersize": 3}
        axes.plot(table["threshold"], table[name], label=name, **options)
    marked = f"in the model: {chosen:.3f}"
    axes.axvline(chosen, color="black", linestyle=":", label=marked)
    axes.set(xlabel="threshold", ylabel="metric", xlim=(0, 1), ylim=(-0.02, 1.02))
    legend(figure, axes)
    title(figure, f"Metrics over the decision threshold: {what}")
    return figure


@styled
def importance(table: pd.DataFrame, what: str, meaning: str) -> Figure:
    """Bars with error bars from the columns name, mean and std, the largest on top.

    `what` says of what the importance is, `meaning` what a bar's length is.
    """
    drawn = table.set_index("name").sort_values("mean").tail(MOST_BARS)
    figure, axes = bars(drawn["mean"], xerr=drawn["std"], error_kw={"elinewidth": 1})
    axes.axvline(0, color="black", linewidth=1)
    axes.set_xlabel(fill(meaning, 50))
    which = part(len(drawn), len(table), "with most", "")
    spread = "line: ± standard deviation over shuffles"
    title(figure, f"Permutation importance of {what}{which.replace('  ', ' ')}", spread)
    return figure


def _of_classes(
    name: str,
    p: Predictions,
    classes: Sequence[Any],
    places: Sequence[int],
    heads: Sequence[str],
) -> tuple[Figure, list[Axes]]:
    """A figure with a panel for each class, from 0 to 1 along both axes, with its rows and head."""
    count = max(1, len(places))
    in_row = min(count, 3 if count < 7 else 4)
    figure, all_axes = panels(count, 4.3 if count == 1 else 2.1, in_row)
    names = labels((classes[place] for place in places), LONGEST_HEADING)
    for number, axes in enumerate(all_axes):
        axes.set(**UNIT, aspect="equal")
        size = FONT if count == 1 else SMALL
        axes.tick_params(labelsize=size)
        x, y = (fill(one, 40 if in_row < 4 else 20) for one in AXES[name])
        axes.set_xlabel(x if number + in_row >= count else "", fontsize=size)
        axes.set_ylabel(y if number % in_row == 0 else "", fontsize=size)
        if count > 1:
            rows = f"{(p.truth == places[number]).sum()} rows"
            text = ", ".join(each for each in (rows, heads[number]) if each)
            axes.set_title(f"{names[number]}\n{text}", fontsize=SMALL)
    which = part(len(places), len(p.averaged_classes), "with most rows", "classes")
    head = heads[0] if len(places) == 1 else ""
    title(figure, f"{NAMES[name]} on {_rows(p, classes)}{which}", head)
    return figure, all_axes


def _rows(p: Predictions, classes: Sequence[Any]) -> str:
    """For a title: of how many rows and of which class."""
    if p.positive is None:
        return f"{len(p.truth)} rows, each class against the rest"
    count = int((p.truth == p.positive).sum())
    return f"{len(p.truth)} rows, {count} of them of class {label(classes[p.positive])}"


def _roc(axes: Axes, curve: Curve, color: str, name: str) -> None:
    """With the rise at no false positive."""
    axes.plot([0, 0], [0, curve.y[0]], color=color)
    _band(axes, curve, color, name)


def _band(axes: Axes, curve: Curve, color: str, name: str) -> None:
    axes.plot(GRID, curve.y, color=color, label=name)
    band: dict[str, Any] = {"color": color, "alpha": BAND, "linewidth": 0, "label": INTERVAL}
    axes.fill_between(GRID, curve.low, curve.high, **band)


def _dotted(axes: Axes, y: Sequence[float], name: str | None = None) -> None:
    axes.plot([0, 1], y, ":", color=REFERENCE, label=name)


def _calibration(axes: Axes, hits: Any, probability: Values, color: str, name: str) -> None:
    share, mean = calibration_curve(hits, probability, n_bins=BINS, strategy="quantile")
    axes.plot(mean, share, "o-", color=color, markersize=4, label=name)


def _zoom(all_axes: Sequence[Axes]) -> None:
    """Calibrations, to as far as probabilities and shares reach, and the line that they should be.

    Of many classes all of them are small.
    """
    drawn = [np.max(line.get_xydata()) for axes in all_axes for line in axes.get_lines()]
    limit = min(1.02, 1.1 * max(drawn, default=1.0))
    for axes in all_axes:
        _dotted(axes, [0, 1], "perfectly calibrated")
        axes.set(xlim=(-0.02 * limit, limit), ylim=(-0.02 * limit, limit))
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(3))


def _most_frequent(p: Predictions, places: Sequence[int], most: int) -> list[int]:
    """At most so many of the classes, those with most rows, in their order."""
    counts = np.bincount(p.truth, minlength=p.classes)
    return sorted(sorted(places, key=lambda place: -counts[place])[:most])
