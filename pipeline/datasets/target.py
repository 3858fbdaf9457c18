"""The target of a table: its cells, the task that they are of, and the classes that they name."""

import json
import logging
from math import ceil
from typing import Any

import numpy as np
import pandas as pd

from pipeline.config.sections import Config, Data
from pipeline.datasets import amounts
from pipeline.datasets.amounts import with_task
from pipeline.datasets.formats import typed
from pipeline.datasets.sampling import rows_per_class
from pipeline.errors import ConfigError, ContractError, nearest

log = logging.getLogger(__name__)
ROWS_PER_CLASS = 9  # of all, with the defaults of split and search
AMOUNTS = "Where it holds amounts, set data.task to regression"
SAYS_AMOUNTS = "an amount is predicted (data.task regression; classification is for classes)"


def target_cells(data: Data, table: pd.DataFrame) -> "pd.Series[Any]":
    """The target's cells of the rows that have one, by their places in the table.

    Raises ContractError for a target that is no column, for a missing one unless
    `data.target_missing` has such rows left out, and for a table without rows.
    """
    _check_column(data, table)
    cells = table[data.target].set_axis(np.arange(len(table)))
    marks = data.target_missing or ()
    is_missing = cells.isna() | cells.isin(list(marks))
    places = np.flatnonzero(is_missing)
    if not len(places):
        return cells
    if data.target_missing is None:
        raise ContractError(
            f"row {places[0] + 1}, {data.target}: the target must not be missing ({len(places)} "
            "rows have none); 'target_missing: []' below data leaves such rows out, or take them "
            'out of the table. A class that is the empty text is written "" in CSV'
        )
    if len(places) == len(cells):
        raise ContractError(
            f"{data.target}: no row has a target; all {len(cells)} are missing, or one of "
            f"data.target_missing {list(marks)}: name another data.target"
        )
    return _typed_again(data, cells[~is_missing])


def inferred_target(
    data: Data, cells: "pd.Series[Any]", config: Config | None = None
) -> tuple[Data, "pd.Series[Any]", tuple[Any, ...]]:
    """The settings with their task, the target, and its classes, sorted; amounts have none.

    `cells` are those of `target_cells`. `config` says how many rows a class needs, None for the
    defaults. Raises ContractError, and ConfigError for settings of the other task.
    """
    needed = ROWS_PER_CLASS if config is None else _rows_per_class_of_all(config)
    data, reason = with_task(data, cells, needed)
    if reason:
        log.info("%s %s: %s", data.target, reason, SAYS_AMOUNTS)
    if data.task == "regression":
        amounts.check_settings(data)
        return data, amounts.read_amounts(data, cells), ()
    y = _whole_numbers(cells)
    return data, y, _classes(data, y)


def class_labels(data: Data, classes: tuple[Any, ...]) -> dict[Any, str]:
    """The classes' names for people.

    Raises ConfigError for one of no class, or of two, and where `data.positive` is not one of two
    classes, or is one of more.
    """
    _check_positive(data, classes)
    by_text = {json.dumps(one) if isinstance(one, int) else one: one for one in classes}
    for text in data.labels:
        if text not in by_text:
            hint = nearest(text, by_text) or f"; the classes are {', '.join(list(by_text)[:10])}"
            raise ConfigError(f"data.labels has {text!r}, which is no class of {data.target}{hint}")
    names_of = {by_text[text]: name for text, name in data.labels.items()}
    names = [str(names_of.get(label, label)) for label in classes]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ConfigError(
            f"data.labels calls two classes of {data.target} {twice!r}; give each a name of its own"
        )
    return names_of


def check_rows(config: Config, y: "pd.Series[Any]", classes: tuple[Any, ...]) -> None:
    """Raises ContractError for more classes than the rows of the training part can fill."""
    rows = len(y) * (1 - config.split.test_size)
    needed = rows_per_class(config)
    if len(classes) > 2 and len(classes) * needed > rows:
        raise ContractError(
            f"{config.data.target}: has {len(classes)} classes in {len(y)} rows, such as "
            f"{', '.join(map(repr, classes[:3]))}; each class needs {needed} rows in the training "
            f"part of about {rows:.0f}: join rare classes, or add rows. {AMOUNTS}"
        )


def check_training_rows(
    config: Config, y_train: "pd.Series[Any]", classes: tuple[Any, ...]
) -> None:
    """Raises ContractError for too few rows to train on, of a class or in all."""
    if not classes:
        amounts.check_rows(len(y_train))
        return
    needed = rows_per_class(config)
    split = config.split
    remedies = "add rows of it, or leave the class out"
    if split.time is not None:
        remedies += (
            f", or lower split.test_size: the latest rows by {split.time!r} are the test part"
        )
    elif not split.stratify:
        remedies += ", or set split.stratify to true"
    counts = y_train.value_counts()
    for label in classes:
        if counts.get(label, 0) < needed:
            raise ContractError(
                f"{config.data.target}: the class {label!r} has {counts.get(label, 0)} rows in the "
                f"training part, and {needed} are needed for tune.folds {config.tune.folds}; "
                f"{remedies}"
            )


def _check_column(data: Data, table: pd.DataFrame) -> None:
    names = list(map(str, table.columns))
    if data.target not in names:
        hint = nearest(data.target, names) or f"; the columns are {', '.join(names)}"
        raise ContractError(
            f"data.target is {data.target!r}, which is no column of {data.source!r}{hint}"
        )
    if names.count(data.target) > 1:
        raise ContractError(
            f"data.target {data.target!r} is there twice; rename one of the columns"
        )
    if table.empty:
        raise ContractError(f"data.source {data.source!r} has no rows, only a header")


def _typed_again(data: Data, cells: "pd.Series[Any]") -> "pd.Series[Any]":
    """Cells as their column would have them, had the missing ones never been there."""
    if not pd.api.types.is_string_dtype(cells):
        return pd.Series(cells.tolist(), cells.index, name=cells.name)
    if data.target_kind == "text":
        return cells
    return typed(cells)


def _whole_numbers(y: "pd.Series[Any]") -> "pd.Series[Any]":
    """1.0 and 0.0 are the classes 1 and 0."""
    whole = pd.api.types.is_float_dtype(y) and bool(((y % 1 == 0) & (y.abs() < 2**53)).all())
    return y.astype("int64") if whole else y


def _classes(data: Data, y: "pd.Series[Any]") -> tuple[Any, ...]:
    if not isinstance(y.iloc[:1].tolist()[0], (bool, int, str)):
        raise ContractError(
            f"{data.target}: holds {y.dtype} such as {y.iloc[0]}; "
            f"a class must be an integer, a text or true/false. {AMOUNTS}"
        )
    classes = tuple(sorted(y.unique().tolist()))
    if len(classes) < 2:
        raise ContractError(
            f"{data.target}: every row is of the class {classes[0]!r}; there must be two or more"
        )
    return classes


def _check_positive(data: Data, classes: tuple[Any, ...]) -> None:
    shortened = ", ".join(map(repr, classes[:10]))
    # True == 1 in Python, but `positive: 1` is not the class true.
    if len(classes) == 2 and (type(data.positive), data.positive) not in [
        (type(label), label) for label in classes
    ]:
        raise ConfigError(
            f"data.positive is {data.positive!r}; with two classes it must be one of {shortened}"
        )
    if len(classes) > 2 and data.positive is not None:
        raise ConfigError(
            f"data.positive is {data.positive!r}, but {data.target} has {len(classes)} classes "
            f"({shortened}); leave it out, or take the rows of the other classes out of the table"
        )


def _rows_per_class_of_all(config: Config) -> int:
    """How many rows of a class all rows must have, so that the training part has enough."""
    return ceil(rows_per_class(config) / (1 - config.split.test_size))
