import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom

from pipeline.evaluation import bootstrap, metrics
from pipeline.evaluation.metrics import Predictions
from pipeline.results import Metadata
from pipeline.tasks import BINARY
from tests.support.builders import make_predictions, make_without_ties

ONE_LABEL = "ignore:A single label was result:UserWarning"  # scikit-learn on a resample's MCC
SAMPLES = {
    "binary, with ties": make_predictions(2),
    "binary, the first is positive": make_predictions(2, positive=0),
    "binary, threshold on a tie": make_predictions(2, threshold=0.3),
    "binary, without ties": make_without_ties(2),
    "multiclass": make_predictions(3),
    "five classes": make_predictions(5),
}


@pytest.fixture(params=SAMPLES.values(), ids=SAMPLES)
def sample(request: pytest.FixtureRequest) -> Predictions:
    return request.param


def repeated(p: Predictions, counts: np.ndarray) -> Predictions:
    rows = np.repeat(np.arange(len(p.truth)), counts.astype(int))
    return Predictions(p.truth[rows], p.probabilities[rows], p.positive, p.threshold)


def assert_bootstrap_equals_value(sample: Predictions, weights: np.ndarray) -> None:
    """For every metric, on every resample: the rows repeated by their weights."""
    result = bootstrap._of_classes(sample, weights)
    resamples = [repeated(sample, counts) for counts in weights]
    assert sorted(result) == sorted(BINARY.metrics)
    for name in BINARY.metrics:
        expected = [metrics.value(name, resample) for resample in resamples]
        np.testing.assert_allclose(result[name], expected, atol=1e-12, err_msg=name)


def test_bootstrap_equals_value_on_the_rows_repeated_by_their_weights(sample):
    rng = np.random.default_rng(11)
    rows = len(sample.truth)
    weights = rng.multinomial(rows, np.full(rows, 1 / rows), size=8).astype(float)
    assert_bootstrap_equals_value(sample, weights)


def drawn_from_one_class(sample: Predictions, only: int) -> np.ndarray:
    """The weights of two resamples: one row again and again, and rows of the class at random."""
    rows, of_class = len(sample.truth), np.flatnonzero(sample.truth == only)
    drawn = np.random.default_rng(5).choice(of_class, rows)
    return np.stack(
        [rows * (np.arange(rows) == of_class[0]), np.bincount(drawn, minlength=rows)]
    ).astype(float)


@pytest.mark.filterwarnings(ONE_LABEL)
def test_bootstrap_equals_value_on_a_resample_of_one_class(sample):
    for only in range(sample.classes):
        assert_bootstrap_equals_value(sample, drawn_from_one_class(sample, only))


@pytest.mark.parametrize("positive", [0, 1])
def test_bootstrap_of_average_precision_is_nan_on_positives_alone(positive):
    sample = make_predictions(positive=positive)
    weights = drawn_from_one_class(sample, positive)
    assert np.isnan(metrics.value("average_precision", repeated(sample, weights[1])))
    assert np.isnan(bootstrap._of_classes(sample, weights)["average_precision"]).all()


def test_intervals_are_the_same_for_the_same_seed_and_others_for_another():
    first, again, other = (
        bootstrap.intervals(make_predictions(), resamples=200, seed=seed) for seed in (4, 4, 5)
    )
    assert first == again
    assert first["log_loss"] != other["log_loss"]


def test_interval_of_accuracy_is_the_binomial_one():
    sample = make_predictions(rows=200)
    low, high = bootstrap.intervals(sample, resamples=4000, seed=0)["accuracy"]
    expected = binom.ppf([0.025, 0.975], 200, metrics.value("accuracy", sample)) / 200
    assert [low, high] == pytest.approx(expected, abs=1.5 / 200)


def test_intervals_leave_out_resamples_without_a_positive():
    truth = np.r_[1, np.zeros(19, dtype=int)]  # a third of the resamples lacks the positive row
    score = np.linspace(0.9, 0.1, 20)
    sample = Predictions(truth, np.c_[1 - score, score], positive=1)
    result = bootstrap.intervals(sample, resamples=200, seed=0)
    assert np.isfinite(list(result.values())).all()
    assert result["roc_auc"] == (1.0, 1.0)


def test_intervals_are_nan_without_a_warning_where_the_metric_is_not_defined():
    sample = Predictions(np.ones(10, dtype=int), np.tile([0.3, 0.7], (10, 1)), positive=1)
    result = bootstrap.intervals(sample, resamples=100, seed=0)
    assert np.isnan(result["roc_auc"]).all()
    assert np.isnan(result["average_precision"]).all()
    assert result["accuracy"] == (1.0, 1.0)


def test_resampled_metrics_of_two_models_are_of_the_same_rows():
    """A model that is right on just the rows where the other is wrong: each draw sums to one."""
    one = make_predictions()
    right = one.labels == one.truth
    labels = np.where(right, 1 - one.truth, one.truth)
    other = Predictions(one.truth, np.eye(2)[labels], 1)
    drawn = [bootstrap.resampled(sample, 50, seed=7)["accuracy"] for sample in (one, other)]
    assert np.ptp(drawn[0]) > 0
    np.testing.assert_allclose(drawn[0] + drawn[1], 1)


def test_resampled_metrics_do_not_depend_on_the_classes_or_the_threshold_of_a_model():
    two = make_predictions(2)
    three = Predictions(two.truth, np.c_[two.probabilities, np.zeros(60)])
    moved = Predictions(two.truth, two.probabilities, 1, threshold=0.8)
    first, second, third = (
        bootstrap.resampled(one, 20, 3)["log_loss"] for one in (two, three, moved)
    )
    np.testing.assert_allclose(first, second)
    np.testing.assert_array_equal(first, third)


def test_intervals_are_percentiles_of_the_resampled_metrics(sample):
    drawn = bootstrap.resampled(sample, 200, seed=2)
    for name, ends in bootstrap.intervals(sample, 200, seed=2, level=0.8).items():
        assert ends == pytest.approx(tuple(np.quantile(drawn[name], [0.1, 0.9])))


@pytest.mark.parametrize(
    ("values", "level", "ends"),
    [
        (range(101), 0.9, (5, 95)),
        (range(100, -1, -1), 0.5, (25, 75)),
        ([1, np.nan, 3, np.nan, 2], 1.0, (1, 3)),
        ([np.nan, 4.0], 0.9, (4, 4)),
        ([0, 1], 0.5, (0.25, 0.75)),
        ([np.nan, np.nan], 0.9, (np.nan, np.nan)),
        ([], 0.9, (np.nan, np.nan)),
    ],
    ids=["all", "unsorted", "some not defined", "one", "between two", "none defined", "none"],
)
def test_percentile_interval_is_between_the_percentiles_of_what_is_defined(values, level, ends):
    result = bootstrap.percentile_interval(np.array(values, dtype=float), level)
    np.testing.assert_allclose(result, ends)


def rare(positives: int, rows: int = 60) -> Predictions:
    """The last rows are of the class 1, and the only ones that are predicted so."""
    truth = (np.arange(rows) >= rows - positives).astype(int)
    return Predictions(truth, np.eye(2)[truth] * 0.8 + 0.1, positive=1)


@pytest.mark.parametrize(("positives", "share"), [(1, 0.37), (2, 0.13)])
def test_interval_that_leaves_out_resamples_without_a_class_has_a_caveat(positives, share):
    sentence = bootstrap.caveat("roc_auc", rare(positives), 2000, 0)
    left_out = float(re.search(r"leaves out (\d+)%", sentence)[1]) / 100
    assert left_out == pytest.approx(share, abs=0.03)  # (1 - positives / rows) ** rows


def test_interval_without_width_has_a_caveat():
    assert bootstrap.caveat("roc_auc", rare(20), 200, 0) == "has no width"


def test_interval_with_some_width_has_no_caveat(sample):
    for name in BINARY.metrics:
        assert bootstrap.caveat(name, sample, 200, 0) == ""


@pytest.mark.parametrize(
    ("rows", "count", "blocks"), [(10, 25, [25]), (3, 1, [1]), (1_500_000, 3, [2, 1])]
)
def test_resamples_come_in_blocks_and_draw_as_many_rows_as_there_are(rows, count, blocks):
    sample = Predictions(np.zeros(rows, dtype=np.intp), np.ones((rows, 1)))
    result = list(bootstrap._resamples(sample, count, np.random.default_rng(0), rows))
    assert [len(weights) for weights in result] == blocks
    for weights in result:
        assert (weights.sum(axis=1) == rows).all()


def test_intervals_do_not_depend_on_the_size_of_a_block(monkeypatch):
    whole = bootstrap.intervals(make_predictions(), resamples=50, seed=0)
    drawn = bootstrap._resamples

    def row_by_row(*arguments):
        for block in drawn(*arguments):
            yield from block[:, None, :]

    monkeypatch.setattr(bootstrap, "_resamples", row_by_row)
    split = bootstrap.intervals(make_predictions(), resamples=50, seed=0)
    for name in BINARY.metrics:
        assert split[name] == pytest.approx(whole[name], abs=1e-12)


def grouped(p: Predictions, size: int) -> Predictions:
    """Each row so many times, which are one group."""
    rows = np.repeat(np.arange(len(p.truth)), size)
    return replace(p.where(rows), metadata=Metadata(groups=pd.Series(rows)))


def test_groups_of_equal_rows_have_the_interval_of_one_row_each(sample):
    expected = bootstrap.intervals(sample, resamples=200, seed=3)
    whole = bootstrap.intervals(grouped(sample, 4), resamples=200, seed=3)
    by_row = bootstrap.intervals(
        replace(grouped(sample, 4), metadata=Metadata()), resamples=200, seed=3
    )
    for name, interval in expected.items():
        assert whole[name] == pytest.approx(interval, nan_ok=True)
    assert np.ptp(by_row["log_loss"]) < 0.7 * np.ptp(whole["log_loss"])


def test_weights_count_as_that_many_rows(sample):
    counts = np.arange(len(sample.truth)) % 3  # some have none
    weighted = replace(sample, metadata=Metadata(weights=pd.Series(counts, dtype=float)))
    values = bootstrap.values(weighted)
    for name, expected in bootstrap.values(repeated(sample, counts)).items():
        assert values[name] == pytest.approx(expected), name
        assert metrics.value(name, weighted) == pytest.approx(expected), name


@pytest.mark.parametrize("size", [1, 2], ids=["rows", "groups"])
def test_intervals_of_a_sample_are_as_wide_and_lie_as_those_of_all_rows(monkeypatch, size):
    whole = grouped(make_predictions(rows=4000), size)
    expected = bootstrap.intervals(whole, resamples=300, seed=0)
    monkeypatch.setattr(bootstrap, "MOST_ROWS", 1000)
    for name, (low, high) in bootstrap.intervals(replace(whole), resamples=300, seed=0).items():
        width = expected[name][1] - expected[name][0]
        assert high - low == pytest.approx(width, rel=0.3), name
        assert (low + high) / 2 == pytest.approx(sum(expected[name]) / 2, abs=0.3 * width), name
