"""Reads what the config asks of each row beside features and target: group, time and weight."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from pipeline.config.sections import Config, Data
from pipeline.datasets.column_inference import fitting_formats
from pipeline.errors import ContractError, nearest
from pipeline.results import Metadata


def metadata_cells(config: Config, table: pd.DataFrame) -> dict[str, "pd.Series[Any]"]:
    """The cells of the columns that say something of rows, as they stand in the file, by setting.

    Raises ContractError for a column that is not there.
    """
    names = {
        "split.group": config.split.group,
        "split.time": config.split.time,
        "data.weight": config.data.weight,
    }
    return {
        setting: _column(config.data, table, setting, name)
        for setting, name in names.items()
        if name is not None
    }


def read_metadata(
    cells: Mapping[str, "pd.Series[Any]"], dates: Mapping[str, "pd.Series[Any]"]
) -> Metadata:
    """The metadata of rows, from what `metadata_cells` gives.

    `dates` are the features that are dates, by name, already read by their formats. Raises
    ContractError for a cell that is missing or cannot be read.
    """

    def read(
        setting: str, convert: Callable[[str, "pd.Series[Any]"], Any]
    ) -> "pd.Series[Any] | None":
        if setting not in cells:
            return None
        name = str(cells[setting].name)
        read_cells = dates.get(name, cells[setting]) if convert is _times else cells[setting]
        _check_missing(setting, name, read_cells)
        return pd.Series(convert(f"{setting} {name!r}", read_cells), read_cells.index, name=name)

    return Metadata(
        groups=read("split.group", _groups),
        times=read("split.time", _times),
        weights=read("data.weight", _weights),
    )


def _column(data: Data, table: pd.DataFrame, setting: str, name: str) -> "pd.Series[Any]":
    """The cells of the column that a setting names. Raises ContractError if there are none."""
    names = list(map(str, table.columns))
    if name == data.target:
        raise ContractError(f"{setting} is {name!r}, which is the target; name another column")
    if name not in names:
        others = [one for one in names if one != data.target]
        hint = nearest(name, others) or f"; the columns are {', '.join(others)}"
        raise ContractError(f"{setting} is {name!r}, which is no column of {data.source!r}{hint}")
    if names.count(name) > 1:
        raise ContractError(f"{setting} {name!r} is there twice; rename one of the columns")
    cells: pd.Series[Any] = table.iloc[:, names.index(name)]
    return cells


def _check_missing(setting: str, name: str, cells: "pd.Series[Any]") -> None:
    is_missing = cells.isna()
    if not pd.api.types.is_numeric_dtype(cells):
        is_missing |= cells.astype(str).str.strip() == ""
    places = np.flatnonzero(is_missing)
    if len(places):
        raise ContractError(
            f"row {places[0] + 1}, {name}: {setting} needs a value in every row ({len(places)} "
            "rows have none); fill them in, or leave such rows out of the table"
        )


def _groups(_: str, cells: "pd.Series[Any]") -> Any:
    """64 bits of each cell's text; of 3.0 that is the text of 3, as an integer column has it."""
    if pd.api.types.is_float_dtype(cells) and bool((cells % 1 == 0).all()):
        cells = cells.astype("int64")
    return pd.util.hash_array(cells.astype(str).to_numpy(dtype=object))


def _times(setting: str, cells: "pd.Series[Any]") -> Any:
    """Numbers as they are, dates and times as microseconds since 1970; without a zone in UTC.

    Texts are of ISO 8601, or all of the one format that fits them.
    """
    types = pd.api.types
    if types.is_bool_dtype(cells):
        raise ContractError(f"{setting} holds true and false; it must hold dates or numbers")
    if types.is_datetime64_any_dtype(cells):
        moments = pd.to_datetime(cells, utc=True)
    else:
        texts = cells if types.is_numeric_dtype(cells) else cells.astype(str)
        numbers = pd.to_numeric(texts, errors="coerce")
        if numbers.notna().all():
            _check_finite(setting, numbers)
            return numbers.to_numpy()
        form = _one_format(setting, texts) or "ISO8601"
        moments = pd.to_datetime(texts, format=form, utc=True, errors="coerce")
    wrong = np.flatnonzero(moments.isna())
    if len(wrong):
        raise ContractError(
            f"row {wrong[0] + 1}: {setting} must hold dates as 2024-01-31 or 2024-01-31T12:00 "
            "(ISO 8601), all in one other format, or numbers (got "
            f"{str(cells.iloc[wrong[0]])[:40]!r}; {len(wrong)} rows hold such); write them so, or "
            "name another column"
        )
    return moments.astype("datetime64[us, UTC]").astype("int64").to_numpy()


def _one_format(setting: str, texts: "pd.Series[Any]") -> str | None:
    """The format of all texts, None for ISO 8601, or where there is none."""
    formats = fitting_formats(pd.Series(texts.unique(), dtype="str"))
    if len(formats) > 1:
        raise ContractError(
            f"{setting} holds dates such as {texts.iloc[0]!r}, which may be {formats[0]} or "
            f"{formats[1]}; say which as its format below data.columns, or write them as 2024-01-31"
        )
    return formats[0] if formats else None


def _check_finite(setting: str, numbers: "pd.Series[Any]") -> None:
    wrong = np.flatnonzero(~np.isfinite(numbers))
    if len(wrong):
        raise ContractError(
            f"row {wrong[0] + 1}: {setting} must hold finite numbers (got "
            f"{numbers.iloc[wrong[0]]}); mend the cell, or leave the row out of the table"
        )


def _weights(setting: str, cells: "pd.Series[Any]") -> Any:
    is_numeric = pd.api.types.is_numeric_dtype(cells) and not pd.api.types.is_bool_dtype(cells)
    numbers = pd.to_numeric(cells if is_numeric else cells.astype(str), errors="coerce")
    numbers = numbers.astype(np.float64)
    wrong = np.flatnonzero(~(np.isfinite(numbers) & (numbers >= 0)))
    if len(wrong):
        raise ContractError(
            f"row {wrong[0] + 1}: {setting} must hold numbers from 0 on (got "
            f"{str(cells.iloc[wrong[0]])[:40]!r}; {len(wrong)} rows hold such); mend the cells, or "
            "leave such rows out of the table"
        )
    if not numbers.any():
        raise ContractError(
            f"{setting} is 0 in every row: no row counts; name a column of numbers above 0"
        )
    return numbers.to_numpy()
