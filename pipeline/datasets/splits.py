"""Parts rows into training and test: by chance, by groups that stay together, or by time."""

import hashlib
import warnings
from collections.abc import Sequence
from math import ceil
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.model_selection import (
    GroupKFold,
    GroupShuffleSplit,
    StratifiedGroupKFold,
    train_test_split,
)

from pipeline.config.sections import Config, Split
from pipeline.errors import ContractError
from pipeline.results import Metadata

Places = NDArray[np.intp]
MOST_STRATIFIED = 500  # groups
MOST_STRATA, ROWS_OF_STRATUM = 10, 10  # of amounts
STEPS = 20  # in which a stratified part of groups can be so large, at least


def split(config: Config, y: "pd.Series[Any]", metadata: Metadata) -> tuple[Places, Places]:
    """The places of the training and of the test rows.

    By time the test part holds the latest rows, and those of one time stay together. With groups
    as well, rows of the past whose group is in the test part are in neither. Raises ContractError.
    """
    settings = config.split
    if metadata.times is not None:
        return _by_time(settings, metadata)
    if metadata.groups is not None:
        return _by_group(settings, y, metadata.groups)
    return _by_chance(settings, y)


def strata(y: "pd.Series[Any] | NDArray[Any]") -> "pd.Series[Any] | NDArray[Any]":
    """What the parts of a split have equal shares of: the classes, or tenths of amounts by rank.

    Fewer amounts are parted into fewer, of ten rows at least.
    """
    if y.dtype != np.float64:
        return y
    parts = max(1, min(MOST_STRATA, len(y) // ROWS_OF_STRATUM))
    ranks = np.argsort(np.argsort(np.asarray(y), kind="stable"), kind="stable")
    return np.asarray(ranks * parts // len(y))


def digest(metadata: Metadata, train: Places, test: Places) -> str:
    """sha256 of the places of the test rows; where rows carry metadata, of the training rows too.

    So do its columns count then: folds and metrics follow from them.
    """
    sha256 = hashlib.sha256(np.sort(test).astype("<i8").tobytes())
    names = metadata.names
    if names:
        sha256.update(np.sort(train).astype("<i8").tobytes())
        sha256.update(repr(names).encode())
    return sha256.hexdigest()


def describe(
    metadata: Metadata, times: "pd.Series[Any] | None", train: Places, test: Places
) -> str:
    """How rows were parted and weighed, in a sentence; empty where by chance and alike.

    `times` are the cells of `split.time` as they stand in the table.
    """
    sentences, names = [], metadata.names
    if times is not None and metadata.times is not None:
        first = times.iloc[test[np.argmin(metadata.times.to_numpy()[test])]]
        sentences.append(
            f"trained on the past and tested on the future: the test part begins at {first} of "
            f"{names['times']!r}"
        )
    if metadata.groups is not None:
        sentences.append(f"rows of one {names['groups']!r} stay together")
        if out := len(metadata.groups) - len(train) - len(test):
            sentences.append(
                f"{out} earlier rows are in neither part, as their {names['groups']!r} is in the "
                "test part too"
            )
    if metadata.weights is not None:
        sentences.append(f"rows count by {names['weights']!r}, in fits and in metrics")
    return "; ".join(sentences)


def cut_times(times: NDArray[Any], shares: Sequence[float]) -> list[NDArray[np.bool_]]:
    """The rows before each border in time, whose shares come closest to those asked for.

    Rows of one time stay together, and between two borders is one time at least. Raises ValueError
    for fewer distinct times than that takes.
    """
    distinct, codes, counts = np.unique(times, return_inverse=True, return_counts=True)
    if len(distinct) <= len(shares):
        raise ValueError(f"{len(distinct)} distinct values")
    before = np.concatenate([[0], np.cumsum(counts)])
    parts, lowest = [], 1
    for place, share in enumerate(shares):
        highest = len(distinct) - (len(shares) - place)
        errors = np.abs(before[lowest : highest + 1] - share * len(times))
        border = lowest + int(np.argmin(errors))
        parts.append(codes < border)
        lowest = border + 1
    return parts


def without_groups_of(
    groups: "pd.Series[Any] | None", train: Places, test: Places
) -> tuple[Places, Places]:
    """The training rows whose group is not in the test part, and the test rows."""
    if groups is None:
        return train, test
    is_shared = np.isin(groups.to_numpy()[train], groups.to_numpy()[test])
    return train[~is_shared], test


def _by_time(settings: Split, metadata: Metadata) -> tuple[Places, Places]:
    assert metadata.times is not None
    try:
        (is_past,) = cut_times(metadata.times.to_numpy(), [1 - settings.test_size])
    except ValueError as error:
        raise ContractError(
            f"split.time is {settings.time!r}, which holds {error}; training and test part need "
            "one each at least: name another column"
        ) from None
    return without_groups_of(metadata.groups, np.flatnonzero(is_past), np.flatnonzero(~is_past))


def _by_group(
    settings: Split, y: "pd.Series[Any]", groups: "pd.Series[Any]"
) -> tuple[Places, Places]:
    count = groups.nunique()
    if count < 2:
        raise ContractError(
            f"split.group is {settings.group!r}, which holds one value in all rows; training and "
            "test part need one group each at least: name another column"
        )
    size = settings.test_size
    if not settings.stratify:
        shuffle = GroupShuffleSplit(1, test_size=size, random_state=settings.seed)
        try:
            train, test = next(shuffle.split(y, y, groups))
        except ValueError as error:
            raise ContractError(
                f"{count} groups of split.group {settings.group!r} cannot be split with "
                f"split.test_size {size:g}: {error}"
            ) from None
        return train, test
    pieces = min(count, max(STEPS, ceil(1 / size), ceil(1 / (1 - size))))
    wanted = min(max(round(pieces * size), 1), pieces - 1)
    folds = list(group_folds(y, groups, pieces, settings.seed))
    test = np.sort(np.concatenate([fold for _, fold in folds[:wanted]]))
    return np.setdiff1d(np.arange(len(y)), test), test


def group_folds(
    y: "pd.Series[Any]", groups: "pd.Series[Any]", count: int, seed: int
) -> list[tuple[Places, Places]]:
    """Folds of whole groups, with classes or amounts as balanced as groups allow.

    Raises ValueError.

    Of many groups chance balances the classes, and stratifying them takes minutes.
    """
    is_many = groups.nunique() > MOST_STRATIFIED
    kind = GroupKFold if is_many else StratifiedGroupKFold
    splitter = kind(count, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a class of fewer rows than folds
        folds = list(splitter.split(np.zeros(len(y)), strata(y), groups))
    return [(train, np.asarray(test, dtype=np.intp)) for train, test in folds]


def _by_chance(settings: Split, y: "pd.Series[Any]") -> tuple[Places, Places]:
    try:
        train, test = train_test_split(
            np.arange(len(y)),
            test_size=settings.test_size,
            random_state=settings.seed,
            stratify=strata(y) if settings.stratify else None,
        )
    except ValueError as error:
        alone = [label for label, count in y.value_counts().items() if count == 1]
        reason = f"the class {alone[0]!r} has 1 row" if alone else str(error)
        raise ContractError(
            f"{len(y)} rows cannot be split with split.test_size {settings.test_size:g} and "
            f"split.stratify {str(settings.stratify).lower()}: {reason}"
        ) from None
    return train, test
