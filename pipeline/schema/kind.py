"""What every kind of column must say of its cells."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from pipeline.schema.columns import Column, Mark
from pipeline.schema.matrix import Vector

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

NULL_AS_TEXT = "None"  # as MLflow writes a null of a text column in its form `inputs`
C = TypeVar("C", bound=Column)
Read = Callable[[Any], Any]  # a cell as a double (or text), NaN for no value; raises ValueError
BrokenRule = tuple[NDArray[np.bool_], str, str]  # rows, sentence, kind of the rule


class Kind(ABC, Generic[C]):
    """How the cells of a kind of column become doubles, which are valid, and how that is said.

    `plain_types` are those of JSON cells that `float` reads as `reader` does, None aside: a
    matrix of them needs no look at each cell.
    """

    arrow_types: ClassVar[str]
    plain_types: ClassVar[frozenset[type]] = frozenset()
    is_whole: ClassVar[bool] = False
    is_text: ClassVar[bool] = False  # whether cells stay as they are, and are no doubles

    @abstractmethod
    def noun(self, column: C) -> str:
        """What a cell must be: the end of the sentence "must be ..."."""

    @abstractmethod
    def reader(self, column: C) -> Read:
        """Reads a value of Python or of JSON."""

    @abstractmethod
    def text_reader(self, column: C) -> Read:
        """Reads a text of a CSV request, None for a missing cell."""

    @abstractmethod
    def cell(self, column: C, code: Any) -> Any:
        """The value of JSON that is read as the double; `reader` undoes it."""

    @abstractmethod
    def bounds(self, column: C) -> tuple[float, float]:
        """The smallest and the largest valid double."""

    @abstractmethod
    def json_schema(self, column: C) -> dict[str, Any]:
        """The schema of a cell in JSON Schema's words (OpenAPI 3.1)."""

    @abstractmethod
    def mlflow_type(self, column: C) -> str:
        """The type in MLflow's signature: one with which nulls and every valid cell pass."""

    @abstractmethod
    def valid(self, column: C) -> str:
        """Which values are valid, for people."""

    @abstractmethod
    def is_arrow_type(self, kind: pa.DataType) -> bool:
        """Whether an Arrow column of the type may hold such cells."""

    @abstractmethod
    def invalid_cells(self, column: C) -> Iterator[Any]:
        """Values that the column does not take, whatever their range."""

    def read_series(self, column: C, cells: pd.Series[Any]) -> Vector | None:
        """A column of pandas as doubles; None where each cell must be looked at."""
        return None

    def read_texts(self, column: C, cells: pa.ChunkedArray) -> Vector | None:
        """A column of Arrow's texts as doubles; None where one of them is not valid."""
        vector, invalid = self._each_value(self.text_reader(column), cells)
        return None if len(invalid) else vector

    def read_arrow(self, column: C, cells: pa.ChunkedArray) -> tuple[Vector, NDArray[np.intp]]:
        """A column of a type of Arrow as doubles, and the places of the cells that are invalid."""
        return self._each_value(self.reader(column), cells)

    def number_marks(self, column: C) -> tuple[float, ...]:
        """The doubles that stand for a missing value."""
        return ()

    def broken_rules(self, column: C, numbers: Vector) -> Iterator[BrokenRule]:
        """For each rule, the rows that break it, its sentence and its kind (finite or range)."""
        return iter(())

    def out_of_range(self, column: C) -> Iterator[Any]:
        """Cells of the kind next to the valid ones, which are refused."""
        return iter(())

    def written(self, column: C, code: Any) -> str:
        """A double as people write the value."""
        return str(self.cell(column, code))

    def reference(self, column: C, values: Vector) -> float:
        """A usual value among some: the one in the middle."""
        return float(np.nanquantile(values, 0.5, method="lower"))

    def holds(self, column: C) -> str:
        """What the column holds, for people."""
        return column.meaning or self.noun(column)

    def most_bytes(self, column: C) -> int:
        """The bytes that a cell of Parquet takes when unpacked, at most: a number 8 or 16."""
        return 64

    def empty(self, rows: int) -> Vector:
        """A vector of missing values."""
        return np.full(rows, np.nan, dtype=object if self.is_text else np.float64)

    def _each_value(self, read: Read, cells: pa.ChunkedArray) -> tuple[Vector, NDArray[np.intp]]:
        """Each different value read once; NaN in place of invalid ones, with their places."""
        encoded = _dictionary_encoded(cells)
        values = encoded.dictionary.to_pylist()
        vector, is_valid = self.empty(len(values) + 1), np.ones(len(values) + 1, dtype=bool)
        for place, value in enumerate(values):
            try:
                vector[place] = read(value)
            except ValueError:
                is_valid[place] = False
        places = encoded.indices.fill_null(len(values)).to_numpy(zero_copy_only=False)
        return vector[places], np.flatnonzero(~is_valid[places])


def read_missing(read: Read, marks: tuple[Mark, ...]) -> Read:
    """The reader that takes None and the marks as missing."""

    def read_or_missing(cell: Any) -> Any:
        if cell is None or (type(cell) is not bool and cell in marks):
            return float("nan")
        return read(cell)

    return read_or_missing


def is_text_type(kind: pa.DataType) -> bool:
    """Whether an Arrow column of the type holds texts, or nothing but nulls."""
    import pyarrow as pa

    types = pa.types
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_null(kind))


def _dictionary_encoded(cells: pa.ChunkedArray) -> pa.DictionaryArray:
    import pyarrow as pa

    encoded = cells.combine_chunks()
    if not pa.types.is_dictionary(encoded.type):
        encoded = encoded.dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):  # of no rows, or of more than one chunk can hold
        encoded = (
            pa.concat_arrays(encoded.chunks)
            if encoded.num_chunks
            else pa.array([]).dictionary_encode()
        )
    return encoded
