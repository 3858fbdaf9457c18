from dataclasses import astuple
from math import sqrt

import numpy as np
import pytest
from scipy import stats

from pipeline.evaluation.corrected_t_test import corrected_t_test


def drawn(count: int = 10, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.3, 1.0, count)


def coverage(differences: np.ndarray, share: float) -> float:
    """How many of the intervals, one per row, hold the true difference of 0."""
    result = [corrected_t_test(row, share) for row in differences]
    return float(np.mean([one.low <= 0 <= one.high for one in result]))


def correlated(share: float, folds: int, repeats: int = 2000) -> np.ndarray:
    """Differences of folds that have as much in common as Nadeau and Bengio suppose."""
    rng = np.random.default_rng(0)
    rho = share / (1 + share)
    common, expected = rng.normal(size=(repeats, 1)), rng.normal(size=(repeats, folds))
    return np.sqrt(rho) * common + np.sqrt(1 - rho) * expected


def test_three_folds_are_judged_by_students_t_of_two_degrees_in_closed_form():
    result = corrected_t_test(np.array([1.0, 2.0, 3.0]), share=1 / 2)
    error = sqrt(1 / 3 + 1 / 2)  # the variance is 1
    t = 2 / error
    reach = 0.95 * sqrt(2) / sqrt(1 - 0.95**2) * error
    assert result.difference == 2
    assert result.p_value == pytest.approx(1 - t / sqrt(2 + t**2))
    assert (result.low, result.high) == pytest.approx((2 - reach, 2 + reach))


@pytest.mark.parametrize("folds", [2, 5, 10, 30])
@pytest.mark.parametrize("share", [0.0, 1 / 9, 1 / 4, 1.0])
def test_interval_and_p_value_are_those_of_a_scaled_t_distribution(share, folds):
    differences = drawn(folds)
    result = corrected_t_test(differences, share, level=0.9)
    mean = sum(differences) / folds
    squares = sum((one - mean) ** 2 for one in differences)
    error = sqrt(squares / (folds - 1) * (1 / folds + share))
    of_mean = stats.t(folds - 1, loc=mean, scale=error)
    assert (result.low, result.high) == pytest.approx(of_mean.interval(0.9))
    assert result.p_value == pytest.approx(2 * min(of_mean.cdf(0), of_mean.sf(0)))


@pytest.mark.parametrize("seed", range(3))
def test_without_a_share_it_is_the_paired_t_test(seed):
    one, other = drawn(seed=seed), drawn(seed=seed + 100)
    result = corrected_t_test(one - other, share=0.0)
    expected = stats.ttest_rel(one, other)
    assert result.p_value == pytest.approx(expected.pvalue)
    assert (result.low, result.high) == pytest.approx(tuple(expected.confidence_interval(0.95)))


def test_models_that_change_places_change_the_sign_alone():
    differences = drawn()
    result, turned = corrected_t_test(differences, 0.1), corrected_t_test(-differences, 0.1)
    assert (turned.difference, turned.low, turned.high) == (
        -result.difference,
        -result.high,
        -result.low,
    )
    assert turned.p_value == result.p_value


def test_folds_that_share_more_rows_tell_less():
    result = [corrected_t_test(drawn(), share) for share in (0.0, 0.1, 0.5)]
    widths = [one.high - one.low for one in result]
    p_values = [one.p_value for one in result]
    assert widths[0] < widths[1] < widths[2]
    assert p_values[0] < p_values[1] < p_values[2]
    assert {one.difference for one in result} == {drawn().mean()}


@pytest.mark.parametrize(("constant", "p_value"), [(0.0, 1.0), (0.25, 0.0), (-0.25, 0.0)])
def test_folds_that_all_say_the_same_leave_no_doubt(constant, p_value):
    result = corrected_t_test(np.full(8, constant), share=0.1)
    assert astuple(result) == (constant, constant, constant, p_value)


def test_fold_alone_has_a_difference_and_no_interval():
    result = corrected_t_test(np.array([0.3]), share=0.1)
    assert result.difference == 0.3
    assert np.isnan([result.low, result.high, result.p_value]).all()


def test_intervals_of_independent_differences_hold_the_truth_in_95_of_100():
    differences = np.random.default_rng(1).normal(size=(2000, 10))
    assert coverage(differences, share=0.0) == pytest.approx(0.95, abs=0.015)


def test_correction_is_what_makes_intervals_of_overlapping_folds_hold_the_truth():
    differences = correlated(share=1 / 4, folds=5)
    assert coverage(differences, share=1 / 4) == pytest.approx(0.95, abs=0.015)
    assert coverage(differences, share=0.0) < 0.9
