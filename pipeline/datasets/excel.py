"""Reads a sheet of an Excel file, by openpyxl."""

from __future__ import annotations

import warnings
import zipfile
from typing import IO, TYPE_CHECKING, Any

from pipeline.datasets.compression import OPEN_DOCUMENT
from pipeline.errors import SourceError

if TYPE_CHECKING:
    import pandas as pd

INSTALL = "pip install openpyxl"


def read_sheet(file: IO[bytes], sheet: str | None, what: str) -> pd.DataFrame:
    """The cells of the named sheet, or of the first, typed as Excel has them; None for none.

    The header is the first row that is not empty. A column with a text in it is one of texts.
    Raises SourceError.
    """
    import pandas as pd

    rows = _rows(file, sheet, what)
    if not rows:
        raise SourceError(f"{what} has an empty sheet; data.sheet names another")
    width = max(place + 1 for row in rows for place, cell in enumerate(row) if cell is not None)
    header, *cells = [(*row, *[None] * width)[:width] for row in rows]
    columns = [_as_texts(column) for column in zip(*cells, strict=True)]
    frame = pd.DataFrame(dict(enumerate(columns)), index=range(len(cells)))
    frame.columns = pd.Index(["" if name is None else str(name) for name in header])
    return frame


def _as_texts(cells: tuple[Any, ...]) -> tuple[Any, ...]:
    """The cells, all as texts if one is: `NA` among numbers is the matter of the column's kind."""
    if not any(isinstance(cell, str) for cell in cells):
        return cells
    return tuple(None if cell is None else _as_text(cell) for cell in cells)


def _as_text(cell: Any) -> str:
    """As CSV would have it: 1.0 is `1`, true is `true`, and a date is in ISO 8601."""
    if isinstance(cell, bool):
        return str(cell).lower()
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return cell.isoformat() if hasattr(cell, "isoformat") else str(cell)


def _rows(file: IO[bytes], sheet: str | None, what: str) -> list[tuple[Any, ...]]:
    if zipfile.is_zipfile(file) and OPEN_DOCUMENT in zipfile.ZipFile(file).namelist():
        raise SourceError(f"{what} is an OpenDocument spreadsheet; save it as .xlsx or CSV")
    try:
        import openpyxl
    except ModuleNotFoundError:
        raise SourceError(
            f"{what} is an Excel file, which openpyxl reads: `{INSTALL}`, or save it as CSV"
        ) from None
    try:
        with warnings.catch_warnings(action="ignore"):  # of styles and extensions
            book = openpyxl.load_workbook(file, read_only=True, data_only=True)
    except Exception as error:  # whatever a broken archive makes of it
        raise SourceError(f"{what} is not a whole Excel file: {error}") from None
    try:
        if sheet is not None and sheet not in book.sheetnames:
            names = ", ".join(map(repr, book.sheetnames))
            raise SourceError(f"data.sheet is {sheet!r}, but {what} has the sheets {names}")
        cells = book[sheet or book.sheetnames[0]]
        cells.reset_dimensions()  # what the file says of them may be wrong
        return [row for row in cells.iter_rows(values_only=True) if any(c is not None for c in row)]
    finally:
        book.close()
