"""Bodies that are on their way: bounded, so that those that never end leave room for others."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.config.serve import Limits
from pipeline.server.http_error import unavailable

FULL_BODIES = 16  # of the largest size, that fit into the memory for bodies that are not whole


class Uploads:
    """Counts the bodies, and bytes of them, that are on their way to this process, by client."""

    def __init__(self, limits: Limits) -> None:
        self._max_slow = limits.uploads
        self._free_bytes = FULL_BODIES * limits.body_bytes
        self._slow: Counter[str] = Counter()
        self._bytes: Counter[str] = Counter()

    def begin(self, client: str) -> None:
        """Counts a body that is not here at once. Raises HTTPError if the client has too many."""
        if self._slow[client] >= self._max_slow:
            message = f"{self._max_slow} bodies of this client are on their way; send fewer at once"
            raise unavailable("uploads", message)
        self._slow[client] += 1

    def end(self, client: str) -> None:
        """Counts a body no more: it is here, or will not come."""
        _subtract(self._slow, client, 1)

    @contextmanager
    def parts(self, client: str) -> Iterator["Parts"]:
        """Yields the parts of a body; their bytes count until it is whole or given up."""
        parts = Parts(self, client)
        try:
            yield parts
        finally:
            self._free_bytes += parts.size
            _subtract(self._bytes, client, parts.size)

    def take(self, client: str, size: int) -> None:
        """Counts bytes. Raises HTTPError if the client would hold more than it leaves others."""
        if self._bytes[client] + size > self._free_bytes - size:
            raise unavailable("upload_bytes", "too much is on its way already; try again")
        self._free_bytes -= size
        self._bytes[client] += size


class Parts(list[bytes]):
    """The parts of a body that are here, and their size."""

    def __init__(self, uploads: Uploads, client: str) -> None:
        super().__init__()
        self._uploads, self._client = uploads, client
        self.size = 0

    def append(self, part: bytes) -> None:
        """Adds a part. Raises HTTPError if there is no room for it."""
        self._uploads.take(self._client, len(part))
        super().append(part)
        self.size += len(part)


def _subtract(counter: Counter[str], client: str, number: int) -> None:
    """Subtracts, and forgets a client that has none: there may be many clients."""
    counter[client] -= number
    if not counter[client]:
        del counter[client]
