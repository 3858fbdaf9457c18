"""Columns that give the target away, or are another column in other words."""

from collections import defaultdict
from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import rankdata

from pipeline.datasets.checks.finding import SEED, Finding, Sample, Vector
from pipeline.schema.columns import NumberColumn

FOLDS = 5
MOST_BINS, ROWS_PER_BIN = 50, 20
ERRORS_LEFT = 0.1  # of those of the most frequent class, at most, by a column that leaks
AUC = 0.99
FEWEST = 5  # rows that differ in columns of one content; and of a class
FEW = 0.05  # different numbers, as a share of the rows, that are compared as names are


def leaks(sample: Sample) -> Iterator[Finding]:
    """Columns that predict the target almost without error, alone.

    Each is cross-validated with the class shares of its levels, or of its quantile bins. A gap
    is a level: a value that is there only for some class gives it away.
    """
    counts = np.bincount(sample.y, minlength=2)
    if np.sort(counts)[-2] < FEWEST:
        return
    target = sample.dataset.contract.target
    folds = np.random.default_rng(SEED).permutation(len(sample.y)) % FOLDS
    dummy = counts.max() / len(sample.y)
    for name in sample.columns:
        scores = _class_shares(_bins(sample, name), folds, sample.y)
        accuracy = float((scores.argmax(axis=1) == sample.y).mean())
        auc = _auc(scores[:, 1], sample.y == 1) if scores.shape[1] == 2 else 0.0
        if 1 - accuracy > ERRORS_LEFT * (1 - dummy) and auc < AUC:
            continue
        by_auc = f", ROC AUC {auc:.3f}" if auc else ""
        what = target if sample.dataset.contract.classes else f"the tenth in which {target} is"
        yield Finding(
            f"{name}: alone it predicts {what} in {accuracy:.1%} of the rows{by_auc} (the most "
            f"frequent {'class' if what == target else 'one'}: {dummy:.1%}); drop it, unless it is "
            f"there before {target} is",
            drop={name: f"gives {target} away"},
        )


def copies(sample: Sample) -> Iterator[Finding]:
    """Columns that have the same content as an earlier one, perhaps in other words."""
    by_content: dict[bytes, list[str]] = defaultdict(list)
    for name in sample.columns:
        values = sample.values(name)
        if _rarer(values) >= FEWEST:
            by_content[_content(sample, name, values)].append(name)
    for first, *others in by_content.values():
        for name in others:
            if len(sample.y) == sample.dataset.rows or _are_copies(sample, first, name):
                yield Finding(
                    f"{name}: has the same content as {first}, value by value",
                    drop={name: f"the same as {first}"},
                )


def _bins(sample: Sample, name: str) -> NDArray[np.intp]:
    """The place of each row's level or quantile bin; the last is that of the gaps."""
    values = sample.values(name)
    present = values[~np.isnan(values)]
    count = int(np.clip(len(values) // ROWS_PER_BIN, 2, MOST_BINS))
    if isinstance(sample.columns[name], NumberColumn) and len(np.unique(present)) > count:
        edges = np.unique(np.quantile(present, np.linspace(0, 1, count + 1)[:-1]))
        places = np.searchsorted(edges, values)
        return np.where(np.isnan(values), len(edges) + 1, places)
    return pd.factorize(values, use_na_sentinel=False)[0]


def _class_shares(
    bins: NDArray[np.intp], folds: NDArray[np.intp], y: NDArray[np.intp]
) -> NDArray[np.float64]:
    """Rows x classes: the shares among the rows of the same bin in the other folds, smoothed."""
    shape = (FOLDS, bins.max() + 1, y.max() + 1)
    places = np.ravel_multi_index((folds, bins, y), shape)
    counts = np.bincount(places, minlength=np.prod(shape)).reshape(shape)
    others = counts.sum(axis=0) - counts
    usual = others.sum(axis=1, keepdims=True) / others.sum(axis=(1, 2), keepdims=True)
    shares = (others + usual) / (others.sum(axis=2, keepdims=True) + 1)
    return np.asarray(shares[folds, bins])


def _auc(scores: Vector, is_positive: NDArray[np.bool_]) -> float:
    """The area under the ROC curve by ranks: scikit-learn's takes ten times as long."""
    positive, rows = int(is_positive.sum()), len(scores)
    ranks = rankdata(scores)[is_positive].sum() - positive * (positive + 1) / 2
    return float(ranks / (positive * (rows - positive)))


def _rarer(values: Vector) -> int:
    """How many rows do not have the most frequent value."""
    return len(values) - int(np.unique(values, return_counts=True)[1].max())


def _content(sample: Sample, name: str, values: Vector) -> bytes:
    """The same for columns that name the same things, or put the rows into the same order.

    The values of a few are numbered as they come; many numbers by rank, from the end at which the
    first row is. So what is twice the other, or its negative, is the same.
    """
    codes, different = pd.factorize(values)
    is_number = isinstance(sample.columns[name], NumberColumn)
    if is_number and len(different) > FEW * len(values):
        ranks = np.unique(values, return_inverse=True)[1]
        ranks = np.where(np.isnan(values), -1, ranks)
        turned = np.where(np.isnan(values), -1, len(different) - 1 - ranks)
        differs = np.flatnonzero(ranks != turned)
        codes = ranks if ranks[differs[0]] < turned[differs[0]] else turned
    return np.ascontiguousarray(codes, dtype=np.int64).tobytes()


def _are_copies(sample: Sample, first: str, name: str) -> bool:
    """The same, by all rows."""
    X = sample.dataset.X_train
    one, other = (X[each].to_numpy() for each in (first, name))
    return _content(sample, first, one) == _content(sample, name, other)
