"""What RFC 9112 asks of a request's head.

What is ambiguous is refused: a guess about where a body ends, or whom a request is for, lets a
request hide in another behind a proxy that guesses otherwise.
"""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache

from pipeline.server.http_error import HTTPError

Header = tuple[bytes, bytes]
# Headers that a request may have once: of two, each reader could believe another.
SINGLE = (b"host", b"content-length", b"content-type", b"authorization", b"x-api-key")
WITH_BODY = frozenset({b"POST", b"PUT", b"PATCH"})
HOST = re.compile(rb"(\[[\da-fA-F:.]+\]|[\w.~!$&'()*+,;=%-]*)(:\d*)?")  # RFC 3986, section 3.2
ABSOLUTE = re.compile(rb"https?://([^/?#]*)(.*)", re.IGNORECASE)
CACHED_HOSTS = 128


def check(
    method: bytes,
    version: str,
    target: bytes,
    headers: Sequence[Header],
    fields: Mapping[bytes, bytes],
) -> bytes:
    """Returns the target in origin form, `/path?query`, or `*`.

    `headers` are names in lower case and values, `fields` the same as a mapping. Raises HTTPError
    for what is not HTTP/1.0 or 1.1, or is ambiguous; then nothing that follows on the connection
    may be read as a request.
    """
    if len(fields) != len(headers):
        _check_single(headers)
    if version not in {"1.1", "1.0"}:
        raise unsupported_version()
    if method == b"CONNECT":
        raise _not_implemented("method", "CONNECT is not served: this is no proxy")
    host = fields.get(b"host")
    if host is None:
        if version == "1.1":
            raise HTTPError(400, "host", "HTTP/1.1 asks for the header Host; send it")
    elif not _is_host(host):
        raise HTTPError(
            400, "host", "the header Host is not a name or address with an optional port"
        )
    if b"transfer-encoding" in fields:
        _check_codings(version, headers)
    elif method in WITH_BODY and b"content-length" not in fields:
        message = f"{method.decode()} takes a body; send Content-Length or chunks"
        raise HTTPError(411, "content_length", message)
    return target if target[:1] == b"/" and target.isascii() else _origin_form(method, target, host)


def unsupported_version() -> HTTPError:
    """Returns the error of HTTP/2 by prior knowledge, HTTP/0.9, and versions that do not exist."""
    message = "this HTTP version is not spoken here; use HTTP/1.1"
    return HTTPError(505, "http_version", message)


def _not_implemented(rule: str, message: str) -> HTTPError:
    return HTTPError(501, rule, message)


def _check_single(headers: Sequence[Header]) -> None:
    names = [name for name, _ in headers]
    for name in SINGLE:
        if names.count(name) > 1:
            raise HTTPError(400, "repeated_header", f"the header {name.decode()} is there twice")


@lru_cache(CACHED_HOSTS)
def _is_host(host: bytes) -> bool:
    return HOST.fullmatch(host) is not None


def _check_codings(version: str, headers: Sequence[Header]) -> None:
    """RFC 9112, sections 6.1 and 6.3; a Content-Length beside it is refused by the parser."""
    if version == "1.0":
        raise HTTPError(400, "transfer_encoding", "HTTP/1.0 has no Transfer-Encoding; use HTTP/1.1")
    values = b",".join(value for name, value in headers if name == b"transfer-encoding")
    codings = [coding.strip(b" \t").lower() for coding in values.split(b",")]
    if codings == [b"chunked"]:
        return
    if codings[-1] == b"chunked" and codings.count(b"chunked") == 1:
        message = "of Transfer-Encoding only chunked is read; send the body as it is"
        raise _not_implemented("transfer_encoding", message)
    raise HTTPError(400, "transfer_encoding", "Transfer-Encoding must be chunked, and nothing else")


def _origin_form(method: bytes, target: bytes, host: bytes | None) -> bytes:
    """RFC 9112, section 3.2: an absolute target names the host that the header Host names."""
    if target == b"*" and method == b"OPTIONS":
        return target
    absolute = ABSOLUTE.fullmatch(target)
    if absolute is None or not target.isascii():
        raise HTTPError(400, "target", "the request's target must be a path, such as /invocations")
    if host is None or absolute[1].lower() != host.lower():
        raise HTTPError(
            400, "host", "the request's target and its header Host name different hosts"
        )
    path = absolute[2]
    return path if path[:1] == b"/" else b"/" + path
