"""Content codings (RFC 9110): bodies that came as gzip, and answers that go as gzip."""

import gzip
import io
import re
import zlib
from functools import lru_cache
from typing import NamedTuple

from pipeline.server.http_error import HTTPError

GZIP = frozenset({b"gzip", b"x-gzip"})
LEAST_BYTES = 4096  # of an answer that is packed: smaller ones go in one round trip anyway
LEVEL = 1  # the quickest: it makes a quarter of an answer, the others little less
REFUSED = re.compile(rb"q\s*=\s*0(\.0*)?")


class Codings(NamedTuple):
    """How a request came, and how its answer may go.

    `most_bytes` is what a gzip body may unpack to, None for a body that came as it is.
    """

    most_bytes: int | None = None
    packs_answer: bool = False


PLAIN = Codings()


@lru_cache(128)
def codings(content_encoding: bytes | None, accept_encoding: bytes | None, limit: int) -> Codings:
    """Reads both headers. Raises HTTPError (415) for a body in another coding than gzip."""
    if content_encoding is not None and content_encoding.strip().lower() not in GZIP:
        message = "the header Content-Encoding names another coding than gzip; send gzip or none"
        raise HTTPError(415, "content_encoding", message, {"accept-encoding": "gzip"})
    return Codings(None if content_encoding is None else limit, _takes_gzip(accept_encoding or b""))


def _takes_gzip(accept_encoding: bytes) -> bool:
    for choice in accept_encoding.lower().split(b","):
        name, *options = (part.strip() for part in choice.split(b";"))
        if name in GZIP:
            return not any(map(REFUSED.fullmatch, options))
    return False


def unpack(body: bytes, most_bytes: int) -> bytes | None:
    """Unpacks gzip, of one part or more; None where it grows beyond so many bytes.

    Raises HTTPError (400) for what is no gzip, or not the whole of it.
    """
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(body)) as file:
            unpacked = file.read(most_bytes + 1)
    except (OSError, EOFError, zlib.error):
        message = "the body is not the whole of a gzip file, as its Content-Encoding says"
        raise HTTPError(400, "content_encoding", message) from None
    return unpacked if len(unpacked) <= most_bytes else None


def pack(body: bytes) -> bytes:
    """Packs an answer."""
    return gzip.compress(body, LEVEL, mtime=0)
