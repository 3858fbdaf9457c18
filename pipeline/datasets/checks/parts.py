"""What the training and the test part have in common that they should not, and what they lack."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import chi2_contingency, ks_2samp

from pipeline.datasets.checks.finding import Finding, Sample, draw
from pipeline.datasets.checks.row_structure import group_columns
from pipeline.schema.columns import DateColumn, NumberColumn

MOST_CELLS = 5_000_000  # of the rows that are compared with each other
ALPHA = 0.01  # chance of an alarm in any column of parts that do not differ
MOST_NAMED = 5
EXPECTED = 5  # rows of a level in a cell of the table of chi-square, at least

Hashes = NDArray[np.uint64]


def repeated_rows(sample: Sample) -> Iterator[Finding]:
    """Rows of the test part that are in the training part too, target and all.

    In a table of a few levels rows are alike by chance; then still more of them differ in one
    column. So the pairs that differ in none must outnumber those that differ in one.
    """
    rows = draw(sample.dataset, max(MOST_CELLS // (sample.X.shape[1] + 1), 1))
    hashes = _cell_hashes(rows)
    whole = hashes.sum(axis=0, dtype=np.uint64)
    twins = np.isin(whole[rows.is_test], whole[~rows.is_test])
    if not twins.any():
        return
    pairs = _pairs(whole, rows.is_test)
    near = sum(_pairs(whole - one, rows.is_test) - pairs for one in hashes)
    if pairs <= near:
        return
    groups = group_columns(sample)
    leave = "run(config, data=table.drop_duplicates(ignore_index=True)) in Python leaves them out"
    are_all = len(rows.y) == sample.dataset.rows
    yield Finding(
        f"{int(twins.sum())} of {int(rows.is_test.sum())} rows of the test part"
        f"{'' if are_all else ' that were looked at'} are in the training part too, such as row "
        f"{_first(rows, twins)}, and learnt by heart{'' if groups else f'; {leave}'}",
        split={"group": next(iter(groups))} if groups else {},
    )


def shift(sample: Sample) -> Iterator[Finding]:
    """Columns whose distribution differs between the parts, where rows were not parted by chance.

    Two-sample tests of Kolmogorov and Smirnov (numbers, dates) and chi-square (levels), with
    Holm's correction. Of a group its first row counts: its others are no news.
    """
    metadata = sample.dataset.metadata
    if metadata.groups is None and metadata.times is None:
        return
    is_counted = np.ones(len(sample.y), dtype=bool)
    if metadata.groups is not None:
        is_counted = ~metadata.groups.loc[sample.X.index].duplicated().to_numpy()
    names = [name for name in sample.columns if name != metadata.names.get("times")]
    p_values = pd.Series({name: _p_value(sample, name, is_counted) for name in names})
    p_values = p_values.sort_values(kind="stable")
    corrected = (p_values * np.arange(len(names), 0, -1)).cummax()
    for name, p_value in corrected[corrected < ALPHA].items():
        yield Finding(
            f"{name}: differs between training and test part ({_change(sample, str(name))}; "
            f"p {max(p_value, 1e-300):.1g}, corrected): mind the metrics of the test part more "
            "than those of the cross-validation, and drop the column if it only says when"
        )


def _cell_hashes(rows: Sample) -> Hashes:
    """Columns x rows: a number for each cell, such that rows are alike if their sums are."""
    values = [rows.values(name) for name in rows.columns]
    factors = np.random.default_rng(1).integers(1, 2**63, len(values) + 1, dtype=np.uint64)
    columns = [np.where(np.isnan(each), np.nan, each + 0.0) for each in (*values, rows.y)]
    hashes = [pd.util.hash_array(each) for each in columns]
    return np.asarray(hashes, dtype=np.uint64) * (2 * factors + 1)[:, None]


def _pairs(hashes: Hashes, is_test: NDArray[np.bool_]) -> int:
    """The pairs of a training and a test row with the same hash."""
    codes = pd.factorize(hashes)[0]
    counts = [np.bincount(codes[part], minlength=codes.max() + 1) for part in (is_test, ~is_test)]
    return int(np.dot(*counts))


def _first(rows: Sample, twins: NDArray[np.bool_]) -> int:
    """The number of the first such row, from 1 on, as messages count."""
    return int(rows.X.index[rows.is_test][twins].min()) + 1


def _p_value(sample: Sample, name: str, is_counted: NDArray[np.bool_]) -> float:
    values = sample.values(name)
    is_present = is_counted & ~np.isnan(values)
    one, other = (values[is_present & part] for part in (~sample.is_test, sample.is_test))
    if not len(one) or not len(other):
        return 1.0
    if isinstance(sample.columns[name], NumberColumn | DateColumn):
        return float(ks_2samp(one, other, method="asymp").pvalue)
    levels = np.unique(values)
    table = np.array([[(part == level).sum() for level in levels] for part in (one, other)])
    is_rare = table.sum(axis=0) * min(len(one), len(other)) < EXPECTED * (len(one) + len(other))
    table = np.column_stack([table[:, ~is_rare], table[:, is_rare].sum(axis=1)])
    table = table[:, table.sum(axis=0) > 0]
    return float(chi2_contingency(table).pvalue) if table.shape[1] > 1 else 1.0


def _change(sample: Sample, name: str) -> str:
    """The number, date or level up to which, or of which, the parts' shares differ most."""
    values = sample.values(name)
    parts = [values[part & ~np.isnan(values)] for part in (~sample.is_test, sample.is_test)]
    different = np.unique(np.concatenate(parts))
    is_ordered = isinstance(sample.columns[name], NumberColumn | DateColumn)
    places = [np.searchsorted(different, part) for part in parts]
    shares = np.array([np.bincount(each, minlength=len(different)) / len(each) for each in places])
    shares = shares.cumsum(axis=1) if is_ordered else shares
    most = int(np.abs(shares[0] - shares[1]).argmax())
    value = sample.written(name, float(different[most]))
    train, test = shares[:, most]
    return f"{'up to ' if is_ordered else ''}{value} in {train:.1%} and {test:.1%} of the rows"
