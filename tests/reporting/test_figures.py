import io
from collections.abc import Callable, Iterator

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from sklearn.calibration import calibration_curve
from sklearn.metrics import confusion_matrix, roc_curve

from pipeline.evaluation.corrected_t_test import corrected_t_test
from pipeline.reporting import figures
from tests.support.builders import make_dataset, make_dummy, make_predictions, make_sure, make_trial

CLASSES = [(0, 1), ("no", "yes"), (False, True), (0, 1, 2), ("a", "b", "c")]


@pytest.fixture(params=CLASSES, ids=str)
def classes(request) -> tuple:
    return request.param


@pytest.fixture
def dataset(classes):
    return make_dataset(classes, classes[-1] if len(classes) == 2 else None)


@pytest.fixture(autouse=True)
def _no_figure_is_left_in_pyplot() -> Iterator[None]:
    before = plt.get_fignums()
    yield
    assert plt.get_fignums() == before


def drawn(figure: Figure) -> Figure:
    """The figure, after it was drawn: as in the run, without a warning."""
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=50)
    assert buffer.getvalue().startswith(b"\x89PNG")
    return figure


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def ticks(axis: Axis) -> list[str]:
    return [label.get_text() for label in axis.get_ticklabels()]


def bar_widths(figure: Figure) -> list[float]:
    return [bar.get_width() for bar in figure.axes[0].patches]


AXES = {
    "roc": ("False positive rate", "True positive rate"),
    "precision_recall": ("Recall", "Precision"),
    "calibration": ("Mean predicted probability", "Fraction of positives"),
}


def axis_labels(figure: Figure) -> list[tuple[str, str]]:
    return [(axes.get_xlabel(), axes.get_ylabel()) for axes in drawn(figure).axes]


@pytest.mark.parametrize(
    ("names", "positive", "drawn_classes"),
    [(("no", "yes"), 1, ["yes"]), (("no", "yes"), 0, ["no"]), (("x", "y", "z"), None, [*"xyz"])],
)
def test_curves_have_a_line_for_each_class_and_axes_that_say_what_they_are(
    names, positive, drawn_classes
):
    result = figures.curves(make_predictions(len(names), positive=positive), names)
    assert {name: axis_labels(figure) for name, figure in result.items()} == {
        name: [labels] for name, labels in AXES.items()
    }
    for figure in result.values():
        labels = [line.get_label() for line in figure.axes[0].get_lines()]
        of_classes = [label.split(" (")[0] for label in labels if label.startswith("class")]
        assert of_classes == [f"class {name}" for name in drawn_classes]


def lines(figure: Figure, place: int) -> dict[str, np.ndarray]:
    """The named lines of one of the pictures: their points."""
    every_line = figure.axes[place].get_lines()
    named = [line for line in every_line if not line.get_label().startswith("_")]
    return {line.get_label().split(" (AUC")[0]: line.get_xydata() for line in named}


@pytest.mark.parametrize("positive", [0, 1])
def test_model_comparison_shows_roc_and_calibration_of_the_positive_class_side_by_side(positive):
    models = {
        "version 2": make_predictions(seed=1, positive=positive),
        "version 1": make_predictions(seed=2, positive=positive),
    }
    figure = drawn(figures.model_comparison(models, ("no", "yes")))
    assert [axes.get_title() for axes in figure.axes] == ["ROC", "Calibration"]
    assert list(lines(figure, 0)) == ["version 2", "version 1"]
    assert list(lines(figure, 1)) == ["Perfectly calibrated", "version 2", "version 1"]
    for name, predictions in models.items():
        hit, score = predictions.truth == positive, predictions.probabilities[:, positive]
        false, true, _ = roc_curve(hit, score)
        np.testing.assert_allclose(lines(figure, 0)[name], np.c_[false, true])
        share, mean = calibration_curve(hit, score, n_bins=8, strategy="quantile")
        np.testing.assert_allclose(lines(figure, 1)[name], np.c_[mean, share])


@pytest.mark.parametrize(
    ("classes", "truths", "drawn_classes"),
    [("xyz", [0, 1, 2], "xyz"), ("xyz", [0, 1], "xy"), ("xy", [0], ""), ("xy", [1], "")],
)
def test_model_comparison_has_a_curve_for_each_class_of_the_rows(classes, truths, drawn_classes):
    predictions = make_predictions(len(classes))
    predictions = predictions.where(np.isin(predictions.truth, truths))
    models = {"a": predictions, "b": predictions}
    figure = figures.model_comparison(models, tuple(classes))
    assert axis_labels(figure) == [AXES["roc"], AXES["calibration"]]
    assert list(lines(figure, 0)) == [
        f"{model}, {name}" for model in "ab" for name in drawn_classes
    ]


@pytest.mark.parametrize(
    "predictions",
    [make_sure(True), make_sure(False), make_dummy(make_predictions())],
    ids=["right", "wrong", "one chance for all"],
)
def test_model_comparison_draws_models_that_say_little(predictions):
    figure = drawn(
        figures.model_comparison({"a": predictions, "b": make_predictions()}, ("no", "yes"))
    )
    assert list(lines(figure, 0)) == ["a", "b"]


def test_png_is_the_picture_as_a_file_of_its_size():
    figure = figures.weights({"svc": 1.0})
    result = figures.png(figure)
    assert result.startswith(b"\x89PNG\r\n\x1a\n")
    height, width, _ = plt.imread(io.BytesIO(result)).shape
    assert (width, height) == tuple(int(side) for side in figure.get_size_inches() * figures.DPI)


@pytest.mark.parametrize(
    "draw",
    [
        lambda: figures.weights({"svc": 1.0}),
        lambda: figures.model_comparison({"a": make_predictions()}, (0, 1)),
    ],
)
def test_png_of_the_same_picture_is_the_same_file(draw: Callable[[], Figure]):
    assert figures.png(draw()) == figures.png(draw())


def test_confusion_counts_as_scikit_learn(classes):
    predictions = make_predictions(len(classes))
    figure = drawn(figures.confusion(predictions, classes)["confusion"])
    expected = confusion_matrix(predictions.truth, predictions.labels)
    assert [int(text) for text in texts(figure)] == expected.ravel().tolist()
    assert ticks(figure.axes[0].xaxis) == [str(label) for label in classes]


def test_thresholds_draw_each_metric_and_mark_the_models_own():
    table = pd.DataFrame({"threshold": [0.2, 0.5, 0.8], "f1": [0.5, 0.6, 0.4], "recall": [1, 1, 0]})
    figure = drawn(figures.thresholds(table, 0.4567))
    labels = [line.get_label() for line in figure.axes[0].get_lines()]
    assert labels == ["f1", "recall", "in the model: 0.457"]
    assert set(figure.axes[0].get_lines()[2].get_xdata()) == {0.4567}


def test_importance_has_the_largest_on_top():
    table = pd.DataFrame({"name": ["a", "b", "c"], "mean": [0.1, 0.3, -0.1], "std": [0.01] * 3})
    figure = drawn(figures.importance(table, "Importance"))
    assert ticks(figure.axes[0].yaxis) == ["c", "a", "b"]
    assert bar_widths(figure) == [-0.1, 0.1, 0.3]


def test_importance_of_many_columns_shows_the_largest():
    means = np.linspace(0, 1, 500)
    table = pd.DataFrame({"name": [f"c{n}" for n in range(500)], "mean": means, "std": 0.01})
    figure = drawn(figures.importance(table, "Importance"))
    assert bar_widths(figure) == means[-figures.MOST_BARS :].tolist()
    assert figure.axes[0].get_title().endswith("(the 40 of 500 columns with most)")
    assert figure.get_figheight() < 15


@pytest.mark.parametrize("losses", [[0.6], [0.6, 0.5, 0.7, 0.4, 9.0], [0.5, 0.5]])
def test_search_history_shows_the_best_so_far(losses):
    families = ["svc", "mlp"] * 3
    trials = [make_trial(n, families[n], loss) for n, loss in enumerate(losses)]
    figure = drawn(figures.search_history(trials))
    (best,) = figure.axes[0].get_lines()
    assert best.get_ydata().tolist() == np.minimum.accumulate(losses).tolist()
    named = [points.get_label() for points in figure.axes[0].collections]
    assert named == families[: min(2, len(losses))]
    low, high = figure.axes[0].get_ylim()
    assert low < min(losses) < high


def make_audit(folds: int, gap: float = 0.02) -> tuple:
    """Arguments of `figures.audit` for two other models."""
    rng = np.random.default_rng(0)
    inner, outer = (pd.Series(rng.normal(0.5, 0.02, folds)) for _ in range(2))
    differences = {
        "best_trial": pd.Series(rng.normal(0, gap, folds)),
        "plain": pd.Series(rng.normal(-gap, gap, folds)),
    }
    comparisons = {
        name: corrected_t_test(values.to_numpy(), 1 / (folds - 1))
        for name, values in differences.items()
    }
    return differences, comparisons, inner, outer


def test_audit_shows_each_fold_the_mean_its_interval_and_how_likely_it_is():
    differences, comparisons, inner, outer = make_audit(10)
    axes = drawn(figures.audit(differences, comparisons, inner, outer)).axes[0]
    assert ticks(axes.yaxis) == ["best trial", "plain"]
    for place, (name, result) in enumerate(comparisons.items()):
        points = axes.collections[2 * place].get_offsets()
        assert points[:, 0].tolist() == differences[name].tolist()
        assert set(points[:, 1]) == {place}
        (bar,) = axes.containers[place].lines[2][0].get_segments()
        assert bar[:, 0] == pytest.approx([result.low, result.high])
        (middle,) = axes.containers[place].lines[0].get_xdata()
        assert middle == result.difference
        assert axes.texts[place].get_text() == f"p = {result.p_value:.3f}"


def test_audit_shows_what_the_procedure_thought_beside_what_came():
    differences, comparisons, inner, outer = make_audit(4)
    axes = drawn(figures.audit(differences, comparisons, inner, outer)).axes[1]
    lines = axes.get_lines()
    assert [line.get_xdata().tolist() for line in lines] == [[1, 2, 3, 4]] * 2
    assert [line.get_ydata().tolist() for line in lines] == [inner.tolist(), outer.tolist()]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        f"inner, mean {inner.mean():.4f}",
        f"outer, mean {outer.mean():.4f}",
    ]


@pytest.mark.parametrize(("folds", "gap"), [(2, 0.02), (10, 0.0), (10, 30.0)])
def test_audit_draws_two_folds_no_difference_and_a_huge_one(folds, gap):
    figure = drawn(figures.audit(*make_audit(folds, gap)))
    assert [len(points.get_offsets()) for points in figure.axes[0].collections[::2]] == [folds] * 2
    low, high = figure.axes[0].get_ylim()
    assert low < 0
    assert high > 1


@pytest.mark.parametrize(
    ("weights", "widths", "message"),
    [
        ({"svc": 0.75, "mlp": 0.0, "extra_trees": 0.25}, [0, 0.25, 0.75], ["0%", "25%", "75%"]),
        ({"svc": 1.0}, [1.0], ["100%"]),
    ],
)
def test_weights_are_told_as_shares_with_the_largest_on_top(weights, widths, message):
    figure = drawn(figures.weights(weights))
    assert bar_widths(figure) == widths
    assert texts(figure) == message
