"""Where a table comes from: one row for each scheme of `data.source`."""

import hashlib
import re
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from glob import glob, has_magic
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol
from urllib.parse import unquote, urlsplit

import pandas as pd
import pyarrow as pa

from pipeline.config.paths import folders, locate, looked_for
from pipeline.config.sections import Data
from pipeline.datasets import compression, formats
from pipeline.datasets.database import read_query
from pipeline.datasets.download import download
from pipeline.datasets.formats import NamedFile
from pipeline.errors import SourceError, closest

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

CHUNK = 2**20  # bytes that are copied at a time
CLOUD_INSTALL = "pip install fsspec"


class Source(Protocol):
    """A table that was opened: its rows, and a digest that changes when they do."""

    def digest(self) -> str:
        """What names the content: for a file the sha256 of its bytes, in hex."""

    def read(self) -> pd.DataFrame:
        """All rows. Raises SourceError."""

    def batches(self, rows: int) -> Iterator[pa.Table]:
        """All rows in their order, at most so many at a time. Raises SourceError."""


class FileSource:
    """One file or more that hold a table."""

    def __init__(
        self, data: Data, files: Sequence[NamedFile], temporary: Path | None = None
    ) -> None:
        """The folder `temporary` is removed when the source is no longer used."""
        if temporary is not None:
            weakref.finalize(self, rmtree, temporary, ignore_errors=True)
        self._data = data
        self._files = list(files)
        self._stamps = [_stamp(one) for one in files]
        digests = [_sha256(one) for one in files]
        joined = hashlib.sha256("\n".join(digests).encode()).hexdigest()
        self._digest = digests[0] if len(digests) == 1 else joined

    def digest(self) -> str:
        """The sha256 of the bytes, in hex; of several files that of their digests, by name."""
        return self._digest

    def read(self) -> pd.DataFrame:
        """The table that the files hold. Raises SourceError."""
        frame = formats.read_tables(self._files, self._data)
        self._check_unchanged()
        return frame

    def batches(self, rows: int) -> Iterator[pa.Table]:
        """All rows in their order, at most so many at a time. Raises SourceError."""
        yield from formats.batches(self._files, self._data, rows)
        self._check_unchanged()

    def _check_unchanged(self) -> None:
        for one, stamp in zip(self._files, self._stamps, strict=True):
            if _stamp(one) != stamp:
                raise SourceError(f"{one.what} changed while it was read; run again")


def _stamp(one: NamedFile) -> tuple[int, int, int]:
    """What changes when a file is written to, or another takes its place."""
    status = one.path.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns


def _sha256(one: NamedFile) -> str:
    with one.path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def open_source(data: Data) -> Source:
    """The source that the config names, with the digest that it names. Raises SourceError."""
    if data.query is not None and scheme(data.source) not in DATABASES:
        raise SourceError(
            f"data.query is {data.query!r}, but data.source {data.source!r} is no database; "
            "take data.query out, or name one (sqlite:///path, postgresql://...)"
        )
    source = SOURCES.get(scheme(data.source), _unknown)(data)
    if data.sha256 not in (None, source.digest()):
        raise SourceError(
            f"data.source {data.source!r} has the sha256 {source.digest()}, but data.sha256 is "
            f"{data.sha256}: it is not the file that the config was written for. "
            "Get the right file, or set data.sha256 to the new value if you trust it."
        )
    return source


def scheme(source: str) -> str:
    """The scheme of an address in lower case, `http` of `HTTP://...`; empty for a path.

    Without the driver of a database: `postgresql` of `postgresql+psycopg://...`.
    """
    match = re.match(r"([a-z][a-z0-9.-]*)(\+[a-z0-9_+.-]*)?://", source, re.IGNORECASE)
    return match[1].lower() if match else ""


def stem(source: str) -> str:
    """The source's name without folder, ending and wildcards: the name of the data set.

    Of a pattern without a name, such as `visits/*.csv`, the folder's.
    """
    path = unquote(re.split("[?#]", source)[0]) if scheme(source) in SOURCES else source
    name = Path(path)
    if name.suffix in compression.ENDINGS and len(name.suffixes) > 1:
        name = name.with_suffix("")
    return re.sub(r"[*?\[\]]", "", name.stem).strip("-_. ") or name.parent.name or "table"


def _open_files(data: Data) -> FileSource:
    """A path, a folder of files, or a pattern such as `data/2024-*.csv`."""
    source = data.source
    try:
        path = locate(source)
        if path.is_dir():
            paths = [one for one in sorted(path.iterdir()) if _is_visible_file(one)]
        elif not path.exists() and has_magic(source):
            paths = _matching(source)
        else:
            paths = [path]
        if path.is_dir() and not paths:
            raise SourceError(
                f"data.source {source!r} matches no file: it is a folder, and files whose names "
                "begin with a dot do not count, such as a log's while a server writes it"
            )
        if not paths:
            raise SourceError(f"data.source {source!r} matches no file{looked_for(source)}")
        return FileSource(data, [_named(one, source, len(paths)) for one in paths])
    except FileNotFoundError:
        raise SourceError(f"data.source {source!r} does not exist{_remedy(source)}") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SourceError(f"data.source {source!r} cannot be read: {reason}") from None


def _matching(pattern: str) -> list[Path]:
    """The files of the first folder in which the pattern has any, by name."""
    for folder in folders():
        names = sorted(glob(pattern, root_dir=folder, recursive=True))
        paths = [folder / name for name in names]
        if files := [path for path in paths if _is_visible_file(path)]:
            return files
    return []


def _is_visible_file(path: Path) -> bool:
    """Not what tools leave beside a table, such as .DS_Store and _SUCCESS."""
    return path.is_file() and not path.name.startswith((".", "_"))


def _named(path: Path, source: str, of: int) -> NamedFile:
    what = f"data.source {source!r}"
    what = what if of == 1 else f"{path.name!r} of {what}"
    return NamedFile(what, path.name, path)


def _open_local(data: Data) -> FileSource:
    """`file:///path`."""
    path = unquote(urlsplit(data.source).path)
    return _open_files(data.model_copy(update={"source": path}))


def _download(data: Data) -> FileSource:
    folder = Path(mkdtemp())
    try:
        with (folder / "table").open("wb") as file:
            download(data, file)
    except BaseException:
        rmtree(folder)
        raise
    name = Path(unquote(urlsplit(data.source).path)).name
    one = NamedFile(f"data.source {data.source!r}", name, folder / "table")
    return FileSource(data, [one], folder)


def _open_remote(data: Data) -> FileSource:
    """Files of a store that fsspec knows, copied to temporary files. Raises SourceError."""
    source = data.source
    try:
        import fsspec
    except ModuleNotFoundError:
        raise SourceError(
            f"data.source {source!r} is read by fsspec: `{CLOUD_INSTALL}` and the package of the "
            "store, such as s3fs or gcsfs"
        ) from None
    try:
        store, path = fsspec.url_to_fs(source)
        paths = sorted(store.glob(path)) if has_magic(path) else [path]
        if store.isdir(path):
            paths = [one for one in sorted(store.find(path, maxdepth=1)) if _is_table(one)]
        if not paths:
            raise SourceError(f"data.source {source!r} matches no file")
        return _copied(store, paths, data)
    except ImportError as error:  # fsspec says which package the store needs
        raise SourceError(f"data.source {source!r} needs a package: {error}") from None
    except FileNotFoundError:
        raise SourceError(f"data.source {source!r} does not exist; check the address") from None
    except SourceError:
        raise
    except Exception as error:  # each store has errors of its own, credentials among them
        raise SourceError(
            f"data.source {source!r} cannot be read: {type(error).__name__}: {error}"
        ) from error


def _is_table(path: str) -> bool:
    return not path.rsplit("/", 1)[-1].startswith((".", "_"))


def _copied(store: "AbstractFileSystem", paths: Sequence[str], data: Data) -> FileSource:
    """The files, copied to this machine. Raises SourceError for too large ones."""
    folder = Path(mkdtemp())
    try:
        files = []
        for place, path in enumerate(paths):
            what = f"data.source {data.source!r}"
            what = what if len(paths) == 1 else f"{path!r} of {what}"
            files.append(NamedFile(what, path, folder / str(place)))
            _copy(store, files[-1], data)
    except BaseException:
        rmtree(folder)
        raise
    return FileSource(data, files, folder)


def _copy(store: "AbstractFileSystem", one: NamedFile, data: Data) -> None:
    with store.open(one.name, "rb") as remote, one.path.open("wb") as local:
        while chunk := remote.read(CHUNK):
            local.write(chunk)
            if local.tell() > data.max_bytes:
                raise SourceError(
                    f"{one.what} is larger than data.max_bytes, {data.max_bytes}; "
                    "raise it if that is right"
                )


def _unknown(data: Data) -> Source:
    raise SourceError(
        f"data.source {data.source!r}: {scheme(data.source)!r} is no scheme of an address that "
        f"can be read; there are {', '.join(name for name in SOURCES if name)}, and paths"
    )


LOCAL = {"": _open_files, "file": _open_local}
HTTP = dict.fromkeys(("http", "https"), _download)
REMOTE = dict.fromkeys(
    (
        *("s3", "gs", "gcs", "az", "abfs", "abfss", "oci", "hdfs"),
        *("sftp", "ftp", "smb", "memory"),
    ),
    _open_remote,
)
DATABASES = dict.fromkeys(
    (
        *("sqlite", "postgresql", "mysql", "mariadb", "mssql", "oracle", "duckdb"),
        *("snowflake", "bigquery", "redshift", "trino", "databricks"),
    ),
    read_query,
)
SOURCES: Mapping[str, Callable[[Data], Source]] = MappingProxyType(
    {**LOCAL, **HTTP, **REMOTE, **DATABASES}
)


def _remedy(source: str) -> str:
    """Where a file is missing, and the one whose name is most like it, or what may be named."""
    path = Path(source)
    where = "" if path.is_absolute() else f" in {Path.cwd()}"
    beside = [one.name for one in path.parent.iterdir()] if path.parent.is_dir() else []
    if name := closest(path.name, beside):
        return f"{where}, did you mean {str(path.with_name(name))!r}?"
    expected = f"{formats.EXPECTED}, or an address such as https://..."
    return f"{where}; give the path of {expected}{looked_for(source)}"
