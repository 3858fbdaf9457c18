"""Connections and the descriptors that they take: of both there are only so many."""

import os
import resource
import time
from contextlib import suppress
from typing import Protocol

from pipeline.server import telemetry as seen

SPARE = 32  # descriptors for all but connections: files, pipes, the registry
WANTED = 2**16  # descriptors; more would be no help
QUIET = 60.0  # seconds between two lines in the log


class Connection(Protocol):
    """What can be closed to make room."""

    def close_idle(self) -> None:
        """Ends the connection, on which no request is under way."""


def raise_limit() -> None:
    """As many descriptors as the system allows: the usual soft limit is for other programs."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = WANTED if hard == resource.RLIM_INFINITY else min(hard, WANTED)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):  # then it is as it was
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class Connections:
    """The connections of this process without a request under way, the longest idle first.

    When descriptors run out, these give way to new ones: a server that cannot accept is down for
    all, and libuv resets what it has no descriptor for.
    """

    def __init__(self) -> None:
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        self._most = WANTED if limit == resource.RLIM_INFINITY else limit - SPARE
        self._idle: dict[Connection, None] = {}
        self._said = -QUIET

    def make_room(self) -> bool:
        """Whether there is room for one more; if need be, the longest idle is closed for it."""
        if self._next_descriptor() < self._most:
            return True
        self._say()
        if not self._idle:
            return False
        longest = next(iter(self._idle))
        self.busy(longest)
        seen.refusals.labels("connections").inc()
        longest.close_idle()
        return True

    def idle(self, connection: Connection) -> None:
        """The connection waits for a request."""
        self._idle[connection] = None

    def busy(self, connection: Connection) -> None:
        """The connection has a request, or is no more."""
        self._idle.pop(connection, None)

    def _next_descriptor(self) -> int:
        """The number of the next one, which is the lowest that is free."""
        try:
            descriptor = os.open("/", os.O_RDONLY)
        except OSError:
            return self._most
        os.close(descriptor)
        return descriptor

    def _say(self) -> None:
        if time.monotonic() - self._said < QUIET:
            return
        self._said = time.monotonic()
        message = (
            "there are hardly any descriptors left, so idle connections are closed for new ones; "
            "raise the limit (ulimit -n, LimitNOFILE=)"
        )
        seen.log("connections_full", limit=self._most + SPARE, message=message)
