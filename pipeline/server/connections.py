"""Connections and the descriptors that they take: of both there are only so many."""

import os
import resource
import time
from contextlib import suppress
from typing import Protocol

from pipeline.server import telemetry

SPARE = 32  # descriptors for all but connections: files, pipes, the registry
WANTED = 2**16  # descriptors; more would be no help
WARNING_SECONDS = 60.0  # between two warnings in the log


class Connection(Protocol):
    """A connection that can give way to another."""

    def close_idle(self) -> None:
        """Closes the connection, on which no request is under way."""


def raise_limit() -> None:
    """Allows as many descriptors as the system does: the usual soft limit is too low."""
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
        self._max = WANTED if limit == resource.RLIM_INFINITY else limit - SPARE
        self._idle: dict[Connection, None] = {}
        self._warned_at = -WARNING_SECONDS

    def make_room(self) -> bool:
        """Returns whether there is room for one more; may close the longest idle for it."""
        if self._next_descriptor() < self._max:
            return True
        self._warn()
        if not self._idle:
            return False
        longest = next(iter(self._idle))
        self.busy(longest)
        telemetry.refusals.labels("connections").inc()
        longest.close_idle()
        return True

    def idle(self, connection: Connection) -> None:
        """Notes that the connection waits for a request."""
        self._idle[connection] = None

    def busy(self, connection: Connection) -> None:
        """Notes that the connection has a request, or is no more."""
        self._idle.pop(connection, None)

    def _next_descriptor(self) -> int:
        """Returns the number of the next one, which is the lowest that is free."""
        try:
            descriptor = os.open("/", os.O_RDONLY)
        except OSError:
            return self._max
        os.close(descriptor)
        return descriptor

    def _warn(self) -> None:
        now = time.monotonic()
        if now - self._warned_at < WARNING_SECONDS:
            return
        self._warned_at = now
        message = (
            "there are hardly any descriptors left, so idle connections are closed for new ones; "
            "raise the limit (ulimit -n, LimitNOFILE=)"
        )
        telemetry.log("connections_full", limit=self._max + SPARE, message=message)
