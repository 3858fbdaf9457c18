"""Files that are compressed, recognized by their first bytes whatever they are called."""

import bz2
import gzip
import lzma
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import IO, cast

from pipeline.errors import SourceError

ZIP = b"PK\x03\x04"
WORKBOOK = "xl/workbook.xml"  # a zip archive with it is an Excel file
OPEN_DOCUMENT = "content.xml"
ENDINGS = (".gz", ".bz2", ".xz", ".zip")
FAULTS = (EOFError, OSError, zlib.error, lzma.LZMAError, zipfile.BadZipFile)


def _gzip(file: IO[bytes], _: str) -> IO[bytes]:
    return cast("IO[bytes]", gzip.open(file))


def _bz2(file: IO[bytes], _: str) -> IO[bytes]:
    return bz2.open(file)


def _xz(file: IO[bytes], _: str) -> IO[bytes]:
    return lzma.open(file)


def _member(file: IO[bytes], what: str) -> IO[bytes]:
    """The one file in a zip archive. Raises SourceError for more."""
    archive = zipfile.ZipFile(file)
    members = [member for member in archive.infolist() if _is_data(member)]
    if len(members) != 1:
        names = ", ".join(repr(member.filename) for member in members[:5]) or "none"
        raise SourceError(
            f"{what} is a zip archive of {len(members)} files ({names}); it must hold one: "
            "unpack it, and name the file, a folder or a pattern such as data/*.csv"
        )
    if members[0].flag_bits & 1:
        raise SourceError(f"{what} is a zip archive with a password; unpack it, and name the file")
    return archive.open(members[0])


def _is_data(member: zipfile.ZipInfo) -> bool:
    """Neither a folder nor what macOS adds."""
    return not (member.is_dir() or member.filename.startswith("__MACOSX/"))


OPENERS: Mapping[bytes, Callable[[IO[bytes], str], IO[bytes]]] = MappingProxyType(
    {rb"\x1f\x8b": _gzip, rb"BZh[1-9][1\x17]": _bz2, rb"\xfd7zXZ\0": _xz, ZIP: _member}
)  # by a pattern of the first bytes


@contextmanager
def opened(file: IO[bytes], what: str) -> Iterator[IO[bytes]]:
    """The file, or what is compressed in it, from its beginning; an Excel file as it is.

    Raises SourceError, here and where a reader meets the broken place.
    """
    file.seek(0)
    head = file.read(8)
    file.seek(0)
    opener = next((one for magic, one in OPENERS.items() if re.match(magic, head)), None)
    if opener is None or (opener is _member and _is_office_file(file)):
        file.seek(0)
        yield file
        return
    try:
        with opener(file, what) as inner:
            yield inner
    except FAULTS as error:
        raise SourceError(f"{what} is compressed and broken: {error}; get the file anew") from None


def _is_office_file(file: IO[bytes]) -> bool:
    try:
        names = zipfile.ZipFile(file).namelist()
    except zipfile.BadZipFile:
        return False
    return WORKBOOK in names or OPEN_DOCUMENT in names
