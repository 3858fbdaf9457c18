"""The pictures: matplotlib figures made of plain data, drawn without a screen."""

import io
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from sklearn.calibration import CalibrationDisplay
from sklearn.metrics import ConfusionMatrixDisplay, PrecisionRecallDisplay, RocCurveDisplay

from pipeline.evaluation.corrected_t_test import Comparison
from pipeline.evaluation.metrics import Predictions
from pipeline.results import Trial
from pipeline.tasks import CLASSIFICATION, Family, TaskName

MOST_BARS = 40  # of a picture that a person can read
LONGEST_LABEL = 40  # characters
DPI = 100
# Labels of axes: those of scikit-learn name a positive label, True, which is no class of the table.
ROC = {"xlabel": "False positive rate", "ylabel": "True positive rate"}
PRECISION_RECALL = {"xlabel": "Recall", "ylabel": "Precision"}
CALIBRATION = {"xlabel": "Mean predicted probability", "ylabel": "Fraction of positives"}


def model_comparison(models: dict[str, Predictions], classes: Sequence[Any]) -> Figure:
    """ROC and calibration of models on the same rows, side by side, as `curves` draws them."""
    figure = _sheet(8, 4)
    roc, calibrated = figure.subplots(1, 2)
    for name, predictions in models.items():
        for place in predictions.averaged_classes:
            hits = predictions.truth == place
            if hits.all() or not hits.any():
                continue
            by_weight = {"sample_weight": predictions.weights}
            label = name if len(predictions.averaged_classes) == 1 else f"{name}, {classes[place]}"
            probability = predictions.probabilities[:, place]
            RocCurveDisplay.from_predictions(hits, probability, ax=roc, name=label, **by_weight)
            _calibration(hits, probability, calibrated, label)
    roc.plot([0, 1], [0, 1], "k:", linewidth=1)
    roc.set(title="ROC", **ROC)
    calibrated.set(title="Calibration", **CALIBRATION)
    return figure


def curves(predictions: Predictions, classes: Sequence[Any]) -> dict[str, Figure]:
    """ROC, precision-recall and calibration: of the positive class, or of each without one.

    The bins of the calibration take rows as they are, whatever their weights.
    """
    by_weight = {"sample_weight": predictions.weights}
    roc, roc_axes = _figure(title="ROC")
    pr, pr_axes = _figure(title="Precision and recall")
    calibration, calibration_axes = _figure(title="Calibration")
    for place in predictions.averaged_classes:
        hit, score = predictions.truth == place, predictions.probabilities[:, place]
        name = f"class {classes[place]}"
        RocCurveDisplay.from_predictions(hit, score, ax=roc_axes, name=name, **by_weight)
        PrecisionRecallDisplay.from_predictions(hit, score, ax=pr_axes, name=name, **by_weight)
        _calibration(hit, score, calibration_axes, name)
    roc_axes.plot([0, 1], [0, 1], "k:", linewidth=1)
    roc_axes.set(**ROC)
    pr_axes.set(**PRECISION_RECALL)
    calibration_axes.set(**CALIBRATION)
    return {"roc": roc, "precision_recall": pr, "calibration": calibration}


def confusion(predictions: Predictions, classes: Sequence[Any]) -> dict[str, Figure]:
    """Confusion matrix at the model's threshold."""
    figure, axes = _figure(title="Confusion")
    ConfusionMatrixDisplay.from_predictions(
        np.asarray(classes, dtype=object)[predictions.truth].astype(str),
        np.asarray(classes, dtype=object)[predictions.labels].astype(str),
        labels=[str(label) for label in classes],
        sample_weight=predictions.weights,
        values_format=None if predictions.weights is None else ".5g",
        ax=axes,
        cmap="Blues",
        colorbar=False,
    )
    return {"confusion": figure}


TEST_FIGURES: dict[TaskName, tuple[Callable[..., dict[str, Figure]], ...]] = {
    **dict.fromkeys(CLASSIFICATION, (curves, confusion))
}


def of_test_part(predictions: Predictions, classes: Sequence[Any]) -> dict[str, Figure]:
    """The figures of a model's predictions on the test part, by name."""
    return {
        name: figure
        for draw in TEST_FIGURES[predictions.task.name]
        for name, figure in draw(predictions, classes).items()
    }


def thresholds(table: pd.DataFrame, chosen: float) -> Figure:
    """Metrics over the threshold, that of the model marked."""
    figure, axes = _figure(title="Decision threshold")
    for name in table.columns.drop("threshold"):
        axes.plot(table["threshold"], table[name], label=name)
    axes.axvline(chosen, color="black", linestyle=":", label=f"in the model: {chosen:.3f}")
    axes.set_xlabel("threshold")
    axes.legend()
    return figure


def importance(table: pd.DataFrame, meaning: str) -> Figure:
    """Bars with error bars from the columns name, mean and std, the largest on top."""
    count = len(table)
    table = table.sort_values("mean").tail(MOST_BARS)
    title = f"Permutation importance{part(len(table), count, 'with most')}"
    figure, axes = _figure(width=7, height=1.2 + 0.3 * len(table), title=title)
    axes.set_xlabel(meaning)
    axes.barh(_labels(table["name"]), table["mean"], xerr=table["std"])
    axes.axvline(0, color="black", linewidth=1)
    return figure


def search_history(trials: Sequence[Trial]) -> Figure:
    """Loss of each trial by family, and the best so far."""
    figure, axes = _figure(width=9, title="Search")
    numbers = np.array([trial.number for trial in trials])
    losses = np.array([trial.loss for trial in trials])
    families = np.array([trial.family for trial in trials])
    for family in dict.fromkeys(families):
        of_family = families == family
        axes.scatter(numbers[of_family], losses[of_family], s=18, label=family)
    axes.step(numbers, np.minimum.accumulate(losses), "k-", where="post", label="best so far")
    axes.set_ylim(losses.min() * 0.98, max(np.quantile(losses, 0.9), losses.min()) * 1.05)
    axes.set(xlabel="trial", ylabel="log loss (cross-validated)")
    axes.legend(fontsize="small")
    return figure


def audit(
    differences: dict[str, "pd.Series[float]"],
    comparisons: dict[str, Comparison],
    inner: "pd.Series[float]",
    outer: "pd.Series[float]",
) -> Figure:
    """Log loss over the outer folds: against each other model, and against the inner score."""
    figure = _sheet(11, 4.5)
    left, right = figure.subplots(1, 2)
    left.axvline(0, color="black", linewidth=1)
    for place, (name, compared) in enumerate(comparisons.items()):
        left.scatter(differences[name], np.full(len(outer), place), s=18, alpha=0.5)
        reach = [[compared.difference - compared.low], [compared.high - compared.difference]]
        left.errorbar(
            [compared.difference], [place + 0.2], xerr=reach, fmt="D", color="black", capsize=4
        )
        left.text(compared.difference, place + 0.28, f"p = {compared.p_value:.3f}", ha="center")
    left.set_yticks(range(len(comparisons)), [name.replace("_", " ") for name in comparisons])
    left.set_ylim(-0.5, len(comparisons) - 0.3)
    left.set_xlabel("log loss of the procedure minus the other's (left of 0: better)")
    left.set_title("Against simpler models, fold by fold")
    right.plot(inner.index + 1, inner, "o-", label=f"inner, mean {inner.mean():.4f}")
    right.plot(outer.index + 1, outer, "s-", label=f"outer, mean {outer.mean():.4f}")
    right.set(xlabel="outer fold", ylabel="log loss", title="What it thought and what came")
    right.legend()
    return figure


def weights(table: dict[Family, float]) -> Figure:
    """Weight of each family in the blend."""
    figure, axes = _figure(height=1.2 + 0.3 * len(table), title="Weights of the blend")
    names = sorted(table, key=lambda family: table[family])
    bars = axes.barh(names, [table[name] for name in names])
    axes.bar_label(bars, [f"{table[name]:.0%}" for name in names], padding=3)
    axes.set_xlim(0, 1.1)
    return figure


def part(drawn: int, count: int, which: str, what: str = "columns") -> str:
    """For a title: how many of the columns a picture shows, nothing where it shows all."""
    return f" (the {drawn} of {count} {what} {which})" if drawn < count else ""


def png(figure: Figure) -> bytes:
    """The picture as a file."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=DPI)
    return file.getvalue()


def _calibration(hits: Any, probability: Any, axes: Axes, name: str) -> None:
    CalibrationDisplay.from_predictions(
        hits, probability, n_bins=8, strategy="quantile", ax=axes, name=name
    )


def _labels(names: Iterable[Any], longest: int = LONGEST_LABEL) -> list[str]:
    """Names as they fit beside an axis, each once: bars of one name would be one bar."""
    labels: list[str] = []
    for name in map(str, names):
        label = name if len(name) <= longest else f"{name[: longest - 1]}…"
        labels.append(f"{label} ({len(labels) + 1})" if label in labels else label)
    return labels


def _sheet(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _figure(width: float = 6, height: float = 5, title: str = "") -> tuple[Figure, Axes]:
    figure = _sheet(width, height)
    axes = figure.add_subplot()
    axes.set_title(title)
    return figure, axes
