"""What a column may hold: one row for each kind of column.

Whatever reads, checks or describes a cell takes it from here. A new kind is a row of this table
and, under the same key, of those that training needs: `datasets.kinds.TABLE_KINDS` and
`export.random_rows.RANDOM_CELLS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.schema import number
from pipeline.schema.columns import Column
from pipeline.schema.matrix import Vector

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


@dataclass(frozen=True)
class Kind:
    """How the cells of a kind of column become doubles, which are valid, and how that is said.

    `plain_types` are those of JSON cells that `float` reads as `read_cell` does, None aside: a
    matrix of them needs no look at each cell. `invalid_cells` are values that no column of the
    kind takes.
    """

    noun: str
    read_cell: Callable[[Any], float]
    read_text: Callable[[str | None], float]
    read_series: Callable[[pd.Series[Any]], Vector | None]
    read_texts: Callable[[pa.ChunkedArray], Vector | None]
    read_arrow: Callable[[pa.ChunkedArray], tuple[Vector, NDArray[np.intp]]]
    is_arrow_type: Callable[[pa.DataType], bool]
    arrow_types: str
    plain_types: frozenset[type]
    bounds: Callable[[Column], tuple[float, float, float]]
    broken_rules: Callable[[Column, Vector], Iterator[tuple[NDArray[np.bool_], str, str]]]
    digits: Callable[[float], str]
    json_schema: Callable[[Column], dict[str, Any]]
    json_type: str
    mlflow_type: str
    describe: Callable[[Column], tuple[str, str, str]]
    invalid_cells: tuple[Any, ...]
    out_of_range: Callable[[Column], Iterator[Any]]


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "number": Kind(
            noun="a number",
            read_cell=number.read_cell,
            read_text=number.read_text,
            read_series=number.read_series,
            read_texts=number.read_texts,
            read_arrow=number.read_arrow,
            is_arrow_type=number.is_arrow_type,
            arrow_types="integers or floats",
            plain_types=frozenset({int, float, type(None)}),  # no subclass: True is no number
            bounds=number.bounds,
            broken_rules=number.broken_rules,
            digits=number.digits,
            json_schema=number.json_schema,
            json_type="number",
            mlflow_type="double",  # whatever it held in training: an integer would refuse null
            describe=number.describe,
            invalid_cells=("a text", True),
            out_of_range=number.out_of_range,
        )
    }
)


def kind_of(column: Column) -> Kind:
    """The kind of a column."""
    return KINDS[column.kind]
