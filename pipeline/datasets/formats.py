"""What a file may hold: one row for each format, recognized by the first bytes."""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import nan
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet

from pipeline.datasets import compression, csv_reader, excel, json_lines, labels
from pipeline.errors import SourceError

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.config.sections import Data

log = logging.getLogger(__name__)

HTML = re.compile(rb"\s*(<!doctype|<html|<\?xml|<head)", re.IGNORECASE)
JSON = re.compile(rb'\s*(\{\s*["}]|\[\s*[\[{])')
JSON_LINES = re.compile(rb'\s*\{[ \t]*["}]')  # a document is often broken after its brace
PARQUET = re.compile(rb"PAR1(?![,;\t|\r\n\"])")  # not a CSV file whose first column is PAR1
INDEX = re.compile(r"__index_level_\d+__")  # how pandas writes an index without a name
HEAD_BYTES = 512
EXPECTED = "a CSV, Parquet, Feather, Excel or JSON lines file"
OTHERS = {  # by the first bytes, what a file is that holds no table, and the remedy
    b"%PDF-": "a PDF; a table must be copied out of it into CSV",
    b"\xd0\xcf\x11\xe0": "an old Excel file (.xls), or one with a password; "
    "save it as .xlsx or CSV",
    b"SQLite format 3\0": "an SQLite database; write sqlite:/// before its path, "
    "and data.query for the table in it",
    b"\x89HDF": "an HDF5 file; write the table in it to Parquet",
    b"\x93NUMPY": "an array of NumPy, which has no column names; write it to Parquet with names",
    b"RDX3\n": "a file of R; write the table to CSV, or to Parquet with arrow::write_parquet",
    b"\x28\xb5\x2f\xfd": "compressed with zstd; unpack it (zstd -d), or take gzip",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive; unpack it and name the file",
    b"Rar!": "a RAR archive; unpack it and name the file",
    b"\x89PNG": "a picture",
    b"\xff\xd8\xff": "a picture",
    b"GIF89a": "a picture",
    b"\x80\x04\x95": "a pickle, which is not opened, as it may run code; write it to Parquet",
    b"\x80\x05\x95": "a pickle, which is not opened, as it may run code; write it to Parquet",
    b"$FL2": "a file of SPSS; write the table to CSV or Parquet",
    b"<stata_dta>": "a file of Stata; write the table to CSV or Parquet",
    b"version https://git-lfs": "a pointer of Git LFS, not the file: run `git lfs pull`",
}


class Format(NamedTuple):
    """How a file is recognized and read; `what` names the file in messages."""

    name: str
    is_one: Callable[[bytes, str], bool]  # of the first bytes, and the file's name
    read: Callable[[IO[bytes], Data, str], pa.Table | pd.DataFrame]
    batches: Callable[[IO[bytes], Data, str, int], Iterator[pa.Table]] | None
    seeks: bool  # it reads here and there, so it is unpacked into memory first
    is_typed: bool  # its cells have types, else they are texts


class NamedFile(NamedTuple):
    """A file of this machine, and what it is called in a message: `data.source 'people.csv'`."""

    what: str
    name: str  # in its source, with the ending
    path: Path


def read_tables(files: list[NamedFile], data: Data) -> pd.DataFrame:
    """The rows of all files, which must have the same header.

    Cells of CSV are texts, missing where there is nothing between the separators, not even
    quotes; those of the target are typed as `labels.typed` has it. Raises SourceError.
    """
    import pandas as pd

    tables = [_read(one, data) for one in files]
    _check_headers(files, [list(map(str, table.columns)) for table, _ in tables])
    frames = [table for table, _ in tables]
    frame = frames[0] if len(frames) == 1 else pd.concat(frames, ignore_index=True)
    if list(map(str, frame.columns)).count(data.target) == 1:
        is_typed = any(is_typed for _, is_typed in tables)
        if data.target_kind == "text":
            frame[data.target] = labels.as_texts(frame[data.target])
        elif not is_typed:
            frame[data.target] = typed(frame[data.target])
    return frame


def batches(files: list[NamedFile], data: Data, rows: int) -> Iterator[pa.Table]:
    """The rows of all files, at most `rows` at a time, with no cell typed that is a text."""
    first = None
    for one in files:
        for table in _batches(one, data, rows):
            first = first or (one, table.column_names)
            _check_headers([first[0], one], [first[1], table.column_names])
            for start in range(0, table.num_rows, rows):
                yield table.slice(start, rows)


def _check_headers(files: list[NamedFile], headers: list[list[str]]) -> None:
    for one, header in zip(files[1:], headers[1:], strict=True):
        if header != headers[0]:
            odd = [name for name in header if name not in headers[0]]
            lost = [name for name in headers[0] if name not in header]
            differs = (
                f"has {odd[0]!r}" if odd else f"lacks {lost[0]!r}" if lost else "has another order"
            )
            raise SourceError(
                f"{one.what} {differs}, unlike {files[0].name!r}: all files of data.source must "
                "have the same header; leave the file out of the pattern, or mend its header"
            )


def _read(one: NamedFile, data: Data) -> tuple[pd.DataFrame, bool]:
    with _opened(one, data) as (form, content):
        return as_frame(form.read(content, data, one.what)), form.is_typed


def _batches(one: NamedFile, data: Data, rows: int) -> Iterator[pa.Table]:
    with _opened(one, data) as (form, content):
        if form.batches is None:
            yield as_table(form.read(content, data, one.what))
        else:
            yield from form.batches(content, data, one.what, rows)


@contextmanager
def _opened(one: NamedFile, data: Data) -> Iterator[tuple[Format, IO[bytes]]]:
    """The format of a file, and its content, unpacked."""
    with one.path.open("rb") as file, compression.opened(file, one.what) as content:
        form = _recognize(content, one, data)
        is_unpacked = form.seeks and content is not file
        yield form, io.BytesIO(content.read()) if is_unpacked else content


def _recognize(content: IO[bytes], one: NamedFile, data: Data) -> Format:
    """The format of a file, or SourceError for one that holds no table."""
    head = content.read(HEAD_BYTES)
    content.seek(0)
    if not head.strip():
        is_empty = not any(block.strip() for block in iter(lambda: content.read(2**20), b""))
        content.seek(0)
        if is_empty:
            raise SourceError(f"{one.what} is empty; it must be {EXPECTED}")
    for magic, sentence in OTHERS.items():
        if head.startswith(magic):
            raise SourceError(f"{one.what} is {sentence}")
    if HTML.match(head):
        raise SourceError(
            f"{one.what} is an HTML page, not a table; "
            "name the address of the file itself (often behind a 'raw' or 'download' link)"
        )
    if JSON.match(head) and not JSON_LINES.match(head):
        raise SourceError(f"{one.what} is JSON, one document; {json_lines.REMEDY}")
    form = next(form for form in FORMATS if form.is_one(head, one.name.lower()))
    if data.sheet is not None and form.name != "Excel":
        raise SourceError(f"data.sheet is {data.sheet!r}, but {one.what} is no Excel file")
    return form


def as_table(table: pa.Table | pd.DataFrame) -> pa.Table:
    """As Arrow's, without pandas' index."""
    if isinstance(table, pa.Table):
        return table
    return pa.Table.from_pandas(table.rename(columns=str), preserve_index=False)


def typed(cells: pd.Series[Any]) -> pd.Series[Any]:
    """Cells of texts as `labels.typed` has them."""
    texts = pa.Table.from_pandas(cells.to_frame(), preserve_index=False)[0]
    return as_frame(pa.table({"": labels.typed(texts)}))[""].set_axis(cells.index)


def as_frame(table: pa.Table | pd.DataFrame) -> pd.DataFrame:
    """Texts stay Arrow's: as Python objects each would take some 60 bytes more."""
    import pandas as pd

    if isinstance(table, pd.DataFrame):
        return table
    texts = pd.StringDtype("pyarrow", na_value=nan)  # the `str` of pandas 3
    mapper = {pa.large_string(): texts, pa.string(): texts, pa.string_view(): texts}
    frame: pd.DataFrame = table.to_pandas(types_mapper=mapper.get, ignore_metadata=True)
    return frame


def _read_csv(file: IO[bytes], data: Data, what: str) -> pa.Table:
    return csv_reader.read_texts(file, data.csv, what)


def _csv_batches(file: IO[bytes], data: Data, what: str, _: int) -> Iterator[pa.Table]:
    return csv_reader.batches(file, data.csv, what)


def _read_parquet(file: IO[bytes], _: Data, what: str) -> pa.Table:
    try:
        parquet = pa.parquet.ParquetFile(file)
        return parquet.read(columns=_columns(parquet.schema_arrow, what))
    except (pa.ArrowException, OSError) as error:
        raise SourceError(f"{what} is not a whole Parquet file: {error}") from None


def _parquet_batches(file: IO[bytes], _: Data, what: str, rows: int) -> Iterator[pa.Table]:
    try:
        parquet = pa.parquet.ParquetFile(file)
        columns = _columns(parquet.schema_arrow, what)
        for batch in parquet.iter_batches(batch_size=rows, columns=columns):
            yield pa.Table.from_batches([batch])
    except (pa.ArrowException, OSError) as error:
        raise SourceError(f"{what} is not a whole Parquet file: {error}") from None


def _read_feather(file: IO[bytes], _: Data, what: str) -> pa.Table:
    try:
        table = pa.ipc.open_file(file).read_all()
    except (pa.ArrowException, OSError) as error:
        raise SourceError(f"{what} is not a whole Feather file: {error}") from None
    return table.select(_columns(table.schema, what))


def _columns(schema: pa.Schema, what: str) -> list[str]:
    """The names of a file's columns but for pandas' index. Raises SourceError for one twice."""
    twice = sorted({name for name in schema.names if schema.names.count(name) > 1})
    if twice:
        raise SourceError(f"{what} has the column {twice[0]!r} twice; rename one of them")
    names = [name for name in schema.names if not INDEX.fullmatch(name)]
    if len(names) < len(schema.names):
        log.info("%s: pandas' index is left out; it has no name", what)
    return names


def _read_excel(file: IO[bytes], data: Data, what: str) -> pd.DataFrame:
    return excel.read_sheet(file, data.sheet, what)


def _read_json_lines(file: IO[bytes], _: Data, what: str) -> pa.Table:
    return json_lines.read_typed(file, what)


def _json_lines_batches(file: IO[bytes], _: Data, what: str, __: int) -> Iterator[pa.Table]:
    return json_lines.batches(file, what)


def _is_parquet(head: bytes, name: str) -> bool:
    return bool(PARQUET.match(head)) or name.endswith((".parquet", ".pq"))


def _is_feather(head: bytes, name: str) -> bool:
    return head.startswith(b"ARROW1\0\0") or name.endswith((".feather", ".arrow"))


def _is_excel(head: bytes, name: str) -> bool:
    return head.startswith(compression.ZIP) or name.endswith((".xlsx", ".xlsm"))


def _is_json_lines(head: bytes, _: str) -> bool:
    return bool(JSON_LINES.match(head))


def _is_any(*_: Any) -> bool:
    return True


FORMATS = (  # the first that a file is taken for counts
    Format("Parquet", _is_parquet, _read_parquet, _parquet_batches, seeks=True, is_typed=True),
    Format("Feather", _is_feather, _read_feather, None, seeks=True, is_typed=True),
    Format("Excel", _is_excel, _read_excel, None, seeks=True, is_typed=True),
    Format(
        *("JSON lines", _is_json_lines, _read_json_lines, _json_lines_batches),
        seeks=False,
        is_typed=True,
    ),
    Format("CSV", _is_any, _read_csv, _csv_batches, seeks=False, is_typed=False),
)
