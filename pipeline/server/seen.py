"""What can be seen of the server: Prometheus metrics, and one line of JSON per request."""

import itertools
import logging
import os
import time
from asyncio import AbstractEventLoop
from contextlib import suppress
from pathlib import Path
from threading import get_ident
from typing import Any

import orjson
import prometheus_client
import psutil
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, multiprocess

STANDARD_OUTPUT = 1
WRITE_BEHIND = 0.02  # seconds
PREFIX = os.urandom(6).hex()  # of this process's request ids
NUMBERS = itertools.count()
SHARED = "PROMETHEUS_MULTIPROC_DIR"  # where several workers keep their counts
BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)

requests = Counter("serve_requests", "Answered requests.", ["path", "status"])
seconds = Histogram(
    "serve_request_seconds",
    "From the headers to the answer, in seconds.",
    ["path"],
    buckets=BUCKETS,
)
refusals = Counter(
    "serve_refusals", "Requests that were refused, by the rule that they broke.", ["rule"]
)
rows = Counter("serve_rows", "Rows that were answered.")
model = Gauge(
    "serve_model_version",
    "The version of the model that answers.",
    ["model"],
    multiprocess_mode="liveall",
)


def metrics() -> bytes:
    """In Prometheus's text format, over all workers."""
    if SHARED not in os.environ:
        return prometheus_client.generate_latest()
    _forget_the_dead(Path(os.environ[SHARED]))
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)
    return prometheus_client.generate_latest(registry)


def _forget_the_dead(folder: Path) -> None:
    """The gauges of workers that were killed; what they counted stays."""
    for file in folder.glob("gauge_live*.db"):
        pid = int(file.stem.rpartition("_")[2])
        if not psutil.pid_exists(pid):
            multiprocess.mark_process_dead(pid)


def log(event: str, **fields: Any) -> None:
    """One line on standard output."""
    line = {"time": round(time.time(), 3), "event": event, **fields}
    text = orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)
    if _behind is None or get_ident() != _behind.thread:
        _write(text)
    else:
        _behind.add(text)


class _Behind:
    """Writes the lines of a few milliseconds at once: a write takes longer than a line."""

    def __init__(self, loop: AbstractEventLoop) -> None:
        self.thread = get_ident()
        self._loop = loop
        self._lines: list[bytes] = []

    def add(self, line: bytes) -> None:
        if not self._lines:
            self._loop.call_later(WRITE_BEHIND, self.flush)
        self._lines.append(line)

    def flush(self) -> None:
        _write(b"".join(self._lines))
        self._lines.clear()


_behind: _Behind | None = None


def write_behind(loop: AbstractEventLoop | None) -> None:
    """Lines of the loop's thread are written a few milliseconds later; None ends that."""
    global _behind  # noqa: PLW0603  one standard output, one log
    if _behind is not None:
        _behind.flush()
    _behind = None if loop is None else _Behind(loop)


def _write(lines: bytes) -> None:
    with suppress(OSError):  # nobody reads it any more: that is no reason to stop answering
        os.write(STANDARD_OUTPUT, lines)


class _Records(logging.Handler):
    """What libraries log, as lines of the same kind."""

    def emit(self, record: logging.LogRecord) -> None:
        fields = {"level": record.levelname.lower(), "message": record.getMessage()}
        if record.exc_info:
            fields["traceback"] = logging.Formatter().formatException(record.exc_info)
        log("log", **fields)


def log_records() -> None:
    """Everything that is logged from here on is a line of JSON."""
    logging.root.handlers = [_Records()]


def new_id() -> str:
    """The id of a request."""
    return f"{PREFIX}{next(NUMBERS):08x}"
