"""Seeded samples of rows, for what takes too long, or too much memory, on all of them."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.config.sections import Config
from pipeline.datasets.splits import Places, strata
from pipeline.results import Dataset, Metadata

NONE = Metadata()


def sample(
    y: "pd.Series[Any] | NDArray[Any]",
    rows: int | None,
    seed: int,
    metadata: Metadata = NONE,
    least: int = 1,
) -> Places:
    """The places of about so many rows, in their order; all where there are no more.

    The classes, or tenths of amounts, have the shares that they have in all rows, but for `least`
    rows of each at least.
    With times that is a sample of all of the time, as even as chance has it. Of groups come all
    rows or none, by chance, and more groups until each class has its least.
    """
    if rows is None or len(y) <= rows:
        return np.arange(len(y))
    rng = np.random.default_rng(seed)
    codes = np.unique(strata(y), return_inverse=True)[1]
    groups = metadata.group_codes
    if groups is None:
        return _by_class(codes, rows, rng, least)
    return _by_group(codes, groups, rows, rng, least)


def _by_class(codes: Places, rows: int, rng: np.random.Generator, least: int) -> Places:
    counts = np.bincount(codes)
    wanted = np.clip(np.round(rows * counts / len(codes)).astype(int), least, counts.max())
    shuffled = rng.permutation(len(codes))
    by_class = [shuffled[codes[shuffled] == code][:count] for code, count in enumerate(wanted)]
    return np.sort(np.concatenate(by_class))


def _by_group(
    codes: Places, groups: Places, rows: int, rng: np.random.Generator, least: int
) -> Places:
    order = rng.permutation(groups.max() + 1)
    is_drawn = np.zeros(len(order), dtype=bool)
    is_drawn[order[np.cumsum(np.bincount(groups)[order]) <= rows]] = True
    is_drawn[order[:least]] = True  # however large they are: folds need some
    for code in range(codes.max() + 1):
        of_class = np.bincount(groups, codes == code).astype(int)  # rows by group
        lacking = least - of_class[is_drawn].sum()
        others = order[~is_drawn[order] & (of_class[order] > 0)]
        before = np.cumsum(of_class[others]) - of_class[others]
        is_drawn[others[before < lacking]] = True
    return np.flatnonzero(is_drawn[groups])


def search_part(config: Config, dataset: Dataset) -> Dataset:
    """The data set whose training part is what the search sees, by `tune.max_rows`."""
    return _with_at_most(config, dataset, config.tune.max_rows)


def final_part(config: Config, dataset: Dataset) -> Dataset:
    """The data set whose training part is what the final model is fitted on: `train.max_rows`."""
    return _with_at_most(config, dataset, config.train.max_rows)


def _with_at_most(config: Config, dataset: Dataset, rows: int | None) -> Dataset:
    X, y, tune = dataset.X_train, dataset.y_train, config.tune
    if rows is None or len(y) <= rows:
        return dataset
    metadata = dataset.metadata.of(X)
    places = sample(y, rows, tune.seed, metadata, least=rows_per_class(config))
    return replace(dataset, X_train=X.iloc[places], y_train=y.iloc[places])


def rows_per_class(config: Config) -> int:
    """How many training rows a class needs: each fold leaves three of a class to calibrate on."""
    return max(config.tune.folds, 6)
