"""From a table to a checked data set in two parts."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.config.sections import Config, Data, check_slices
from pipeline.datasets import splits, target
from pipeline.datasets.column_inference import complete
from pipeline.datasets.kinds import TABLE_KINDS
from pipeline.datasets.metadata import metadata_cells, read_metadata
from pipeline.datasets.sources import stem
from pipeline.errors import ConfigError, ContractError, nearest
from pipeline.results import Dataset, Metadata
from pipeline.schema.columns import Column
from pipeline.schema.contract import Contract
from pipeline.schema.kinds import kind_of
from pipeline.schema.rules import check, check_names

MOST_NAMED = 5  # columns in one message


class _Parts(NamedTuple):
    """The places of the rows of either part in the table, and how they came there."""

    train: splits.Places
    test: splits.Places
    note: str


def build_dataset(config: Config, table: pd.DataFrame, digest: str) -> Dataset:
    """The checked and split data set. Raises ContractError, and ConfigError for `positive`."""
    labelled = target.target_cells(config.data, table)
    data, y, classes = target.inferred_target(config.data, labelled, config)
    config = config.model_copy(update={"data": data})
    data = complete(config, table, y, classes)
    _check_slices(config, data)
    labels = target.class_labels(data, classes) if classes else {}
    target.check_rows(config, y, classes)
    of_rows = metadata_cells(config, table)
    texts = _feature_cells(data, table)
    del table  # as texts it is several times the size of its numbers
    cells = _read(data.columns, texts)
    metadata = read_metadata(of_rows, _dates(data.columns, cells))
    parts = _split(config, y, metadata, of_rows, len(cells))
    target.check_training_rows(config, _at(y, _counted(parts.train, metadata)), classes)
    columns = _learn(data.columns, cells, parts.train)
    X = check(columns, cells)
    coded = [name for name, column in columns.items() if not kind_of(column).plain_types]
    cells = cells[[name for name in coded if name in cells]]
    X_train, X_test = X.iloc[parts.train], X.iloc[parts.test]
    del X  # as large as both parts
    _check_values_per_column(X_train)
    return Dataset(
        name=stem(data.source),
        digest=digest,
        split_digest=splits.digest(metadata, parts.train, parts.test),
        contract=Contract(
            columns=columns,
            target=data.target,
            classes=classes,
            positive=data.positive,
            target_range=data.target_range,
        ),
        X_train=X_train,
        y_train=_at(y, parts.train),
        X_test=X_test,
        y_test=_at(y, parts.test),
        metadata=metadata,
        labels=labels,
        rows_note=parts.note,
        cells=cells if len(cells.columns) else None,
        data=data,
    )


def _feature_cells(data: Data, table: pd.DataFrame) -> dict[str, "pd.Series[Any]"]:
    """The cells of each feature as the table has them. Raises ContractError for wrong columns."""
    features = _features(data, table)
    _check_header(data, table)
    _check_names(data, list(map(str, features.columns)))
    return {str(name): each for name, each in features.items()}


def _dates(columns: Mapping[str, Column], cells: pd.DataFrame) -> dict[str, "pd.Series[Any]"]:
    names = [name for name, column in columns.items() if column.kind == "date"]
    return {name: cells[name] for name in names if name in cells}


def _split(
    config: Config,
    y: "pd.Series[Any]",
    metadata: Metadata,
    of_rows: Mapping[str, "pd.Series[Any]"],
    rows: int,
) -> _Parts:
    """Both parts of the rows that have a target; the others are in neither."""
    places = y.index.to_numpy()
    labelled = metadata.where(places)
    train, test = splits.split(config, y, labelled)
    times = of_rows["split.time"].iloc[places] if "split.time" in of_rows else None
    without = f"{rows - len(y)} rows without a target are left out" if len(y) < rows else ""
    notes = (without, splits.describe(labelled, times, train, test))
    return _Parts(places[train], places[test], "; ".join(note for note in notes if note))


def _at(y: "pd.Series[Any]", places: splits.Places) -> "pd.Series[Any]":
    """The targets of rows by their places in the table."""
    return y.loc[pd.Index(places)]


def _counted(train: splits.Places, metadata: Metadata) -> splits.Places:
    """The training rows that have weight."""
    if metadata.weights is None:
        return train
    return train[metadata.weights.iloc[train] > 0]


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


def _check_slices(config: Config, data: Data) -> None:
    """Raises ConfigError for slices that do not fit columns, which the table alone may say."""
    try:
        check_slices(config.gate.slices, data.columns)
    except ValueError as error:
        raise ConfigError(str(error)) from None


def _check_values_per_column(X_train: pd.DataFrame) -> None:
    empty = X_train.columns[X_train.isna().all()].tolist()
    if empty:
        raise ContractError(
            f"column {empty[0]!r} has no value in the training part: nothing can be learnt of it; "
            f"take {', '.join(map(repr, empty))} out of data.columns and of the table"
        )
