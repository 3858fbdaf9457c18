"""The request log: rows that were answered, with their answers, in files that `monitor` reads.

Requests hand their rows over and go on; a thread writes them. What waits is bounded: when the
disk is too slow, or full, rows are missing in the log and counted, and no request waits or fails.
"""

import fcntl
import os
import threading
import time
from collections import deque
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from zlib import crc32

from pipeline.config.serve import RequestLogSettings
from pipeline.errors import ConfigError, nearest
from pipeline.schema.contract import Contract
from pipeline.server import telemetry
from pipeline.server.log_lines import LoggedRequest, LoggedRows, lines

MOST_WAITING = 100_000  # rows, but for one request that has more: some 30 MB
ROWS_AT_A_TIME = 256  # the thread lets others go on after them
WRITE_BEHIND = 0.1  # seconds
CLOSE_SECONDS = 1.5  # for what is waiting at the end: a disk may hang
OPEN, ENDING = ".requests-", ".jsonl"  # a file that grows is hidden from those who read the folder


class RequestLog:
    """The log of one server process."""

    def __init__(self, settings: RequestLogSettings) -> None:
        """Raises ConfigError for a folder that cannot be written to."""
        self._settings = settings
        self._files = _Files(settings)
        self._waiting: deque[tuple[LoggedRows | bytes, int]] = deque()
        self._added = self._taken = 0  # rows; each is counted by one thread alone
        self._wakes = threading.Event()
        self._is_closing = threading.Event()
        self._is_failing = False
        self._thread = threading.Thread(target=self._run, name="request log", daemon=True)
        self._thread.start()

    def request(self, request_id: str) -> LoggedRequest | None:
        """What is to be logged of a request; None if it is not in the sample.

        The id alone decides, so several servers log the same requests.
        """
        share = self._settings.sample
        if share < 1 and crc32(request_id.encode()) >= share * 2**32:
            return None
        return LoggedRequest(request_id, round(time.time(), 3), self._settings.columns)

    def add(self, part: LoggedRows | bytes, rows: int) -> None:
        """Hands rows over, and returns at once."""
        waiting = self._added - self._taken
        if waiting and waiting + rows > MOST_WAITING:
            telemetry.lost_rows.inc(rows)
            return
        self._added += rows
        self._waiting.append((part, rows))
        if not self._wakes.is_set():
            self._wakes.set()

    def close(self) -> None:
        """Writes what is waiting, and closes the file."""
        self._is_closing.set()
        self._wakes.set()
        self._thread.join(CLOSE_SECONDS)

    def _run(self) -> None:
        while True:
            self._wakes.wait(self._files.seconds_left())
            self._is_closing.wait(WRITE_BEHIND)
            self._wakes.clear()
            while self._waiting:
                self._write_some()
            if self._is_closing.is_set() or self._files.seconds_left() == 0:
                self._files.close()
            if self._is_closing.is_set() and not self._waiting:
                return

    def _write_some(self) -> None:
        parts: list[LoggedRows | bytes] = []
        count = 0
        while self._waiting and count < ROWS_AT_A_TIME:
            part, rows = self._waiting.popleft()
            parts.append(part)
            count += rows
        try:
            made = [part for part in parts if isinstance(part, bytes)]
            others = [part for part in parts if not isinstance(part, bytes)]
            self._files.write(b"".join([*made, lines(others)]))
        except Exception as error:  # whatever it is, requests are answered as before
            telemetry.lost_rows.inc(count)
            self._report(str(error))
        else:
            telemetry.logged_rows.inc(count)
            self._report(None)
        self._taken += count

    def _report(self, failure: str | None) -> None:
        """Says once that rows are lost, and once that they are no longer."""
        if (failure is not None) != self._is_failing:
            self._is_failing = failure is not None
            event = "request_log_failed" if failure else "request_log_mended"
            telemetry.log(event, **({"message": failure} if failure else {}))


class _Files:
    """The file that grows, and those that are closed: they alone are for readers."""

    def __init__(self, settings: RequestLogSettings) -> None:
        assert settings.path is not None
        self._settings = settings
        self._folder = Path(settings.path)
        self._path = self._folder
        self._file: int | None = None
        self._size = 0
        self._until = 0.0
        try:
            self._folder.mkdir(0o700, parents=True, exist_ok=True)
            self._close_those_left()
            self._open()
        except OSError as error:
            raise ConfigError(
                f"serve.log.path is {settings.path!r}, a folder that cannot be written to: "
                f"{error.strerror or error}; name another one"
            ) from None

    def seconds_left(self) -> float | None:
        """Until the file is to be closed; None where there is nothing in it."""
        return max(0.0, self._until - time.monotonic()) if self._size else None

    def write(self, lines: bytes) -> None:
        """Appends whole lines or nothing. Raises OSError."""
        if self._file is None or not self._path.exists():
            self._open()
        assert self._file is not None
        if not self._size:
            self._until = time.monotonic() + self._settings.max_seconds
        try:
            rest = memoryview(lines)
            while rest:
                rest = rest[os.write(self._file, rest) :]
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._file, self._size)
            raise
        self._size += len(lines)
        if self._size >= self._settings.max_bytes:
            self.close()

    def _open(self) -> None:
        """A new file, which its lock marks as one that a living process writes."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
        self._folder.mkdir(0o700, parents=True, exist_ok=True)
        start = f"{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}"
        self._path = self._folder / f"{OPEN}{start}-{os.getpid()}{ENDING}"
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL
        self._file, self._size = os.open(self._path, flags, 0o600), 0
        fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def close(self) -> None:
        """Hands the file to the readers, if anything is in it."""
        if self._file is not None:
            os.close(self._file)
            _show(self._path)
            self._file, self._size = None, 0
            self._delete_oldest()

    def _close_those_left(self) -> None:
        """Closes the files of processes that were killed, without a line that is not whole."""
        for path in self._folder.glob(f"{OPEN}*{ENDING}"):
            with suppress(OSError), path.open("r+b") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _cut(file.fileno())
                _show(path)

    def _delete_oldest(self) -> None:
        if self._settings.keep is not None:
            closed = sorted(self._folder.glob(f"{OPEN[1:]}*{ENDING}"))
            for path in closed[: -self._settings.keep]:
                path.unlink(missing_ok=True)


def _show(path: Path) -> None:
    """Renames a file so that readers of the folder see it; an empty one is deleted."""
    with suppress(OSError):  # it was deleted by others
        if path.stat().st_size:
            path.rename(path.with_name(path.name[1:]))
        else:
            path.unlink()


def _cut(file: int) -> None:
    """Ends a file after its last line break."""
    content = b"\n" + os.pread(file, os.fstat(file).st_size, 0)
    os.ftruncate(file, content.rindex(b"\n"))


def check(settings: RequestLogSettings, contract: Contract) -> None:
    """Raises ConfigError for a folder that cannot be written to, or a column that is none."""
    if settings.path is not None:
        _Files(settings).close()
    for name in settings.columns or ():
        if name not in contract.columns:
            raise ConfigError(
                f"serve.log.columns has {name!r}, which is no column of the model"
                f"{nearest(name, contract.columns) or '; it has ' + ', '.join(contract.columns)}"
            )
