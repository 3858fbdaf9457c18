"""Fetches the bytes of a source and reads them as a table, strictly."""

import asyncio
import hashlib
import io
import re
from pathlib import Path
from urllib.parse import unquote

import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from pipeline.config.load import locate, looked_for
from pipeline.config.sections import Data
from pipeline.datasets import labels
from pipeline.datasets.ragged import read_csv
from pipeline.errors import SourceError


def is_url(source: str) -> bool:
    """Whether the source is fetched over HTTP."""
    return source.lower().startswith(("http://", "https://"))


def stem(source: str) -> str:
    """The source's name without folder and ending: the name of the data set."""
    path = unquote(re.split("[?#]", source)[0]) if is_url(source) else source
    return Path(path).stem or "table"


def fetch(data: Data) -> bytes:
    """The source's bytes, their sha256 checked if the config names one. Raises SourceError."""
    content = _download(data) if is_url(data.source) else _read_file(data.source)
    found = hashlib.sha256(content).hexdigest()
    if data.sha256 not in (None, found):
        raise SourceError(
            f"data.source {data.source!r} has the sha256 {found}, but data.sha256 is "
            f"{data.sha256}: it is not the file that the config was written for. "
            "Get the right file, or set data.sha256 to the new value if you trust it."
        )
    return content


def read_table(content: bytes, source: str, target: str | None = None) -> pd.DataFrame:
    """The table in the bytes of a CSV or Parquet file. Raises SourceError.

    The cells of `target` are classes: `NA` or `null` is one, and no mark of a missing value.
    """
    if not content.strip():
        raise SourceError(f"data.source {source!r} is empty; it must be a CSV or Parquet file")
    if content.startswith(b"PAR1") or source.lower().endswith((".parquet", ".pq")):
        return _read_parquet(content, source)
    if re.match(rb"\s*(<!doctype|<html|<\?xml|<head)", content[:200], re.IGNORECASE):
        raise SourceError(
            f"data.source {source!r} is an HTML page, not a table; "
            "name the address of the file itself (often behind a 'raw' or 'download' link)"
        )
    return _read_csv(content, source, target)


def _read_file(source: str) -> bytes:
    try:
        return locate(source).read_bytes()
    except FileNotFoundError:
        raise SourceError(
            f"data.source {source!r} does not exist in {Path.cwd()}; "
            f"give the path of a CSV or Parquet file, or an http(s) URL{looked_for(source)}"
        ) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SourceError(f"data.source {source!r} cannot be read: {reason}") from None


def _download(data: Data) -> bytes:
    import aiohttp  # takes 0.3 s, and most sources are files

    async def get() -> bytes:
        deadline = aiohttp.ClientTimeout(total=data.timeout)
        async with (
            aiohttp.ClientSession(timeout=deadline, trust_env=True) as session,
            session.get(data.source, raise_for_status=True) as response,
        ):
            return await response.read()

    try:
        return asyncio.run(get())
    except aiohttp.TooManyRedirects:
        reason = "was redirected without end"
    except aiohttp.ClientResponseError as error:
        reason = f"was answered with HTTP {error.status} {error.message}"
    except TimeoutError:
        reason = f"took longer than data.timeout, {data.timeout:g} seconds"
    except (aiohttp.ClientError, ValueError) as error:
        reason = f"failed: {error}"
    raise SourceError(f"the download of data.source {data.source!r} {reason}; check the address")


def _read_parquet(content: bytes, source: str) -> pd.DataFrame:
    try:
        table = pa.parquet.read_table(io.BytesIO(content))
        return pd.DataFrame(table.to_pandas(ignore_metadata=True))
    except (pa.ArrowException, OSError) as error:
        raise SourceError(f"data.source {source!r} is not a whole Parquet file: {error}") from None


def _read_csv(content: bytes, source: str, target: str | None) -> pd.DataFrame:
    """Every row must have as many cells as the header, which pandas would not insist on."""
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        raise SourceError(
            f"data.source {source!r} is not in UTF-8; save the file as UTF-8"
        ) from None
    try:
        convert = pa.csv.ConvertOptions(strings_can_be_null=True)
        table, ragged = read_csv(content, convert)
    except pa.ArrowException as error:
        raise SourceError(
            f"data.source {source!r} is not a CSV file with commas: {error}"
        ) from None
    if ragged:
        first = ragged[0]
        line = f"line {first.number}" if first.number else "a line"
        raise SourceError(
            f"data.source {source!r} is ragged: {line} has {first.actual_columns} cells where the "
            f"header has {first.expected_columns}, and {len(ragged) - 1} more lines do not fit. "
            "Every row must have one cell per column; is the file whole?"
        )
    if target is not None and table.column_names.count(target) == 1:
        place = table.column_names.index(target)
        table = table.set_column(place, target, _read_target(content, target))
    return pd.DataFrame(table.to_pandas())


def _read_target(content: bytes, target: str) -> pa.ChunkedArray:
    """The cells of one column, missing where there is nothing, not even quotes."""
    convert = pa.csv.ConvertOptions(
        include_columns=[target],
        column_types={target: pa.string()},
        null_values=[""],
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
    )
    return labels.typed(read_csv(content, convert)[0][target])
