"""Rows that have no bytes of their own: those of a query, or of a data frame."""

import hashlib
from collections.abc import Iterator

import pandas as pd
import pyarrow as pa

from pipeline.config.sections import Data
from pipeline.datasets import labels
from pipeline.datasets.formats import as_table
from pipeline.errors import SourceError


class TableSource:
    """A table that is in memory; its index does not count."""

    def __init__(self, data: Data, frame: pd.DataFrame) -> None:
        self._data = data
        self._frame = frame
        self._digest = digest_of(frame)

    def digest(self) -> str:
        """The sha256 of the names and of the rows in their order, in hex."""
        return self._digest

    def read(self) -> pd.DataFrame:
        """All rows, as they came when the source was opened."""
        frame = self._frame.reset_index(drop=True)
        target = self._data.target
        if self._data.target_kind == "text" and list(frame.columns).count(target) == 1:
            frame[target] = labels.as_texts(frame[target])
        return frame

    def batches(self, rows: int) -> Iterator[pa.Table]:
        """The rows in their order, at most so many at a time."""
        table = as_table(self._frame)
        for start in range(0, table.num_rows, rows):
            yield table.slice(start, rows)


def digest_of(frame: pd.DataFrame) -> str:
    """The sha256 of the column's names and the cells, row by row, in hex. Raises SourceError."""
    digest = hashlib.sha256("\0".join(map(str, frame.columns)).encode())
    try:
        digest.update(pd.util.hash_pandas_object(frame, index=False).to_numpy().tobytes())
    except TypeError as error:
        raise SourceError(f"the table has cells that are no plain values: {error}") from None
    return digest.hexdigest()
