from math import isnan, sqrt

import numpy as np
import pytest
from scipy import stats

from pipeline.evaluation import bootstrap, metrics
from pipeline.evaluation.metrics import Predictions
from pipeline.evaluation.paired_bootstrap import Difference, differences
from pipeline.tasks import BINARY
from tests.support.builders import make_predictions, make_sure


def blurred(sample: Predictions, seed: int = 1) -> Predictions:
    """A second model on the same rows, mostly of the same mind."""
    rng = np.random.default_rng(seed)
    noise = rng.dirichlet(np.ones(sample.classes), size=len(sample.truth))
    mixed = 0.7 * sample.probabilities + 0.3 * noise
    return Predictions(sample.truth, mixed, sample.positive, 0.4 if sample.classes == 2 else None)


SAMPLES = {
    "two classes": make_predictions(2),
    "two classes, the first is positive": make_predictions(2, positive=0),
    "three classes": make_predictions(3),
}


@pytest.fixture(params=SAMPLES.values(), ids=SAMPLES.keys())
def pair(request) -> tuple[Predictions, Predictions]:
    return request.param, blurred(request.param)


def of_drawn_rows(name, p: Predictions, rows: np.ndarray) -> float:
    return metrics.value(
        name, Predictions(p.truth[rows], p.probabilities[rows], p.positive, p.threshold)
    )


def by_a_loop(name, pair, resamples, seed, level):
    """Interval of the difference, row by row: the same rows of both models each time."""
    first, second = pair
    count = len(first.truth)
    drawn = np.random.default_rng(seed).multinomial(count, [1 / count] * count, size=resamples)
    result = []
    for times in drawn:
        rows = np.repeat(np.arange(count), times)
        result.append(of_drawn_rows(name, first, rows) - of_drawn_rows(name, second, rows))
    tail = (1 - level) / 2
    return np.nanquantile(result, [tail, 1 - tail])


@pytest.mark.parametrize(("seed", "level"), [(7, 0.8)])
def test_differences_are_those_of_a_plain_loop_over_the_same_resamples(pair, seed, level):
    result = differences(*pair, resamples=12, seed=seed, level=level)
    assert list(result) == list(bootstrap.resampled(pair[0], 1, 0))
    assert sorted(result) == sorted(BINARY.metrics)
    for name, one in result.items():
        expected = by_a_loop(name, pair, 12, seed, level)
        assert (one.low, one.high) == pytest.approx(tuple(expected), abs=1e-12), name


def test_first_and_second_are_the_metrics_on_all_rows(pair):
    for name, one in differences(*pair, resamples=10, seed=0, level=0.9).items():
        assert one.metric == name
        assert one.first == pytest.approx(metrics.value(name, pair[0]), nan_ok=True)
        assert one.second == pytest.approx(metrics.value(name, pair[1]), nan_ok=True)


def test_models_that_change_places_change_the_signs_alone(pair):
    result = differences(*pair, resamples=100, seed=3, level=0.9)
    turned = differences(*reversed(pair), resamples=100, seed=3, level=0.9)
    for name, one in result.items():
        other = turned[name]
        assert (other.low, other.high) == pytest.approx((-one.high, -one.low), abs=1e-12)
        assert other.gain == -one.gain


@pytest.mark.parametrize("classes", [2, 3])
def test_model_that_is_right_gains_on_one_that_is_wrong(classes):
    right, wrong = make_sure(True, classes=classes), make_sure(False, classes=classes)
    better = differences(right, wrong, resamples=50, seed=0, level=0.9)
    worse = differences(wrong, right, resamples=50, seed=0, level=0.9)
    for name in BINARY.metrics:
        assert 0 < better[name].least_gain <= better[name].gain + 1e-12
        assert worse[name].least_gain - 1e-12 <= worse[name].gain < 0


@pytest.mark.parametrize(
    ("name", "gain", "least_gain"),
    [
        ("log_loss", 0.1, 0.05),
        ("brier", 0.1, 0.05),
        ("roc_auc", -0.1, -0.2),
        ("accuracy", -0.1, -0.2),
        ("mcc", -0.1, -0.2),
    ],
)
def test_gain_is_what_the_first_has_on_the_second_whichever_way_is_better(name, gain, least_gain):
    one = Difference(name, first=0.4, second=0.5, low=-0.2, high=-0.05)
    assert one.gain == pytest.approx(gain)
    assert one.least_gain == least_gain


@pytest.mark.parametrize("name", ["log_loss", "brier", "roc_auc"])
def test_gain_of_an_undefined_metric_is_neither_above_nor_below_anything(name):
    one = Difference(name, np.nan, np.nan, np.nan, np.nan)
    assert isnan(one.gain)
    assert isnan(one.least_gain)


def test_same_seed_gives_the_same_bounds_and_another_seed_others(pair):
    first, again, other = (differences(*pair, 50, seed, 0.9) for seed in (4, 4, 5))
    assert first == again
    assert first["log_loss"].low != other["log_loss"].low


def test_bounds_of_accuracy_are_mcnemars():
    first = make_predictions(rows=400)
    second = blurred(first)
    right = [one.labels == one.truth for one in (first, second)]
    only_first, only_second = (right[0] & ~right[1]).mean(), (right[1] & ~right[0]).mean()
    apart = only_first - only_second
    error = sqrt((only_first + only_second - apart**2) / 400)
    result = differences(first, second, resamples=2000, seed=0, level=0.9)["accuracy"]
    expected = stats.norm(apart, error).interval(0.9)
    assert (result.low, result.high) == pytest.approx(expected, abs=error / 8)


def test_metric_without_a_meaning_on_the_rows_is_nan_and_the_others_are_not():
    truth = np.ones(20, dtype=int)
    first, second = (
        Predictions(truth, np.c_[1 - chance, chance], 1, threshold=0.3)
        for chance in (np.linspace(0.1, 0.9, 20), np.linspace(0.2, 0.8, 20))
    )
    result = differences(first, second, resamples=100, seed=0, level=0.9)
    for name in ("roc_auc", "average_precision"):
        assert all(map(isnan, (result[name].first, result[name].low, result[name].high)))
        assert not result[name].least_gain > -1
    assert result["log_loss"].low < result["log_loss"].high


def test_resamples_on_which_a_metric_has_no_meaning_are_left_out():
    truth = np.r_[1, np.zeros(19, dtype=int)]  # a third of the resamples lacks the positive row
    first, second = (
        Predictions(truth, np.c_[1 - chance, chance], 1)
        for chance in (np.linspace(0.9, 0.1, 20), np.linspace(0.1, 0.9, 20))
    )
    result = differences(first, second, resamples=200, seed=0, level=0.9)["roc_auc"]
    assert (result.low, result.high) == (1, 1)
