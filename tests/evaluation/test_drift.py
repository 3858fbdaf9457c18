"""Drift on bins: the index, the tests, the correction, and what is said of a column."""

import numpy as np
import pytest
from scipy import stats

from pipeline.evaluation import drift
from pipeline.evaluation.profile import Bins, Spread


def counts(*values: int) -> drift.Counts:
    return np.array(values, dtype=np.int64)


def spread(*values: int, edges: tuple[float, ...] | None = None) -> Spread:
    return Spread(Bins(edges=edges, names=tuple("abcdefghij"[: len(values) - 1])), counts(*values))


def test_index_is_nothing_where_shares_are_alike_and_follows_its_formula_elsewhere() -> None:
    assert drift.psi(counts(100, 300, 10), counts(1000, 3000, 100)) == pytest.approx(0, abs=0.01)
    many, others = counts(400_000, 600_000), counts(500_000, 500_000)
    expected = 0.1 * np.log(0.5 / 0.4) - 0.1 * np.log(0.5 / 0.6)
    assert drift.psi(many, others) == pytest.approx(expected, rel=1e-4)
    assert np.isfinite(drift.psi(counts(0, 10), counts(10, 0)))


def test_test_on_bins_is_that_of_scipy_where_each_value_has_a_bin() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.integers(0, 30, 400), rng.integers(0, 33, 300)
    edges = Bins(edges=tuple(np.arange(40.0)), names=tuple(map(str, range(41))))
    ours = drift.kolmogorov_smirnov(
        edges.count(one.astype(float))[:-1], edges.count(other.astype(float))[:-1]
    )
    assert ours == pytest.approx(stats.ks_2samp(one, other, method="asymp").pvalue, rel=0.1)


def test_chi_square_is_that_of_scipy_with_rare_bins_as_one() -> None:
    before, now = counts(300, 200, 2, 1, 0), counts(250, 260, 0, 3, 0)
    pooled = np.array([[300, 200, 3], [250, 260, 3]])
    expected = stats.chi2_contingency(pooled).pvalue
    assert drift.chi_square(before, now) == pytest.approx(expected)
    assert drift.chi_square(counts(5, 0), counts(9, 0)) == 1.0
    assert drift.chi_square(counts(0, 0), counts(9, 1)) == 1.0


def test_correction_is_that_of_holm() -> None:
    """As his paper's steps give it: times the number of those not yet rejected, never falling."""
    assert drift.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert drift.holm([0.9, 0.8]) == [1.0, 1.0]


def test_column_that_changed_most_comes_first_with_what_changed() -> None:
    before = {"same": spread(50, 50, 0), "moved": spread(90, 10, 0, edges=(1.0,))}

    first, second = drift.compare(before, {"same": counts(49, 51, 0), "moved": counts(20, 80, 0)})

    assert (first.name, first.test, second.test) == ("moved", "Kolmogorov-Smirnov", "chi-square")
    assert first.p_value < 0.001
    assert second.p_value > 0.5
    assert first.sentence == "b: 80.0% of the values, where 10.0% were"


@pytest.mark.parametrize(("before", "now"), [((990, 10), (800, 200)), ((40, 0), (35, 25))])
def test_share_of_missing_values_has_a_test_of_its_own(
    before: tuple[int, int], now: tuple[int, int]
) -> None:
    (one,) = drift.compare({"x": spread(*before)}, {"x": counts(*now)})

    assert one.p_value == 1.0
    assert one.p_missing < 0.01
    assert one.missing == (before[1] / sum(before), now[1] / sum(now))
    assert one.sentence.startswith("missing: ")
