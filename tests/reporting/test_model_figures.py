"""Pictures of a classifier: what they hold, and that all of it can be read at any size."""

from collections.abc import Iterator
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from sklearn.calibration import calibration_curve
from sklearn.metrics import confusion_matrix

from pipeline.evaluation.curves import GRID, drawable, mean_curves
from pipeline.reporting import model_figures as figures
from pipeline.reporting.style import MOST_BARS
from tests.support.builders import make_dummy, make_predictions, make_sure, make_without_ties
from tests.support.pictures import bar_widths, drawn, heading, long_names, texts, ticks, unreadable

SIZES = [(2, False), (6, True), (20, True)]  # classes, whether names are long


@pytest.fixture(autouse=True)
def _no_figure_is_left_in_pyplot() -> Iterator[None]:
    before = plt.get_fignums()
    yield
    assert plt.get_fignums() == before


def named_lines(figure: Figure, place: int) -> dict[str, np.ndarray]:
    """The named lines of one of the axes: their points."""
    lines = figure.axes[place].get_lines()
    named = [line for line in lines if not line.get_label().startswith("_")]
    return {line.get_label().split("\n")[0]: line.get_xydata() for line in named}


@pytest.mark.parametrize(("classes", "is_long"), SIZES)
def test_every_label_of_every_size_is_whole_and_apart(classes, is_long):
    names = long_names("class", classes, is_long)
    predictions = make_without_ties(classes, rows=30 * classes)
    pictures = figures.of_test_part(predictions, names, seed=0)
    models = {f"version {number} with a long description": predictions for number in (2, 1)}
    pictures["comparison"] = figures.model_comparison(models, names)
    assert {name: unreadable(one) for name, one in pictures.items()} == {n: [] for n in pictures}


@pytest.mark.parametrize("count", [8, 100])
@pytest.mark.parametrize("is_long", [False, True])
def test_importance_of_every_size_is_whole_and_apart(count, is_long):
    names = long_names("column", count, is_long)
    table = pd.DataFrame({"name": names, "mean": np.linspace(0, 1, count), "std": 0.01})
    figure = figures.importance(table, "the columns, on the test part", "rise in log loss " * 4)
    assert unreadable(figure) == []


@pytest.mark.parametrize(
    ("names", "positive", "panels"),
    [(("no", "yes"), 1, ["yes"]), (("no", "yes"), 0, ["no"]), (("x", "y", "z"), None, [*"xyz"])],
)
def test_curves_have_a_panel_for_each_class_with_band_and_dummy(names, positive, panels):
    predictions = make_predictions(len(names), positive=positive)
    pictures = figures.curves(predictions, names, seed=0)
    for name, (x, y) in figures.AXES.items():
        figure = drawn(pictures[name])
        assert len(figure.axes) == len(panels)
        assert (figure.axes[0].get_xlabel(), figure.axes[0].get_ylabel()) == (x, y)
        if positive is None:
            assert [axes.get_title().split("\n")[0] for axes in figure.axes] == panels
            assert heading(figure).endswith("on 60 rows, each class against the rest")
        else:
            assert f"on 60 rows, 30 of them of class {panels[0]}" in heading(figure)
    for name, dummy in (("roc", "dummy: chance"), ("precision_recall", "dummy: prevalence")):
        for axes in pictures[name].axes:
            assert len(axes.collections) == 1  # the band
            assert [line.get_label() for line in axes.get_lines()][-2:] == ["this model", dummy]
    shares = [axes.get_lines()[-1].get_ydata()[0] for axes in pictures["precision_recall"].axes]
    assert shares == pytest.approx([1 / len(names)] * len(panels))


def test_curves_of_more_classes_than_panels_are_of_those_with_most_rows():
    predictions = make_without_ties(25, rows=260)
    pictures = figures.curves(predictions, long_names("class", 25, False), seed=0)
    assert [len(figure.axes) for figure in pictures.values()] == [figures.MOST_CLASSES] * 3
    assert heading(pictures["roc"]).endswith("(the 20 of 25 classes with most rows)")


def test_curves_of_rows_of_one_class_have_no_line():
    predictions = make_predictions()
    pictures = figures.curves(predictions.where(predictions.truth == 1), ("no", "yes"), seed=0)
    assert [len(drawn(one).axes) for one in pictures.values()] == [1, 1, 1]
    assert not pictures["roc"].axes[0].get_lines()


@pytest.mark.parametrize("positive", [0, 1])
def test_comparison_has_curves_and_calibration_of_the_positive_class(positive):
    models = {
        "version 2": make_predictions(seed=1, positive=positive),
        "version 1": make_predictions(seed=2, positive=positive),
    }
    figure = drawn(figures.model_comparison(models, ("no", "yes"), seed=3))
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == ["ROC", "Precision and recall", "Calibration", ""]
    key = [text.get_text().split("\n")[0] for text in figure.axes[3].get_legend().get_texts()]
    assert key[:3] == ["version 2", figures.INTERVAL, "version 1"]
    for name, predictions in models.items():
        both = mean_curves(predictions, [positive], seed=3)
        np.testing.assert_allclose(named_lines(figure, 0)[name], np.c_[GRID, both.roc.y])
        expected = np.c_[GRID, both.precision_recall.y]
        np.testing.assert_allclose(named_lines(figure, 1)[name], expected)
        hit, score = predictions.truth == positive, predictions.probabilities[:, positive]
        share, mean = calibration_curve(hit, score, n_bins=8, strategy="quantile")
        np.testing.assert_allclose(named_lines(figure, 2)[name], np.c_[mean, share])


@pytest.mark.parametrize(
    ("classes", "truths"), [("xyz", [0, 1, 2]), ("xyz", [0, 1]), ("xy", [0]), ("xy", [1])]
)
def test_comparison_is_of_the_classes_that_some_rows_have_and_some_have_not(classes, truths):
    predictions = make_predictions(len(classes))
    predictions = predictions.where(np.isin(predictions.truth, truths))
    figure = drawn(figures.model_comparison({"a": predictions, "b": predictions}, tuple(classes)))
    drawn_names = [name for name in named_lines(figure, 0) if name in "ab"]
    assert drawn_names == (["a", "b"] if drawable(predictions) else [])


@pytest.mark.parametrize(
    "predictions",
    [make_sure(True), make_sure(False), make_dummy(make_predictions())],
    ids=["right", "wrong", "one chance for all"],
)
def test_comparison_draws_models_that_say_little(predictions):
    models = {"a": predictions, "b": make_predictions()}
    figure = drawn(figures.model_comparison(models, ("no", "yes")))
    assert {"a", "b"} <= set(named_lines(figure, 0))


@pytest.mark.parametrize("classes", [(0, 1), ("no", "yes"), (False, True), (*"abc",)], ids=str)
def test_confusion_counts_as_scikit_learn(classes):
    predictions = make_predictions(len(classes))
    figure = drawn(figures.confusion(predictions, classes)["confusion"])
    expected = confusion_matrix(predictions.truth, predictions.labels)
    assert [int(text) for text in texts(figure)] == expected.ravel().tolist()
    axes = figure.axes[0]
    assert ticks(axes.xaxis) == ticks(axes.yaxis) == [str(label) for label in classes]
    shares = expected / expected.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(axes.images[0].get_array(), shares)


def test_confusion_of_many_classes_is_of_those_with_most_rows_without_counts():
    figure = drawn(figures.confusion(make_without_ties(40, 300), range(40))["confusion"])
    assert len(ticks(figure.axes[0].yaxis)) == figures.MOST_CONFUSED
    assert texts(figure) == []
    assert heading(figure) == "Confusion on 300 rows (the 30 of 40 classes with most rows)"


def test_confusion_has_sums_of_weights():
    predictions = make_predictions()
    heavy = pd.Series(np.where(predictions.truth == 1, 2.5, 1.0))
    weighted = replace(predictions, metadata=replace(predictions.metadata, weights=heavy))
    figure = drawn(figures.confusion(weighted, ("no", "yes"))["confusion"])
    expected = confusion_matrix(predictions.truth, predictions.labels, sample_weight=heavy)
    assert [float(text) for text in texts(figure)] == expected.ravel().tolist()


def test_thresholds_draw_each_metric_where_it_is_defined_and_mark_the_models_own():
    table = pd.DataFrame(
        {"threshold": [0.2, 0.5, 0.8], "precision": [0.5, 0.6, np.nan], "recall": [1, 1, 0]}
    )
    figure = drawn(figures.thresholds(table, 0.4567, "class yes on 9 rows"))
    precision, recall, chosen = figure.axes[0].get_lines()
    assert np.isnan(precision.get_ydata()).tolist() == [False, False, True]
    assert recall.get_label() == "recall"
    assert chosen.get_label() == "in the model: 0.457"
    assert set(chosen.get_xdata()) == {0.4567}
    assert heading(figure).endswith("class yes on 9 rows")


def test_importance_has_the_largest_on_top_and_says_of_what_it_is():
    table = pd.DataFrame({"name": ["a", "b", "c"], "mean": [0.1, 0.3, -0.1], "std": [0.01] * 3})
    figure = drawn(figures.importance(table, "the columns", "rise in log loss"))
    assert ticks(figure.axes[0].yaxis) == ["c", "a", "b"]
    assert bar_widths(figure) == [-0.1, 0.1, 0.3]
    assert heading(figure).startswith("Permutation importance of the columns line")


def test_importance_of_many_columns_has_the_largest():
    means = np.linspace(0, 1, 500)
    table = pd.DataFrame({"name": [f"c{n}" for n in range(500)], "mean": means, "std": 0.01})
    figure = drawn(figures.importance(table, "the columns", "rise"))
    assert bar_widths(figure) == means[-MOST_BARS:].tolist()
    assert "(the 30 of 500 with most)" in heading(figure)
