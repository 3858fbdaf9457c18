"""Tables as the bytes of files, and the sources that hold them."""

import io
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pandas as pd

from pipeline.config.sections import Data
from pipeline.datasets.formats import NamedFile
from pipeline.datasets.sources import FileSource
from pipeline.schema.columns import NumberColumn


def make_data(source: Any = "folder/a.csv", target: str = "b", **settings: Any) -> Data:
    return Data(source=str(source), target=target, columns={"x": NumberColumn()}, **settings)


def source_of(data: Data, content: bytes) -> FileSource:
    """A file that is called as `data.source` says and holds the bytes."""
    folder = Path(mkdtemp())
    (folder / "table").write_bytes(content)
    one = NamedFile(f"data.source {data.source!r}", data.source, folder / "table")
    return FileSource(data, [one], folder)


def read(content: bytes, source: str = "folder/a.csv", **settings: Any) -> pd.DataFrame:
    """The table in the bytes; the target, `b`, is left as text."""
    return source_of(make_data(source, **{"target_kind": "text", **settings}), content).read()


def as_parquet(table: pd.DataFrame, **options: Any) -> bytes:
    buffer = io.BytesIO()
    table.to_parquet(buffer, **options)
    return buffer.getvalue()
