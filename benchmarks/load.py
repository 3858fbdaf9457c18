"""Asks an endpoint over HTTP/1.1 as fast as it answers and prints what it measured as JSON.

Each connection has one request under way; a connection that the server closes is opened anew,
at the request's expense. Of the responses it reads the status, the length and whether the
connection stays: so it is no slower than the servers that it measures.
"""

import argparse
import asyncio
import gc
import itertools
import json
import os
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import uvloop

HOST = "127.0.0.1"
LEAST = 3  # requests that are measured, however slow they are
PATIENCE = 120  # seconds beyond the measurement after which a server is given up
OK = b"HTTP/1.1 200"
END = b"\r\n\r\n"
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
CLOSE = re.compile(rb"\r\nconnection: *close", re.IGNORECASE)


class LoadError(Exception):
    """An endpoint did not answer as it should."""


class Load:
    """What all connections share: the requests, the clock and the results."""

    def __init__(self, options: argparse.Namespace) -> None:
        bodies = options.bodies.read_bytes().splitlines()
        self.port: int = options.port
        self.requests: Iterator[bytes] = itertools.cycle(map(_request, bodies))
        self.measured_from = time.perf_counter() + options.warm_up
        self.until = self.measured_from + options.seconds
        self.ends: list[float] = []
        self.took: list[float] = []
        self.busy_before = self.busy_after = 0.0  # seconds of this process
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def record(self, start: float) -> None:
        """One more response; the first after the warm-up starts the clock and isn't counted."""
        now = time.perf_counter()
        if now >= self.measured_from:
            if not self.ends:
                self.busy_before = time.process_time()
            self.ends.append(now)
            self.took.append(now - start)
            if now >= self.until and len(self.ends) > LEAST and not self.done.done():
                self.busy_after = time.process_time()
                self.done.set_result(None)

    def fail(self, told: str) -> None:
        """Ends the measurement with an error."""
        if not self.done.done():
            self.done.set_exception(LoadError(told))

    def result(self) -> dict[str, float]:
        """Responses a second; milliseconds that half and 99 % of them took at most.

        `busy` is the share of the time in which this process itself worked: near 1, it is what
        was measured.
        """
        took = sorted(self.took[1:])
        seconds = self.ends[-1] - self.ends[0]
        return {
            "rate": len(took) / seconds,
            "busy": (self.busy_after - self.busy_before) / seconds,
            "p50": 1000 * took[len(took) // 2],
            "p99": 1000 * took[min(len(took) - 1, len(took) * 99 // 100)],
        }


class Connection(asyncio.Protocol):
    """Sends a request as soon as the one before is answered."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.transport: asyncio.Transport
        self.head = b""
        self.missing = -1  # bytes of the response's body; below 0 while its head is read
        self.closes = False
        self.start = 0.0

    async def open(self) -> None:
        """Connects; the first request follows."""
        self.start = time.perf_counter()
        loop = asyncio.get_running_loop()
        try:
            await loop.create_connection(lambda: self, HOST, self.load.port)
        except OSError as error:
            self.load.fail(f"no connection: {error}")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._send()

    def data_received(self, data: bytes) -> None:
        if self.missing < 0:
            self.head += data
            if not self._has_head():
                return
        else:
            self.missing -= len(data)
        if self.missing == 0:
            self._answered()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.load.done.done():
            return
        if self.closes:
            self.closes = False
            self.opening = asyncio.ensure_future(self.open())
        else:
            self.load.fail(f"the server closed a connection in the midst: {exc}")

    def _has_head(self) -> bool:
        end = self.head.find(END)
        if end < 0:
            return False
        length = LENGTH.search(self.head, 0, end)
        if not self.head.startswith(OK) or length is None:
            self.load.fail(self.head.decode(errors="replace")[:2000])
            self.transport.abort()
            return False
        self.closes = CLOSE.search(self.head, 0, end) is not None
        self.missing = int(length[1]) - (len(self.head) - end - len(END))
        self.head = b""
        return True

    def _answered(self) -> None:
        self.missing = -1
        self.load.record(self.start)
        if self.closes:
            self.transport.close()
        elif not self.load.done.done():
            self.start = time.perf_counter()
            self._send()

    def _send(self) -> None:
        self.transport.write(next(self.load.requests))


def _request(body: bytes) -> bytes:
    head = (
        f"POST /invocations HTTP/1.1\r\nHost: {HOST}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def _measure(options: argparse.Namespace) -> dict[str, float]:
    load = Load(options)
    connections = [Connection(load) for _ in range(options.connections)]
    await asyncio.gather(*(connection.open() for connection in connections))
    async with asyncio.timeout(options.warm_up + options.seconds + PATIENCE):
        await load.done
    for connection in connections:
        connection.transport.abort()
    return load.result()


def main() -> None:
    """Pins itself to one core, measures, prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--bodies", type=Path, required=True, help="a file with one a line")
    parser.add_argument("--connections", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--warm-up", type=float, default=1, help="seconds before")
    parser.add_argument("--core", type=int, required=True, help="runs on this one")
    options = parser.parse_args()
    os.sched_setaffinity(0, {options.core})
    gc.disable()  # it makes no cycles, and a pause would be the server's
    try:
        print(json.dumps(uvloop.run(_measure(options))))
    except (LoadError, TimeoutError) as error:
        sys.exit(f"load: {error or 'it took too long'}")


if __name__ == "__main__":
    main()
