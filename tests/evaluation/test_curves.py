from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import (
    average_precision_score,
    precision_recall_curve,
    roc_auc_score,
    roc_curve,
)

from pipeline.evaluation import curves
from pipeline.evaluation.curves import GRID, class_curves, drawable, mean_curves
from pipeline.results import Metadata
from tests.support.builders import make_predictions, make_sure, make_without_ties

SAMPLES = {
    "ties": make_predictions(),
    "no ties": make_without_ties(2),
    "three classes": make_predictions(3),
    "sure": make_sure(True),
    "weights": replace(
        make_predictions(), metadata=Metadata(weights=pd.Series(np.arange(1.0, 61.0)))
    ),
}


@pytest.mark.parametrize("p", SAMPLES.values(), ids=SAMPLES)
def test_curves_and_areas_are_those_of_scikit_learn(p):
    places = drawable(p)
    for place, both in zip(places, class_curves(p, places, 0), strict=True):
        hit, score = p.truth == place, p.probabilities[:, place]
        weight = {"sample_weight": p.weights}
        false, true, _ = roc_curve(hit, score, drop_intermediate=False, **weight)
        np.testing.assert_allclose(both.roc.y, np.interp(GRID, false, true), atol=1e-12)
        precision, recall, _ = precision_recall_curve(hit, score, **weight)
        nearest = np.searchsorted(recall[::-1][1:], GRID - 1e-12)  # the first with as much recall
        np.testing.assert_allclose(both.precision_recall.y, precision[::-1][1:][nearest])
        assert both.roc.area == pytest.approx(roc_auc_score(hit, score, **weight))
        expected = average_precision_score(hit, score, **weight)
        assert both.precision_recall.area == pytest.approx(expected)


def bounds(both: curves.Curves) -> np.ndarray:
    return np.array([(one.low, one.y, one.high) for one in (both.roc, both.precision_recall)])


def test_bands_hold_the_curve_are_seeded_and_narrow_with_more_rows():
    few, many = (class_curves(make_without_ties(2, rows), [1], 0)[0] for rows in (100, 3000))
    for both in (few, many):
        low, y, high = bounds(both)[0]
        assert np.mean((low <= y) & (y <= high)) > 0.95
        assert (low >= 0).all()
        assert (high <= 1).all()
    widths = [np.mean(bounds(both)[:, 2] - bounds(both)[:, 0]) for both in (few, many)]
    assert widths[1] < widths[0] / 3
    again, other = (class_curves(make_without_ties(2, 100), [1], seed)[0] for seed in (0, 1))
    np.testing.assert_array_equal(bounds(again), bounds(few))
    assert (bounds(other) != bounds(few)).any()


def test_bands_of_rows_in_groups_are_wider():
    p = make_without_ties(2, 200)
    doubled = p.where(np.repeat(np.arange(200), 4))
    groups = Metadata(groups=pd.Series(np.repeat(np.arange(200), 4)))
    alone, grouped = (
        class_curves(one, [1], 0)[0] for one in (doubled, replace(doubled, metadata=groups))
    )
    widths = [np.mean(bounds(both)[0, 2] - bounds(both)[0, 0]) for both in (alone, grouped)]
    assert widths[1] > 1.5 * widths[0]


def test_bands_of_a_sample_are_as_wide_as_those_of_all_rows(monkeypatch):
    p = make_without_ties(2, 3000)
    whole = bounds(class_curves(p, [1], 0)[0])
    monkeypatch.setattr(curves, "MOST_ROWS", 1000)
    sampled = bounds(class_curves(p, [1], 0)[0])
    np.testing.assert_array_equal(sampled[:, 1], whole[:, 1])
    widths = [np.mean(one[0, 2] - one[0, 0]) for one in (whole, sampled)]
    assert widths[1] == pytest.approx(widths[0], rel=0.2)


def test_mean_of_classes_has_their_mean_areas():
    p = make_predictions(3)
    each, both = class_curves(p, [0, 1, 2], 0), mean_curves(p, [0, 1, 2], 0)
    np.testing.assert_allclose(both.roc.y, np.mean([one.roc.y for one in each], axis=0))
    assert both.roc.area == pytest.approx(np.mean([one.roc.area for one in each]))


def test_classes_of_no_row_or_of_all_rows_have_no_curve():
    p = make_predictions(3)
    assert drawable(p) == (0, 1, 2)
    assert drawable(p.where(p.truth < 2)) == (0, 1)
    assert drawable(p.where(p.truth == 0)) == ()
