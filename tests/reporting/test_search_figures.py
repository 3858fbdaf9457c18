"""Pictures of a search, of its blend and of the audit."""

from math import inf

import numpy as np
import pandas as pd
import pytest

from pipeline.evaluation.corrected_t_test import corrected_t_test
from pipeline.reporting import search_figures as figures
from tests.support.builders import make_trial
from tests.support.pictures import bar_widths, drawn, texts, ticks, unreadable


@pytest.mark.parametrize("losses", [[0.6], [0.6, 0.5, 0.7, 0.4, 9.0], [0.5, 0.5]])
def test_search_history_shows_the_best_so_far(losses):
    families = ["svc", "mlp"] * 3
    trials = [make_trial(n, families[n], loss) for n, loss in enumerate(losses)]
    figure = drawn(figures.search_history(trials, "log loss"))
    (best,) = figure.axes[0].get_lines()
    assert best.get_ydata().tolist() == np.minimum.accumulate(losses).tolist()
    named = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert named[: named.index("best so far")] == families[: min(2, len(losses))]
    low, high = figure.axes[0].get_ylim()
    assert low < min(losses) < high


def test_failed_and_far_off_trials_stand_at_the_upper_edge():
    losses = [inf, 0.5, 0.52, 40.0, 0.48, inf, 0.51, 0.49]
    trials = [make_trial(n, "a family with a very long name" * 2, x) for n, x in enumerate(losses)]
    figure = figures.search_history(trials, "log loss")
    assert unreadable(figure) == []
    (axes,) = figure.axes
    edge = axes.get_ylim()[1]
    assert edge < 1
    near, far, _, failed = (points.get_offsets().tolist() for points in axes.collections)
    assert near == [[n, x] for n, x in enumerate(losses) if x < 1]
    assert far == [[3, edge]]
    assert failed == [[0, edge], [5, edge]]
    named = [text.get_text() for text in axes.get_legend().get_texts()]
    assert named[1:] == ["best so far", "1 far off, up to 40", "2 failed"]


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
    return differences, comparisons, inner, outer, "log loss"


def test_audit_shows_each_fold_the_mean_its_interval_and_how_likely_it_is():
    differences, comparisons, inner, outer, loss = make_audit(10)
    axes = drawn(figures.audit(differences, comparisons, inner, outer, loss)).axes[0]
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
    differences, comparisons, inner, outer, loss = make_audit(4)
    axes = drawn(figures.audit(differences, comparisons, inner, outer, loss)).axes[1]
    lines = axes.get_lines()
    assert [line.get_xdata().tolist() for line in lines] == [[1, 2, 3, 4]] * 2
    assert [line.get_ydata().tolist() for line in lines] == [inner.tolist(), outer.tolist()]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        f"inner, mean {inner.mean():.4f}",
        f"outer, mean {outer.mean():.4f}",
    ]


@pytest.mark.parametrize(("folds", "gap"), [(2, 0.02), (10, 0.0), (10, 30.0)])
def test_audit_draws_two_folds_no_difference_and_a_huge_one(folds, gap):
    figure = figures.audit(*make_audit(folds, gap))
    assert unreadable(figure) == []
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
