"""What can be seen of the server: Prometheus metrics, and one line of JSON per request."""

import itertools
import logging
import mmap
import os
import select
import threading
import time
from collections import deque
from pathlib import Path
from typing import Any

import orjson
import prometheus_client
import psutil
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, multiprocess
from prometheus_client.metrics import MetricWrapperBase

from pipeline.server import private

STANDARD_OUTPUT = 1
WRITE_BEHIND = 0.02  # seconds
MOST_LINES = 10_000  # that wait to be written, some 3 MiB
FLUSH_SECONDS = 1.0
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
dropped_lines = Counter(
    "serve_log_lines_dropped", "Lines of the log that were dropped, for nobody read it."
)
model = Gauge(
    "serve_model_version",
    "The version of the model that answers.",
    ["model"],
    multiprocess_mode="liveall",
)


def metrics() -> bytes:
    """In Prometheus's text format, over all workers."""
    _writer.count_dropped()
    if SHARED not in os.environ:
        return prometheus_client.generate_latest()
    restore()
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


def restore() -> None:
    """Writes the files of this worker's counts anew, if they were deleted. Raises OSError."""
    if SHARED not in os.environ:
        return
    private.make(Path(os.environ[SHARED]))
    for counts in _files():
        if not os.path.exists(counts._fname):
            _rewrite(counts)


def _files() -> set[Any]:
    """Those that prometheus_client maps into memory: one for each kind of metric."""
    found = set()
    for metric in filter(lambda one: isinstance(one, MetricWrapperBase), globals().values()):
        for child in (metric, *getattr(metric, "_metrics", {}).values()):
            for value in vars(child).values():
                for one in value if isinstance(value, list) else [value]:
                    found.add(getattr(one, "_file", None))
    return found - {None}


def _rewrite(counts: Any) -> None:
    """In place: all metrics that count in the file hold the same object."""
    file = Path(counts._fname).open("a+b")  # noqa: SIM115  as long as the process
    file.write(counts._m[:])
    file.flush()
    counts._f, counts._m = file, mmap.mmap(file.fileno(), counts._capacity)


def log(event: str, **fields: Any) -> None:
    """One line on standard output, a few milliseconds later: a write takes longer than a line."""
    line = {"time": round(time.time(), 3), "event": event, **fields}
    _writer.add(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))


def flush(timeout: float = FLUSH_SECONDS) -> None:
    """Waits until the lines are written, or for that time: nobody may be reading them."""
    _writer.flush(timeout)


class _Writer:
    """Writes lines in a thread of its own, so that a reader who stops holds up nothing else.

    Beyond `MOST_LINES` that wait, lines are dropped and counted.
    """

    def __init__(self) -> None:
        self._lines: deque[bytes] = deque()
        self._lock = threading.Lock()
        self._has_lines = threading.Event()
        self._is_idle = threading.Event()
        self._is_idle.set()
        self._thread: threading.Thread | None = None
        self._dropped = 0  # and not said yet
        self._uncounted = 0

    def add(self, line: bytes) -> None:
        """Returns at once."""
        if len(self._lines) >= MOST_LINES:
            self._drop(1)
            return
        self._lines.append(line)
        if not self._has_lines.is_set():
            self._wake()

    def _wake(self) -> None:
        with self._lock:
            self._is_idle.clear()
            self._has_lines.set()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="log", daemon=True)
                self._thread.start()

    def flush(self, timeout: float) -> None:
        """Returns when all is written, or after that many seconds."""
        self._is_idle.wait(timeout)

    def count_dropped(self) -> None:
        """In the metric: by those who read it, for what drops lines may hold its lock."""
        with self._lock:
            count, self._uncounted = self._uncounted, 0
        if count:
            dropped_lines.inc(count)

    def _drop(self, count: int) -> None:
        with self._lock:
            self._dropped += count
            self._uncounted += count

    def _run(self) -> None:
        while True:
            self._has_lines.wait()
            time.sleep(WRITE_BEHIND)  # the lines of a few milliseconds are written at once
            self._has_lines.clear()
            while self._lines:
                self._write_some()
            self._report_dropped()
            with self._lock:
                if not self._has_lines.is_set():
                    self._is_idle.set()

    def _write_some(self) -> None:
        """Whole lines, as many as a pipe takes in one piece: other processes write there too."""
        part = [self._lines.popleft()]
        size = len(part[0])
        while self._lines and size + len(self._lines[0]) <= select.PIPE_BUF:
            part.append(self._lines.popleft())
            size += len(part[-1])
        if not _write(b"".join(part)):
            self._drop(len(part))

    def _report_dropped(self) -> None:
        with self._lock:
            count, self._dropped = self._dropped, 0
        if count:
            line = {"time": round(time.time(), 3), "event": "log_dropped", "lines": count}
            if not _write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)):
                with self._lock:
                    self._dropped += count


def _write(lines: bytes) -> bool:
    """Waits until all of it is written. False, if that cannot be."""
    rest = memoryview(lines)
    while rest:
        try:
            rest = rest[os.write(STANDARD_OUTPUT, rest) :]
        except BlockingIOError:  # the other side made it so
            select.select([], [STANDARD_OUTPUT], [])
        except OSError:  # nobody reads it any more: that is no reason to stop answering
            return False
    return True


_writer = _Writer()


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
