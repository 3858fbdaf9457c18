"""Where a table comes from: one row for each scheme of `data.source`."""

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Protocol
from urllib.parse import unquote

import pandas as pd

from pipeline import event_loop
from pipeline.config.paths import locate, looked_for
from pipeline.config.sections import Data
from pipeline.datasets.formats import read_table
from pipeline.errors import SourceError


class Source(Protocol):
    """A table that was opened: its rows, and a digest that changes when they do."""

    def digest(self) -> str:
        """What names the content: for a file the sha256 of its bytes, in hex."""

    def read(self) -> pd.DataFrame:
        """All rows. Raises SourceError."""


@dataclass(frozen=True)
class FileSource:
    """The bytes of a CSV or Parquet file."""

    data: Data
    content: bytes

    def digest(self) -> str:
        """The sha256 of the bytes, in hex."""
        return hashlib.sha256(self.content).hexdigest()

    def read(self) -> pd.DataFrame:
        """The table that the bytes hold. Raises SourceError."""
        data = self.data
        typed = data.target if data.target_kind == "auto" else None
        return read_table(self.content, data.source, typed)


def open_source(data: Data) -> Source:
    """The source that the config names, with the digest that it names. Raises SourceError."""
    source = SOURCES.get(scheme(data.source), _open_file)(data)
    if data.sha256 not in (None, source.digest()):
        raise SourceError(
            f"data.source {data.source!r} has the sha256 {source.digest()}, but data.sha256 is "
            f"{data.sha256}: it is not the file that the config was written for. "
            "Get the right file, or set data.sha256 to the new value if you trust it."
        )
    return source


def scheme(source: str) -> str:
    """The scheme of an address in lower case, `http` of `HTTP://...`; empty for a path."""
    match = re.match(r"([a-z][a-z0-9+.-]*)://", source, re.IGNORECASE)
    return match[1].lower() if match else ""


def stem(source: str) -> str:
    """The source's name without folder and ending: the name of the data set."""
    path = unquote(re.split("[?#]", source)[0]) if scheme(source) in SOURCES else source
    return Path(path).stem or "table"


def _open_file(data: Data) -> FileSource:
    source = data.source
    try:
        return FileSource(data, locate(source).read_bytes())
    except FileNotFoundError:
        raise SourceError(
            f"data.source {source!r} does not exist in {Path.cwd()}; "
            f"give the path of a CSV or Parquet file, or an http(s) URL{looked_for(source)}"
        ) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SourceError(f"data.source {source!r} cannot be read: {reason}") from None


def _download(data: Data) -> FileSource:
    import aiohttp  # takes 0.3 s, and most sources are files

    async def get() -> bytes:
        deadline = aiohttp.ClientTimeout(total=data.timeout)
        async with (
            aiohttp.ClientSession(timeout=deadline, trust_env=True) as session,
            session.get(data.source, raise_for_status=True) as response,
        ):
            return await response.read()

    try:
        return FileSource(data, event_loop.run(get()))
    except aiohttp.TooManyRedirects:
        reason = "was redirected without end"
    except aiohttp.ClientResponseError as error:
        reason = f"was answered with HTTP {error.status} {error.message}"
    except TimeoutError:
        reason = f"took longer than data.timeout, {data.timeout:g} seconds"
    except (aiohttp.ClientError, ValueError) as error:
        reason = f"failed: {error}"
    raise SourceError(f"the download of data.source {data.source!r} {reason}; check the address")


SOURCES: Mapping[str, Callable[[Data], Source]] = MappingProxyType(
    {"": _open_file, "http": _download, "https": _download}
)
