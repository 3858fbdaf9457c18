"""Columns by which rows belong together, or follow each other."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.datasets.checks.columns import is_of_birth, words_of
from pipeline.datasets.checks.finding import Finding, Sample, Vector
from pipeline.datasets.kinds import TABLE_KINDS
from pipeline.results import is_amount
from pipeline.schema.columns import Column, DateColumn
from pipeline.schema.kinds import kind_of

WHOSE = r"patient|subject|participant|person|customer|client|user|member|household|employee|student"
GROUP_NAMES = re.compile(
    rf"(^|_)(id|ids|uuid|guid|({WHOSE}|account|session|device|family)(_(id|nr|no|number|code|key))?)$"
)
FEWEST_GROUPS = 10
LARGEST_GROUP = 0.2  # share of the rows
REPEATED = 0.05  # share of the rows that are not the first of their group, at least
FEWEST_TIMES = 10
ROWS_PER_CLASS = 10  # before the test part, of a split by time


def groups_and_times(sample: Sample) -> Iterator[Finding]:
    """Proposals for `split.group` and `split.time`."""
    names = sample.dataset.metadata.names
    groups = {} if "groups" in names else group_columns(sample)
    for name, reason in list(groups.items())[:1]:
        drop = {name: "says which rows belong together"}
        yield Finding(f"{name}: {reason}", drop=drop, split={"group": name})
    for name, column in sample.columns.items():
        reason = time_reason(name, column, sample.values(name), sample.y)
        if reason and "times" not in names:
            yield Finding(f"{name}: {reason}", split={"time": name})
            return


def propose_split(
    table: pd.DataFrame, columns: Mapping[str, Column], target: str, y: "pd.Series[Any]"
) -> dict[str, tuple[str, str]]:
    """The columns of a table as it was read for `split.group` and `split.time`, each with why.

    `y` is the target.
    """
    proposed: dict[str, tuple[str, str]] = {}
    codes = (
        np.zeros(len(y), dtype=np.intp)
        if is_amount(y)
        else np.unique(y.astype(str), return_inverse=True)[1]
    )
    for place, name in enumerate(map(str, table.columns)):
        cells, column = table.iloc[:, place], columns.get(name)
        if name != target and (reason := group_reason(name, cells)):
            proposed.setdefault("group", (name, reason))
        if isinstance(column, DateColumn):
            times = kind_of(column).read_series(column, TABLE_KINDS["date"].read(cells, column))
            if times is not None and (reason := time_reason(name, column, times, codes)):
                proposed.setdefault("time", (name, reason))
    return proposed


def group_columns(sample: Sample) -> dict[str, str]:
    """The features by whose values rows seem to belong together, each with why."""
    reasons, data = {}, sample.dataset
    for name, column in sample.columns.items():
        if _is_group_name(name) and not isinstance(column, DateColumn):
            reason = group_reason(name, pd.concat([data.X_train[name], data.X_test[name]]))
            if reason:
                reasons[name] = reason
    return reasons


def group_reason(name: str, cells: "pd.Series[Any]") -> str:
    """Why rows with one value of a column should stay together; empty if they need not.

    By its name, and as its values repeat, but not as those of a category do.
    """
    if not _is_group_name(name) or cells.isna().any():
        return ""
    if pd.api.types.is_float_dtype(cells) and bool((cells % 1 != 0).any()):
        return ""
    counts = cells.value_counts()
    rows = len(cells)
    if (
        len(counts) < FEWEST_GROUPS
        or counts.iloc[0] > LARGEST_GROUP * rows
        or rows - len(counts) < REPEATED * rows
    ):
        return ""
    return (
        f"{len(counts)} different values in {rows} rows: if the rows of one belong together, they "
        "must not be in both parts"
    )


def time_reason(name: str, column: Column, times: Vector, y: NDArray[np.intp]) -> str:
    """Why to test on the rows with the latest times; empty if nothing speaks for it.

    Each class must have rows before the last third.
    """
    if not isinstance(column, DateColumn) or is_of_birth(name) or np.isnan(times).any():
        return ""
    if len(np.unique(times)) < FEWEST_TIMES:
        return ""
    counts = np.bincount(y[times <= np.quantile(times, 2 / 3)], minlength=y.max() + 1)
    if counts[np.unique(y)].min() < ROWS_PER_CLASS:
        return ""
    return "dates each row: a model that is to predict what comes is tested on the latest rows"


def _is_group_name(name: str) -> bool:
    return bool(GROUP_NAMES.search(words_of(name)))
