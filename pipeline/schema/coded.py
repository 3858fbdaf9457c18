"""Cells that are one of a few values: truths, categories and ordered levels, read as codes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from math import isnan, nan
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from pipeline.schema import json_schema
from pipeline.schema.columns import BooleanColumn, CategoryColumn, Column, Level, OrdinalColumn
from pipeline.schema.kind import NULL_AS_TEXT, Kind, Read, is_text_type
from pipeline.schema.matrix import Vector

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

C = TypeVar("C", bound=Column)
OTHER = -1.0  # the code of a category that is no level
MOST_NAMED = 20  # levels in a sentence
OTHER_NAME = "(other)"


class Coded(Kind[C]):
    """One of a few values. Its code is its place among them."""

    arrow_types = "texts"

    @abstractmethod
    def values(self, column: C) -> tuple[Any, ...]:
        """The valid values; the code of each is its place."""

    def noun(self, column: C) -> str:
        """One of the values, as many as a sentence holds."""
        values = self.values(column)
        named = ", ".join(map(str, values[:MOST_NAMED]))
        more = f" or {len(values) - MOST_NAMED} more" if len(values) > MOST_NAMED else ""
        return f"one of {named}{more}"

    def reader(self, column: C) -> Read:
        """By a look into a dictionary, where True is not 1."""
        codes, is_other = self._codes(column), self._others(column)

        def read(cell: Any) -> float:
            try:
                code = codes.get((type(cell) is bool or type(cell) is np.bool_, cell))
            except TypeError:  # a list has no hash
                code = None
            if code is not None:
                return code
            if is_other is not None and is_other(cell):
                return OTHER
            raise ValueError("the value is none of the valid ones")

        return read

    def text_reader(self, column: C) -> Read:
        """The values as they are written."""
        return self.reader(column)

    def cell(self, column: C, code: float) -> Any:
        """The value in the place; for one that is no level another, `(other)` among texts."""
        if isnan(code):
            return None
        if code != OTHER:
            return self.values(column)[int(code)]
        return max(self.values(column)) + 1 if self._are_integers(column) else OTHER_NAME

    def read_series(self, column: C, cells: pd.Series[Any]) -> Vector | None:
        """Each different value is read once; None where a value may hide behind an equal one."""
        import pandas as pd

        if cells.dtype == object:  # in which 1 and True are one value
            return None
        places, values = pd.factorize(cells)
        read = self.reader(column)
        try:
            codes = [read(value) for value in values.tolist()]
        except ValueError:
            return None
        vector: Vector = np.array([*codes, nan])[places]  # -1, the last, is a missing one
        return vector

    def bounds(self, column: C) -> tuple[float, float]:
        """Whatever was read is valid."""
        return OTHER, float(len(self.values(column)) - 1)

    def json_schema(self, column: C) -> dict[str, Any]:
        """The values, where no other is welcome."""
        values = list(self.values(column))
        if self._others(column) is None:
            return json_schema.cell(json_schema.enums(values), column.marks, column.meaning)
        types = sorted(set(map(json_schema.type_of, values)) or {"string"})
        schema = json_schema.cell([{"type": each} for each in types], column.marks, column.meaning)
        return {**schema, "examples": values[:MOST_NAMED]}

    def mlflow_type(self, column: C) -> str:
        """A text: `boolean` would make false of null, and pandas' categories are refused."""
        return "double" if self._are_integers(column) else "string"

    def valid(self, column: C) -> str:
        """The values."""
        return self.noun(column).removeprefix("one of ")

    def is_arrow_type(self, kind: pa.DataType) -> bool:
        """Texts and integers, as they are or behind a dictionary, or nothing but nulls."""
        import pyarrow as pa

        types = pa.types
        if types.is_dictionary(kind):
            kind = kind.value_type
        return is_text_type(kind) or bool(types.is_integer(kind))

    def invalid_cells(self, column: C) -> Iterator[Any]:
        """A truth value, and a list."""
        yield from (True, ["a"])

    def out_of_range(self, column: C) -> Iterator[Any]:
        """A text that is no value, where it is refused."""
        if self._others(column) is None:
            yield "none of the valid values"

    def reference(self, column: C, values: Vector) -> float:
        """The most frequent, as there is no middle."""
        codes, counts = np.unique(values[~np.isnan(values)], return_counts=True)
        return float(codes[counts.argmax()])

    def _codes(self, column: C) -> Mapping[tuple[bool, Any], float]:
        """By whether it is a truth, and the value; an integer may be written as a text too."""
        values = self.values(column)
        codes = {(type(value) is bool, value): float(place) for place, value in enumerate(values)}
        for place, value in enumerate(values):
            if type(value) is not bool:
                codes.setdefault((False, _other_writing(value)), float(place))
        codes.update({(False, mark): nan for mark in column.marks})
        codes[False, None] = nan
        codes.setdefault((False, NULL_AS_TEXT), nan)
        return codes

    def _others(self, column: C) -> Callable[[Any], bool] | None:
        """Which values are taken for others than the levels; None where all are refused."""
        return None

    def _are_integers(self, column: C) -> bool:
        values = self.values(column)
        return bool(values) and all(type(value) is int for value in values)


def _other_writing(value: Level) -> Any:
    """The text of an integer, and the integer that a text writes plainly, else the text itself."""
    if isinstance(value, int):
        return str(value)
    is_plain = value.removeprefix("-").isascii() and value.removeprefix("-").isdigit()
    return int(value) if is_plain and str(int(value)) == value else value


class Boolean(Coded[BooleanColumn]):
    """True and false, read as 1 and 0."""

    arrow_types = "booleans"

    def values(self, column: BooleanColumn) -> tuple[bool, ...]:
        """False is 0."""
        return (False, True)

    def noun(self, column: BooleanColumn) -> str:
        """As JSON writes them."""
        return "true or false"

    def reader(self, column: BooleanColumn) -> Read:
        """Truths of Python and NumPy, and the texts of CSV, which MLflow hands on as they are."""
        read, codes = super().reader(column), {"true": 1.0, "false": 0.0}

        def read_truth(cell: Any) -> float:
            return codes[cell.lower()] if _is_truth(cell) else read(cell)

        return read_truth

    def written(self, column: BooleanColumn, code: float) -> str:
        """As JSON writes it."""
        return str(self.cell(column, code)).lower()

    def json_schema(self, column: BooleanColumn) -> dict[str, Any]:
        """Without a list of the two."""
        return json_schema.cell({"type": "boolean"}, column.marks, column.meaning)

    def is_arrow_type(self, kind: pa.DataType) -> bool:
        """Booleans, or nothing but nulls."""
        import pyarrow as pa

        return bool(pa.types.is_boolean(kind) or pa.types.is_null(kind))

    def invalid_cells(self, column: BooleanColumn) -> Iterator[Any]:
        """A number, and a text."""
        yield from (2, "a text")

    def out_of_range(self, column: BooleanColumn) -> Iterator[Any]:
        """There is no third."""
        return iter(())


def _is_text(cell: Any) -> bool:
    return isinstance(cell, str)


def _is_whole(cell: Any) -> bool:
    is_number = isinstance(cell, (int, float, np.number)) and not isinstance(cell, bool)
    return is_number and float(cell).is_integer()


def _is_truth(cell: Any) -> bool:
    return isinstance(cell, str) and cell in ("true", "false", "True", "False", "TRUE", "FALSE")


class Category(Coded[CategoryColumn]):
    """Names without an order."""

    def values(self, column: CategoryColumn) -> tuple[Level, ...]:
        """The levels, as they were declared or learnt."""
        return column.levels or ()

    def noun(self, column: CategoryColumn) -> str:
        """Any text, where others than the levels are welcome."""
        if column.unseen == "refuse":
            return super().noun(column)
        return "a whole number" if self._are_integers(column) else "a text"

    def valid(self, column: CategoryColumn) -> str:
        """The levels, and whether others are welcome."""
        named = Coded.noun(self, column).removeprefix("one of ")
        return named if column.unseen == "refuse" else f"{named}; others are taken for a rare one"

    def _others(self, column: CategoryColumn) -> Callable[[Any], bool] | None:
        if column.unseen == "refuse":
            return None
        return _is_whole if self._are_integers(column) else _is_text


class Ordinal(Coded[OrdinalColumn]):
    """Names in an order, from low to high."""

    def values(self, column: OrdinalColumn) -> tuple[Level, ...]:
        """In their order."""
        return column.levels

    reference = Kind.reference

    def valid(self, column: OrdinalColumn) -> str:
        """From low to high."""
        return super().valid(column).replace(", ", " < ")
