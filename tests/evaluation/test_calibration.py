from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit

from pipeline.evaluation.calibration import SURE, calibration, logistic_curve
from pipeline.evaluation.metrics import Predictions
from pipeline.results import Metadata
from tests.support.builders import make_calibrated, make_too_sure

SHARES = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9])


def of_two(chance: np.ndarray, truth: np.ndarray, positive: int = 1) -> Predictions:
    """`chance` is of the class 1."""
    return Predictions(truth, np.c_[1 - chance, chance], positive)


def exact() -> tuple[np.ndarray, np.ndarray]:
    """Chances, and ten rows of each that come to pass exactly as often."""
    truth = [np.arange(10) < round(10 * share) for share in SHARES]
    return np.repeat(SHARES, 10), np.concatenate(truth).astype(int)


def by_newton(chance: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """Slope and intercept of the logistic regression on log-odds, by Newton's method."""
    X = np.c_[logit(chance), np.ones(len(chance))]
    beta = np.array([1.0, 0.0])
    for _ in range(50):
        p = expit(X @ beta)
        beta += np.linalg.solve(X.T * (p * (1 - p)) @ X, X.T @ (truth - p))
    return tuple(beta)


def test_probabilities_that_come_to_pass_have_nothing_to_correct():
    result = calibration(of_two(*exact()))
    assert result.error == pytest.approx(0, abs=1e-4)
    assert (result.slope, result.intercept) == pytest.approx((1, 0), abs=1e-3)


@pytest.mark.parametrize(
    ("slope", "shift"),
    [(1.0, 0.5), (1.0, -1.0), (2.0, 0.0), (0.5, 0.0), (3.0, 1.0), (0.5, -0.7), (-1.0, 0.0)],
)
def test_distortion_is_found_with_its_slope_intercept_and_mean_distance(slope, shift):
    chance, truth = exact()
    message = expit(slope * logit(chance) + shift)
    result = calibration(of_two(message, truth))
    assert result.slope == pytest.approx(1 / slope, abs=2e-3)
    assert result.intercept == pytest.approx(-shift / slope, abs=2e-3)
    assert result.error == pytest.approx(np.abs(message - chance).mean(), abs=5e-4)


@pytest.mark.parametrize("seed", range(3))
def test_curve_is_the_maximum_likelihood_one(seed):
    sample = make_calibrated(rows=150, seed=seed)
    chance = sample.probabilities[:, 1]
    result = logistic_curve(chance, sample.truth == 1)
    assert result == pytest.approx(by_newton(chance, sample.truth), abs=2e-3)


@pytest.mark.parametrize("positive", [0, 1])
def test_error_and_slope_do_not_depend_on_which_class_is_positive(positive):
    sample = make_calibrated()
    one, other = (calibration(replace(sample, positive=k)) for k in (positive, 1 - positive))
    assert one.error == pytest.approx(other.error, abs=1e-3)
    assert one.slope == pytest.approx(other.slope, abs=1e-2)
    assert one.intercept == pytest.approx(-other.intercept, abs=1e-2)


def test_calibration_is_of_the_positive_class():
    chance, truth = exact()
    probabilities = np.c_[
        1 - chance, np.full_like(chance, 0.5)
    ]  # only the first column comes to pass
    assert calibration(Predictions(truth, probabilities, positive=0)).error < 1e-3
    assert calibration(Predictions(truth, probabilities, positive=1)).slope == pytest.approx(
        0, abs=1e-2
    )


def test_error_is_told_relative_to_the_rate_of_the_class():
    chance, truth = exact()
    result = calibration(of_two(expit(2 * logit(chance)), truth))
    assert result.rate == 0.5
    assert result.relative == pytest.approx(result.error)
    rare = calibration(of_two(np.full(100, 0.05), (np.arange(100) < 10).astype(int)))
    assert rare.relative == pytest.approx(0.05 / (4 * 0.1 * 0.9), rel=0.05)


def test_calibrated_probabilities_are_called_off_as_often_as_the_level_says():
    p_values = [calibration(make_calibrated(rows=400, seed=seed)).p_value for seed in range(100)]
    assert 0.02 < np.mean(np.array(p_values) < 0.05) < 0.09
    assert 0.4 < np.mean(p_values) < 0.6


def test_probabilities_that_are_off_have_a_small_p_value():
    chance, truth = exact()
    assert calibration(of_two(chance, truth)).p_value > 0.99
    assert calibration(of_two(expit(4 * logit(chance)), truth)).p_value < 1e-6


@pytest.mark.parametrize(
    ("chance", "truth", "is_separated"),
    [
        ([0.1, 0.2, 0.8, 0.9], [0, 0, 1, 1], True),
        ([0.1, 0.5, 0.5, 0.9], [0, 0, 1, 1], True),  # they touch: the slope is infinite too
        ([0.1, 0.6, 0.5, 0.9], [0, 0, 1, 1], False),
        ([0.9, 0.8, 0.2, 0.1], [0, 0, 1, 1], False),  # all on the wrong side
    ],
)
def test_rows_are_separated_where_no_probability_is_on_the_wrong_side(chance, truth, is_separated):
    result = calibration(of_two(np.array(chance), np.array(truth)))
    assert result.is_separated is is_separated


def of_three() -> Predictions:
    """Thirty rows that are just as probable as they were told to be."""
    probabilities = np.repeat([[0.5, 0.3, 0.2], [0.2, 0.2, 0.6], [0.1, 0.7, 0.2]], 10, axis=0)
    counts = (5, 3, 2, 2, 2, 6, 1, 7, 2)
    return Predictions(np.repeat([0, 1, 2] * 3, counts), probabilities)


def test_three_classes_that_come_to_pass_have_nothing_to_correct():
    assert calibration(of_three()).error == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_class_that_is_furthest_off_stands_for_all(place):
    sample = of_three()
    message = sample.probabilities.copy()
    message[:, place] = expit(3 * logit(message[:, place]) + 1)
    sample = replace(sample, probabilities=message)
    each = [
        calibration(Predictions(np.where(sample.truth == k, 1, 0), message[:, [(k + 1) % 3, k]], 1))
        for k in range(3)
    ]
    assert calibration(sample) == each[place]
    assert each[place].error == max(one.error for one in each) > 0.05


NOTHING = (np.nan, np.nan, np.nan)


@pytest.mark.parametrize("only", [0, 1])
@pytest.mark.parametrize("positive", [0, 1])
def test_calibration_is_nan_where_there_is_one_class(only, positive):
    chance, truth = exact()
    result = calibration(of_two(chance, np.full_like(truth, only), positive))
    np.testing.assert_equal((result.error, result.slope, result.intercept), NOTHING)


@pytest.mark.parametrize("lacking", [0, 1, 2])
def test_calibration_is_nan_where_the_rows_lack_one_of_three_classes(lacking):
    sample = of_three()
    sample = sample.where(sample.truth != lacking)
    result = calibration(sample)
    np.testing.assert_equal((result.error, result.slope, result.intercept), NOTHING)


@pytest.mark.parametrize("chance", [0.05, 0.3, 0.5, 0.8])
def test_error_of_one_chance_for_all_is_its_distance_from_the_share(chance):
    truth = (np.arange(100) < 30).astype(int)
    result = calibration(of_two(np.full(100, chance), truth))
    assert result.error == pytest.approx(abs(chance - 0.3), abs=1e-3)


@pytest.mark.parametrize(
    "truth", [np.arange(60) % 2, (np.arange(60) < 3).astype(int)], ids=["even", "rare"]
)
def test_being_sure_and_right_has_little_to_correct(truth):
    result = calibration(of_two(truth.astype(float), truth))
    assert result.error < 1e-3
    assert result.slope > 0
    assert np.isfinite([result.slope, result.intercept]).all()


def test_being_sure_and_wrong_has_everything_to_correct():
    truth = np.arange(60) % 2
    result = calibration(of_two(1.0 - truth, truth))
    assert result.error > 0.999
    assert result.slope < 0


def test_being_sure_and_wrong_on_a_few_rows_is_corrected_by_their_share():
    truth = np.arange(100) % 2
    said = np.where(np.arange(100) < 10, 1 - truth, truth).astype(float)
    result = calibration(of_two(said, truth))
    assert result.error == pytest.approx(0.1, abs=1e-3)
    assert result.slope == pytest.approx(logit(0.9) / logit(1 - SURE), abs=1e-3)


@pytest.mark.parametrize("groups", [None, "of three rows"])
def test_weights_count_as_that_many_rows_and_groups_of_equal_rows_as_one(groups):
    sample = make_too_sure(power=1.5)
    rows = np.repeat(np.arange(len(sample.truth)), 3)
    alone = replace(sample, metadata=Metadata(weights=pd.Series(np.full(len(sample.truth), 3.0))))
    repeated = sample.where(rows)
    if groups is not None:
        repeated = replace(repeated, metadata=Metadata(groups=pd.Series(rows)))
    one, other = calibration(alone), calibration(repeated)
    for name in ("error", "slope", "intercept", "rate"):
        assert getattr(one, name) == pytest.approx(getattr(other, name), abs=1e-4)
    assert one.p_value > 0.01
    if groups is None:
        assert other.p_value < one.p_value / 10
    else:
        assert other.p_value == pytest.approx(one.p_value)


def test_calibrated_groups_of_rows_are_as_seldom_found_off_as_the_level_says():
    """Rows of a group share one truth; as rows they would be found off on every second table."""
    rng = np.random.default_rng(0)
    p_values: dict[bool, list[float]] = {True: [], False: []}
    for _ in range(300):
        chance = np.repeat(rng.uniform(0.05, 0.95, 80), 5)
        truth = np.repeat(rng.random(80), 5) < chance
        groups = pd.Series(np.repeat(np.arange(80), 5))
        for is_grouped, values in p_values.items():
            metadata = Metadata(groups=groups) if is_grouped else Metadata()
            sample = replace(of_two(chance, truth.astype(int)), metadata=metadata)
            values.append(calibration(sample).p_value)
    assert 0.02 < np.mean(np.array(p_values[True]) < 0.05) < 0.09
    assert np.mean(np.array(p_values[False]) < 0.05) > 0.3
