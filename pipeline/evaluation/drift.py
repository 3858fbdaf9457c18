"""Whether values are spread otherwise than they were, on bins, over many columns at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import sqrt

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from pipeline.evaluation.profile import Counts, Spread

LEAST_EXPECTED = 5.0  # values that chi-square asks for in each bin (Cochran 1954)
HALF = 0.5  # is added to each bin, so that an empty one is no infinite difference


@dataclass(frozen=True)
class Drift:
    """How a column, or an answer, is spread before and now.

    `psi` is the population stability index, the missing values a bin of their own. The p-values are
    Holm's, over all columns: of a test of the values that are there, and of the missing share.
    """

    name: str
    before: Spread
    now: Spread
    psi: float
    test: str
    p_value: float
    p_missing: float

    @property
    def missing(self) -> tuple[float, float]:
        """The shares of missing values, before and now."""
        return _missing_share(self.before.counts), _missing_share(self.now.counts)

    @property
    def sentence(self) -> str:
        """Which values have become more frequent than any others, for people."""
        before, now = _shares(self.before.counts), _shares(self.now.counts)
        place = int((now - before).argmax())
        names = [*self.now.bins.names, "missing"]
        return f"{names[place]}: {now[place]:.1%} of the values, where {before[place]:.1%} were"


def compare(before: Mapping[str, Spread], counts: Mapping[str, Counts]) -> list[Drift]:
    """Each column's drift, the largest index first, with Holm's correction over all tests."""
    drifts = [_drift(name, spread, counts[name]) for name, spread in before.items()]
    adjusted = holm([p for drift in drifts for p in (drift.p_value, drift.p_missing)])
    corrected = [
        replace(drift, p_value=adjusted[2 * place], p_missing=adjusted[2 * place + 1])
        for place, drift in enumerate(drifts)
    ]
    return sorted(corrected, key=lambda drift: -drift.psi)


def psi(before: Counts, now: Counts) -> float:
    """The population stability index of counts per bin (Siddiqi 2006): 0 where shares are alike."""
    p, q = (_shares(counts.astype(np.float64) + HALF) for counts in (before, now))
    return float(((q - p) * np.log(q / p)).sum())


def kolmogorov_smirnov(before: Counts, now: Counts) -> float:
    """The p-value of the two-sample test of Kolmogorov and Smirnov, looked at between bins only.

    That can only make the largest difference smaller, so it raises no false alarms.
    """
    rows, others = before.sum(), now.sum()
    if not rows or not others:
        return 1.0
    distance = np.abs(np.cumsum(before) / rows - np.cumsum(now) / others).max()
    return float(stats.kstwobign.sf(sqrt(rows * others / (rows + others)) * distance))


def chi_square(before: Counts, now: Counts) -> float:
    """The p-value of the chi-square test that both have the same shares; rare bins are one."""
    table = np.array([before, now], dtype=np.float64)
    if not table.sum(axis=1).all():
        return 1.0
    expected = table.sum(axis=0) * table.sum(axis=1).min() / table.sum()
    rare = expected < LEAST_EXPECTED
    pooled = np.column_stack([table[:, ~rare], table[:, rare].sum(axis=1)])
    pooled = pooled[:, pooled.sum(axis=0) > 0]
    return float(stats.chi2_contingency(pooled).pvalue) if pooled.shape[1] > 1 else 1.0


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values that may all be held against one level: of any false alarm (Holm 1979)."""
    values = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(values)
    factors = np.arange(len(values), 0, -1)
    raised = np.minimum(np.maximum.accumulate(values[order] * factors), 1.0)
    adjusted = np.empty_like(raised)
    adjusted[order] = raised
    return [float(value) for value in adjusted]


def _drift(name: str, spread: Spread, now: Counts) -> Drift:
    before, are_levels = spread.counts, spread.bins.edges is None
    test = chi_square if are_levels else kolmogorov_smirnov
    missing = [np.array([each[:-1].sum(), each[-1]]) for each in (before, now)]
    return Drift(
        name=name,
        before=spread,
        now=Spread(spread.bins, now),
        psi=psi(before, now),
        test="chi-square" if are_levels else "Kolmogorov-Smirnov",
        p_value=test(before[:-1], now[:-1]),
        p_missing=_exact(*missing),
    )


def _exact(before: Counts, now: Counts) -> float:
    """Fisher's exact test, or chi-square where the counts are large."""
    table = np.array([before, now])
    if not table.sum(axis=0).all() or not table.sum(axis=1).all():
        return 1.0
    if table.min() >= LEAST_EXPECTED:
        return float(stats.chi2_contingency(table).pvalue)
    return float(stats.fisher_exact(table).pvalue)


def _shares(counts: NDArray[np.float64] | Counts) -> NDArray[np.float64]:
    shares: NDArray[np.float64] = counts / max(float(counts.sum()), 1.0)
    return shares


def _missing_share(counts: Counts) -> float:
    return float(_shares(counts)[-1])
