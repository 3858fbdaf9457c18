"""What a column may hold: one row for each kind of column.

Whatever reads, checks or describes a cell takes it from here. A new kind is a class beside
`schema.columns.Column`, a row of this table and, under the same key, of those that training
needs: `datasets.kinds.TABLE_KINDS`, `models.encoders.ROLES` and, if its cells are doubles,
`export.random_rows.RANDOM_CELLS`.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from pipeline.schema.coded import Boolean, Category, Ordinal
from pipeline.schema.columns import Column
from pipeline.schema.date import Date
from pipeline.schema.kind import Kind
from pipeline.schema.number import Integer, Number
from pipeline.schema.text import Text

KINDS: Mapping[str, Kind[Any]] = MappingProxyType(
    {
        "number": Number(),
        "integer": Integer(),
        "boolean": Boolean(),
        "category": Category(),
        "ordinal": Ordinal(),
        "date": Date(),
        "text": Text(),
    }
)


def kind_of(column: Column) -> Kind[Any]:
    """The kind of a column."""
    return KINDS[column.kind]


def text_columns(columns: Mapping[str, Column]) -> list[str]:
    """The columns whose cells stay texts."""
    return [name for name, column in columns.items() if kind_of(column).is_text]
