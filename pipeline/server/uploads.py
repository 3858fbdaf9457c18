"""Bodies that are on their way: bounded, so that those that never end leave room for others."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.config.sections import Limits
from pipeline.server.refusal import busy

FULL_BODIES = 16  # of the largest size, that fit into the memory for bodies that are not whole


class Uploads:
    """How many bodies, and bytes of them, are on their way to this process, by client."""

    def __init__(self, limits: Limits) -> None:
        self._most = limits.uploads
        self._room = FULL_BODIES * limits.body_bytes
        self._slow: Counter[str] = Counter()
        self._held: Counter[str] = Counter()

    def begin(self, client: str) -> None:
        """Counts a body that is not here at once. Raises Refusal where the client has too many."""
        if self._slow[client] >= self._most:
            message = f"{self._most} bodies of this client are on their way; send fewer at once"
            raise busy("uploads", message)
        self._slow[client] += 1

    def end(self, client: str) -> None:
        """The body is here, or will not come."""
        _subtract(self._slow, client, 1)

    @contextmanager
    def hold(self, client: str) -> Iterator["Parts"]:
        """Parts of a body, whose bytes count until it is whole or given up."""
        parts = Parts(self, client)
        try:
            yield parts
        finally:
            self._room += parts.size
            _subtract(self._held, client, parts.size)

    def take(self, client: str, size: int) -> None:
        """Counts bytes. Raises Refusal where the client would hold more than it leaves others."""
        if self._held[client] + size > self._room - size:
            raise busy("upload_bytes", "too much is on its way already; try again")
        self._room -= size
        self._held[client] += size


class Parts:
    """What is here of a body."""

    def __init__(self, uploads: Uploads, client: str) -> None:
        self._uploads = uploads
        self._client = client
        self._parts: list[bytes] = []
        self.size = 0

    def add(self, part: bytes) -> None:
        """One more. Raises Refusal where there is no room for it."""
        self._uploads.take(self._client, len(part))
        self._parts.append(part)
        self.size += len(part)

    def whole(self, last: bytes) -> bytes:
        """The body, with its last part."""
        return b"".join([*self._parts, last])


def _subtract(counter: Counter[str], client: str, number: int) -> None:
    """Forgets a client that has none: there may be many clients."""
    counter[client] -= number
    if not counter[client]:
        del counter[client]
