"""Targets that are amounts: told from classes, and read as doubles."""

from typing import Any

import numpy as np
import pandas as pd

from pipeline.config.sections import Data
from pipeline.errors import ConfigError, ContractError

MOST_CLASSES = 20  # of whole numbers, where some have too few rows to be a class
FEWEST_ROWS = 40  # of the training part
OF = "finite numbers"


def with_task(data: Data, cells: "pd.Series[Any]", rows_per_class: int) -> tuple[Data, str]:
    """The settings with the task that they say, or that the target's cells say, and then why.

    `rows_per_class` are those that each class needs, in all rows.
    """
    if data.task != "auto":
        return data, ""
    reason = "" if _are_classes_said(data) else _amount_reason(cells, rows_per_class)
    task = "regression" if reason else "classification"
    return data.model_copy(update={"task": task}), reason


def read_amounts(data: Data, cells: "pd.Series[Any]") -> "pd.Series[Any]":
    """The amounts as doubles. Raises ContractError for a cell that is none, or out of range."""
    name, remedy = data.target, "mend the cell, or leave the row out of the table"
    if pd.api.types.is_bool_dtype(cells):
        raise ContractError(f"{name}: holds true and false, and data.task regression asks for {OF}")
    amounts = pd.to_numeric(cells, errors="coerce").astype(np.float64)
    low, high = (bound if bound is not None else np.nan for bound in data.target_range)
    beyond = (amounts < low) | (amounts > high)
    for is_wrong, rule in (
        (~np.isfinite(amounts), f"data.task regression asks for {OF}"),
        (beyond, f"data.target_range is {list(data.target_range)}"),
    ):
        places = np.flatnonzero(is_wrong)
        if len(places):
            first = cells.iloc[places[:1]]
            raise ContractError(
                f"row {first.index[0] + 1}, {name}: holds {str(first.iloc[0])[:40]!r} "
                f"({len(places)} rows hold such), and {rule}; {remedy}"
            )
    if amounts.nunique() < 2:
        raise ContractError(f"{name}: is {amounts.iloc[0]:g} in every row; nothing can be learnt")
    return amounts


def check_settings(data: Data) -> None:
    """Raises ConfigError for settings that are for classes alone."""
    for key, value in (("positive", data.positive), ("labels", data.labels)):
        if value not in (None, {}):
            raise ConfigError(
                f"data.{key} is set, and data.task is regression ({data.target} holds amounts): "
                "leave it out, or set data.task to classification"
            )


def check_rows(rows: int) -> None:
    """Raises ContractError for too few training rows to say how far off amounts may be."""
    if rows < FEWEST_ROWS:
        raise ContractError(
            f"the training part has {rows} rows, and {FEWEST_ROWS} are needed for intervals around "
            "amounts; add rows, or lower split.test_size"
        )


def _are_classes_said(data: Data) -> bool:
    return data.positive is not None or bool(data.labels) or data.target_kind == "text"


def _amount_reason(cells: "pd.Series[Any]", rows_per_class: int) -> str:
    """Why the cells are amounts; empty if they are classes."""
    if pd.api.types.is_bool_dtype(cells):
        return ""
    numbers = pd.to_numeric(cells, errors="coerce")
    if numbers.isna().any():
        return ""
    if (numbers % 1 != 0).any():
        return f"holds fractions such as {numbers[numbers % 1 != 0].iloc[0]:.10g}"
    counts = numbers.value_counts()
    are_many = len(counts) > MOST_CLASSES and counts.min() < rows_per_class
    return f"holds {len(counts)} different numbers" if are_many else ""
