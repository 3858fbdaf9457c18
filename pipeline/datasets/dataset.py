"""From a table to a checked data set in two parts."""

import json
import logging
from collections.abc import Mapping
from math import ceil
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.config.sections import Config, Data, check_slices
from pipeline.datasets import amounts, splits
from pipeline.datasets.amounts import with_task
from pipeline.datasets.column_inference import complete
from pipeline.datasets.kinds import TABLE_KINDS
from pipeline.datasets.metadata import metadata_cells, read_metadata
from pipeline.datasets.sampling import rows_per_class
from pipeline.datasets.sources import stem
from pipeline.errors import ConfigError, ContractError, nearest
from pipeline.results import Dataset
from pipeline.schema.columns import Column
from pipeline.schema.contract import Contract
from pipeline.schema.kinds import kind_of
from pipeline.schema.rules import check, check_names

log = logging.getLogger(__name__)
ROWS_PER_CLASS = 9  # of all, with the defaults of split and search
MOST_NAMED = 5  # columns in one message
AMOUNTS = "Where it holds amounts, set data.task to regression"
SAYS_AMOUNTS = "an amount is predicted (data.task regression; classification is for classes)"


def build_dataset(config: Config, table: pd.DataFrame, digest: str) -> Dataset:
    """The checked and split data set. Raises ContractError, and ConfigError for `positive`."""
    data = config.data
    check_target(data, table)
    data, y, classes = inferred_target(data, table, config)
    config = config.model_copy(update={"data": data})
    data = complete(config, table, classes)
    _check_slices(config, data)
    labels: dict[Any, str] = {}
    if classes:
        _check_positive(data, classes)
        labels = _labels(data, classes)
        _check_rows(config, y, classes)
    features = _features(data, table)
    _check_header(data, table)
    of_rows = metadata_cells(config, table)
    del table  # as texts it is several times the size of its numbers
    _check_names(data, list(map(str, features.columns)))
    texts = {str(name): each for name, each in features.items()}
    del features
    cells = _read(data.columns, texts)
    dates = {
        name: cells[name]
        for name, column in data.columns.items()
        if column.kind == "date" and name in cells
    }
    metadata = read_metadata(of_rows, dates)
    train, test = splits.split(config, y, metadata)
    counted = train if metadata.weights is None else train[metadata.weights.iloc[train] > 0]
    if classes:
        _check_rows_per_class(config, y.iloc[counted], classes)
    else:
        amounts.check_rows(len(counted))
    columns = _learn(data.columns, cells, train)
    X = check(columns, cells)
    coded = [name for name, column in columns.items() if not kind_of(column).plain_types]
    cells = cells[[name for name in coded if name in cells]]
    X_train, X_test = X.iloc[train], X.iloc[test]
    del X  # as large as both parts
    _check_values_per_column(X_train)
    return Dataset(
        name=stem(data.source),
        digest=digest,
        split_digest=splits.digest(metadata, train, test),
        contract=Contract(
            columns=columns,
            target=data.target,
            classes=classes,
            positive=data.positive,
            target_range=data.target_range,
        ),
        X_train=X_train,
        y_train=y.iloc[train],
        X_test=X_test,
        y_test=y.iloc[test],
        metadata=metadata,
        labels=labels,
        rows_note=splits.describe(metadata, of_rows.get("split.time"), train, test),
        cells=cells if len(cells.columns) else None,
        data=data,
    )


def _read(columns: Mapping[str, Column], features: dict[str, "pd.Series[Any]"]) -> pd.DataFrame:
    """The features' cells as cells of their columns' kinds.

    `features` is emptied, to free what it holds; columns that are popped off a data frame would
    take the square of their number.
    """
    cells = {
        name: TABLE_KINDS[column.kind].read(features.pop(name), column)
        for name, column in columns.items()
        if name in features
    }
    pa.default_memory_pool().release_unused()  # what the texts took
    frame = pd.DataFrame(cells)
    _check_kinds(columns, frame)
    return frame


def _learn(
    columns: Mapping[str, Column], cells: pd.DataFrame, train: NDArray[np.intp]
) -> dict[str, Any]:
    """The columns with what their training rows say of them."""
    return {
        name: TABLE_KINDS[column.kind].learn(column, cells[name], train)
        if name in cells
        else column
        for name, column in columns.items()
    }


def check_target(data: Data, table: pd.DataFrame) -> None:
    """Raises ContractError for a target that is no column, or has a missing value; for no rows."""
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
    empty = np.flatnonzero(table[data.target].isna())
    if len(empty):
        raise ContractError(
            f"row {empty[0] + 1}, {data.target}: the target must not be missing "
            f"({len(empty)} rows have none); leave such rows out of the table. "
            'A class that is the empty text is written "" in CSV'
        )


def _features(data: Data, table: pd.DataFrame) -> pd.DataFrame:
    """The table without the target, the weights and what is dropped.

    Raises ContractError for a dropped column that is not there: a slip would drop nothing.
    """
    names = table.columns.fillna("").astype(str)
    for name in data.drop:
        if name not in names:
            others = [one for one in names if one not in (data.target, *data.columns)]
            hint = nearest(name, others) or "; take it out of data.drop"
            raise ContractError(
                f"data.drop has {name!r}, which is no column of {data.source!r}{hint}", "columns"
            )
    weight = [] if data.weight is None else [data.weight]
    return table.loc[:, ~names.isin([data.target, *weight, *data.drop])]


def _check_header(data: Data, table: pd.DataFrame) -> None:
    """Raises ContractError for columns without a name, such as an index that was written along."""
    unnamed = [place for place, name in enumerate(table.columns, 1) if name in ("", None)]
    if unnamed and "" not in data.drop:
        raise ContractError(
            f"column {unnamed[0]} of data.source {data.source!r} has no name in the header "
            f"({len(unnamed)} of {len(table.columns)} have none): name it, or take it out of the "
            "file, or write '\"\": its reason' below data.drop. pandas writes its index so, but "
            "not with to_csv(index=False)",
            "columns",
        )


def _check_names(data: Data, names: list[str]) -> None:
    """As `check_names`, with the setting by which a column may stay in the file."""
    try:
        check_names(data.columns, names)
    except ContractError as error:
        if set(names) <= set(data.columns):
            raise
        remedy = "a column that is no feature may stay in the file: name it below data.drop"
        raise ContractError(f"{error}\n{remedy}", error.rule) from None


def _whole_numbers(y: "pd.Series[Any]") -> "pd.Series[Any]":
    """1.0 and 0.0 are the classes 1 and 0."""
    whole = pd.api.types.is_float_dtype(y) and bool(((y % 1 == 0) & (y.abs() < 2**53)).all())
    return y.astype("int64") if whole else y


def _check_kinds(columns: Mapping[str, Column], features: pd.DataFrame) -> None:
    """Raises ContractError, once for all columns of a kind that have no cell of it."""
    for kind, table_kind in TABLE_KINDS.items():
        others = [
            f"{name} ({_short(cells.dropna().iloc[0])})"
            for name, cells in features.items()
            if columns[str(name)].kind == kind
            and not cells.isna().all()
            and not table_kind.has_any(cells)
        ]
        if others:
            more = f" and {len(others) - MOST_NAMED} more" if len(others) > MOST_NAMED else ""
            raise ContractError(
                f"{len(others)} of {len(features.columns)} columns hold no {table_kind.plural}: "
                f"{', '.join(others[:MOST_NAMED])}{more}. A column must hold {table_kind.plural}: "
                f"{table_kind.remedy}, or take the columns out of the table and of data.columns",
                "type",
            )


def _short(value: Any) -> str:
    return (repr(value) if isinstance(value, str) else str(value))[:40]


def inferred_target(
    data: Data, table: pd.DataFrame, config: Config | None = None
) -> tuple[Data, "pd.Series[Any]", tuple[Any, ...]]:
    """The settings with their task, the target, and its classes, sorted; amounts have none.

    `config` says how many rows a class needs, None for the defaults. Raises ContractError, and
    ConfigError for settings of the other task.
    """
    needed = ROWS_PER_CLASS if config is None else _rows_per_class_of_all(config)
    data, reason = with_task(data, table[data.target], needed)
    if reason:
        log.info("%s %s: %s", data.target, reason, SAYS_AMOUNTS)
    if data.task == "regression":
        amounts.check_settings(data)
        return data, amounts.read_amounts(data, table[data.target]), ()
    y = _whole_numbers(table[data.target])
    return data, y, _classes(data, y)


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


def _check_slices(config: Config, data: Data) -> None:
    """Raises ConfigError for slices that do not fit columns, which the table alone may say."""
    try:
        check_slices(config.gate.slices, data.columns)
    except ValueError as error:
        raise ConfigError(str(error)) from None


def _check_positive(data: Data, classes: tuple[Any, ...]) -> None:
    """Raises ConfigError where `data.positive` is not one of two classes, or one of more."""
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


def _labels(data: Data, classes: tuple[Any, ...]) -> dict[Any, str]:
    """The classes' names. Raises ConfigError for one of no class, or of two."""
    by_text = {json.dumps(one) if isinstance(one, int) else one: one for one in classes}
    for text in data.labels:
        if text not in by_text:
            hint = nearest(text, by_text) or f"; the classes are {', '.join(list(by_text)[:10])}"
            raise ConfigError(f"data.labels has {text!r}, which is no class of {data.target}{hint}")
    labels = {by_text[text]: name for text, name in data.labels.items()}
    names = [str(labels.get(label, label)) for label in classes]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ConfigError(
            f"data.labels calls two classes of {data.target} {twice!r}; give each a name of its own"
        )
    return labels


def _rows_per_class_of_all(config: Config) -> int:
    """How many rows of a class all rows must have, so that the training part has enough."""
    return ceil(rows_per_class(config) / (1 - config.split.test_size))


def _check_rows(config: Config, y: "pd.Series[Any]", classes: tuple[Any, ...]) -> None:
    """Raises ContractError for more classes than the rows of the training part can fill."""
    rows = len(y) * (1 - config.split.test_size)
    needed = rows_per_class(config)
    if len(classes) > 2 and len(classes) * needed > rows:
        raise ContractError(
            f"{config.data.target}: has {len(classes)} classes in {len(y)} rows, such as "
            f"{', '.join(map(repr, classes[:3]))}; each class needs {needed} rows in the training "
            f"part of about {rows:.0f}: join rare classes, or add rows. {AMOUNTS}"
        )


def _check_rows_per_class(
    config: Config, y_train: "pd.Series[Any]", classes: tuple[Any, ...]
) -> None:
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


def _check_values_per_column(X_train: pd.DataFrame) -> None:
    empty = X_train.columns[X_train.isna().all()].tolist()
    if empty:
        raise ContractError(
            f"column {empty[0]!r} has no value in the training part: nothing can be learnt of it; "
            f"take {', '.join(map(repr, empty))} out of data.columns and of the table"
        )
