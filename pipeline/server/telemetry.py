"""Telemetry of the server: Prometheus metrics, and a log with one line of JSON per request."""

import itertools
import logging
import mmap
import os
import select
import threading
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import prometheus_client
import psutil
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, multiprocess
from prometheus_client.metrics import MetricWrapperBase

from pipeline.server import temporary_folder

STANDARD_OUTPUT = 1
WRITE_BEHIND = 0.02  # seconds
MAX_WAITING_LINES = 10_000  # some 3 MiB
FLUSH_SECONDS = 1.0
ID_PREFIX = os.urandom(6).hex()  # of this process's request ids
ID_NUMBERS = itertools.count()
SHARED_FOLDER = "PROMETHEUS_MULTIPROC_DIR"  # the variable of where several workers count
DIFFERENCES = (1e-6, 0.001, 0.003, 0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 1.0)  # upper bounds
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
logged_rows = Counter("serve_request_log_rows", "Rows that were written to the request log.")
lost_rows = Counter(
    "serve_request_log_rows_lost", "Rows that are missing in the request log: no room, or no time."
)
shadow_rows = Counter("serve_shadow_rows", "Rows that the shadow has answered beside the champion.")
shadow_labels_differ = Counter(
    "serve_shadow_labels_differ", "Those of them that the shadow gives another label."
)
shadow_difference = Histogram(
    "serve_shadow_difference",
    "Largest difference of a probability; of amounts, over the width of the champion's interval.",
    buckets=DIFFERENCES,
)
shadow_failed = Counter(
    "serve_shadow_rows_failed", "Rows that the shadow refused, or that it failed on."
)
shadow_dropped = Counter(
    "serve_shadow_rows_dropped", "Rows that the shadow was not asked, for too many were waiting."
)
shadow_lost = Counter(
    "serve_shadow_log_rows_lost", "Rows that are missing in the shadow log: there was no room."
)
model_version = Gauge(
    "serve_model_version",
    "The version of the model that answers.",
    ["model"],
    multiprocess_mode="liveall",
)


def metrics() -> bytes:
    """Returns all metrics, over all workers, in Prometheus's text format."""
    _writer.count_dropped()
    if SHARED_FOLDER not in os.environ:
        return prometheus_client.generate_latest()
    restore()
    _forget_the_dead(Path(os.environ[SHARED_FOLDER]))
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)
    return prometheus_client.generate_latest(registry)


def _forget_the_dead(folder: Path) -> None:
    """Deletes the gauges of workers that were killed; what they counted stays."""
    for file in folder.glob("gauge_live*.db"):
        pid = int(file.stem.rpartition("_")[2])
        if not psutil.pid_exists(pid):
            multiprocess.mark_process_dead(pid)


def restore() -> None:
    """Writes the files of this worker's counts anew, if they were deleted. Raises OSError."""
    if SHARED_FOLDER not in os.environ:
        return
    temporary_folder.make_private(Path(os.environ[SHARED_FOLDER]))
    for counts in _mapped_files():
        if not os.path.exists(counts._fname):
            _rewrite(counts)


def _mapped_files() -> set[Any]:
    """Returns what prometheus_client maps into memory: one file for each kind of metric."""
    files = set()
    for metric in filter(lambda value: isinstance(value, MetricWrapperBase), globals().values()):
        for child in (metric, *getattr(metric, "_metrics", {}).values()):
            for value in vars(child).values():
                for one in value if isinstance(value, list) else [value]:
                    files.add(getattr(one, "_file", None))
    return files - {None}


def _rewrite(counts: Any) -> None:
    """Writes a file anew in place: all metrics that count in it hold the same object."""
    file = Path(counts._fname).open("a+b")  # noqa: SIM115  as long as the process
    file.write(counts._m[:])
    file.flush()
    counts._f, counts._m = file, mmap.mmap(file.fileno(), counts._capacity)


def observe(histogram: Histogram, counts: Sequence[int], total: float) -> None:
    """Adds so many values to each bucket, and their sum: one by one, it takes as many locks."""
    for bucket, count in zip(histogram._buckets, counts, strict=True):
        bucket.inc(count)
    histogram._sum.inc(total)


def log(event: str, **fields: Any) -> None:
    """Logs one line on standard output, a few milliseconds later: a write takes longer."""
    _writer.add(_line(event, fields))


def flush(timeout: float = FLUSH_SECONDS) -> None:
    """Waits until the lines are written, or for that time: nobody may be reading them."""
    _writer.is_idle.wait(timeout)


def _line(event: str, fields: dict[str, Any]) -> bytes:
    line = {"time": round(time.time(), 3), "event": event, **fields}
    return orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)


class _Writer:
    """Writes lines in a thread of its own, so that a reader who stops holds up nothing else.

    Beyond `MAX_WAITING_LINES`, lines are dropped and counted.
    """

    def __init__(self) -> None:
        self.is_idle = threading.Event()
        self.is_idle.set()
        self._lines: deque[bytes] = deque()
        self._lock = threading.Lock()
        self._has_lines = threading.Event()
        self._thread: threading.Thread | None = None
        self._unreported = 0  # dropped lines of which the log does not say so yet
        self._uncounted = 0  # dropped lines that are not in the metric yet

    def add(self, line: bytes) -> None:
        """Hands a line over, and returns at once."""
        if len(self._lines) >= MAX_WAITING_LINES:
            self._drop(1)
            return
        self._lines.append(line)
        if not self._has_lines.is_set():
            self._wake()

    def _wake(self) -> None:
        with self._lock:
            self.is_idle.clear()
            self._has_lines.set()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="log", daemon=True)
                self._thread.start()

    def count_dropped(self) -> None:
        """Counts in the metric; called by its readers: what drops lines may hold its lock."""
        with self._lock:
            count, self._uncounted = self._uncounted, 0
        if count:
            dropped_lines.inc(count)

    def _drop(self, count: int) -> None:
        with self._lock:
            self._unreported += count
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
                    self.is_idle.set()

    def _write_some(self) -> None:
        """Writes whole lines, as many as a pipe takes in one piece: others write there too."""
        part = [self._lines.popleft()]
        size = len(part[0])
        while self._lines and size + len(self._lines[0]) <= select.PIPE_BUF:
            part.append(self._lines.popleft())
            size += len(part[-1])
        if not _write(b"".join(part)):
            self._drop(len(part))

    def _report_dropped(self) -> None:
        with self._lock:
            count, self._unreported = self._unreported, 0
        if count and not _write(_line("log_dropped", {"lines": count})):
            with self._lock:
                self._unreported += count


def _write(lines: bytes) -> bool:
    """Waits until all of it is written; returns False if that cannot be."""
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


class _JSONHandler(logging.Handler):
    """Logs what libraries log as lines of the same kind."""

    def emit(self, record: logging.LogRecord) -> None:
        fields = {"level": record.levelname.lower(), "message": record.getMessage()}
        if record.exc_info:
            fields["traceback"] = logging.Formatter().formatException(record.exc_info)
        log("log", **fields)


def log_records() -> None:
    """Makes all that is logged from here on lines of JSON."""
    logging.root.handlers = [_JSONHandler()]


def new_request_id() -> str:
    """Returns an id that no other request has."""
    return f"{ID_PREFIX}{next(ID_NUMBERS):08x}"
