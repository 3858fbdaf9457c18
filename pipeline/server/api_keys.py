"""API keys: who may ask. Only their sha256 is kept; a key is long and random, so that is enough.

The file of keys is read again when it changes.
"""

import hashlib
import hmac
import os
import re
from collections.abc import Mapping
from pathlib import Path

from pipeline.errors import ConfigError
from pipeline.server import telemetry
from pipeline.server.file_watch import FileWatch

VARIABLE = "PIPELINE_API_KEYS"
HOW = "a key is written NAME:SHA256, 64 hexadecimal digits: see the README on how to make one"


class ApiKeys:
    """The hashes of the keys of a file and of the environment, by the names of their owners."""

    def __init__(self, hashes: Mapping[str, bytes], path: str | None = None) -> None:
        self._hashes = dict(hashes)
        self._path = path
        self._watch = FileWatch([] if path is None else [path])

    def refresh(self, is_forced: bool = False) -> None:
        """Reads the file again, if it changed. A file that is not right changes nothing.

        So a revoked key opens no more, and a file that was emptied or deleted opens no door.
        """
        if self._path is None or not (self._watch.has_changed() or is_forced):
            return
        try:
            self._hashes = _read(self._path)
        except ConfigError as error:
            message = f"{error}; the keys that were read before stay"
            telemetry.log("keys_refused", message=message, keys=len(self._hashes))
        else:
            telemetry.log("keys_read", keys=len(self._hashes))

    def __bool__(self) -> bool:
        return bool(self._hashes)

    def owner(self, headers: Mapping[bytes, bytes]) -> str | None:
        """Returns whose key `Authorization: Bearer` or `X-API-Key` holds, in constant time."""
        key = headers.get(b"x-api-key")
        if key is None:
            scheme, _, key = headers.get(b"authorization", b"").partition(b" ")
            if scheme.lower() != b"bearer":
                return None
        digest = hashlib.sha256(key.strip()).digest()
        owner = None
        for name, expected in self._hashes.items():  # all of them, whichever it is
            if hmac.compare_digest(digest, expected):
                owner = name
        return owner


def load(path: str | None) -> ApiKeys:
    """Reads the keys of the file (one a line) and of the environment. Raises ConfigError."""
    return ApiKeys(_read(path), path)


def _read(path: str | None) -> dict[str, bytes]:
    lines = [(VARIABLE, line) for line in re.split(r"[,\s]+", os.environ.get(VARIABLE, ""))]
    if path is not None:
        try:
            text = Path(path).read_text("utf-8")
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "it is not in UTF-8"
            raise ConfigError(f"serve.keys {path!r} cannot be read: {reason}") from None
        lines += [(f"serve.keys {path!r}", line) for line in text.splitlines()]
    hashes: dict[str, bytes] = {}
    for place, line in lines:
        entry = line.partition("#")[0].strip()
        if not entry:
            continue
        fields = re.fullmatch(r"([\w.@-]+):([0-9a-fA-F]{64})", entry)
        if fields is None:  # it may be a key that someone forgot to hash
            raise ConfigError(f"{place} holds an entry that is no key; {HOW}")
        if fields[1] in hashes:
            raise ConfigError(f"{place} names {fields[1]!r} twice; give each key its own name")
        hashes[fields[1]] = bytes.fromhex(fields[2])
    if path is not None and not hashes:
        raise ConfigError(f"serve.keys {path!r} holds no key; {HOW}")
    return hashes
