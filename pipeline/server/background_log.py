"""A thread that writes lines into files: what requests hand to it is bounded, and none waits."""

import threading
from collections import deque
from typing import Generic, TypeVar
from zlib import crc32

from pipeline.server import telemetry
from pipeline.server.log_files import LogFiles

WRITE_BEHIND = 0.1  # seconds
CLOSE_SECONDS = 1.5  # for what is waiting at the end: a disk may hang

Part = TypeVar("Part")


def in_sample(request_id: str, share: float) -> bool:
    """Whether a request is in a sample. The id alone decides, so several servers take the same."""
    return share >= 1 or crc32(request_id.encode()) < share * 2**32


class BackgroundLog(Generic[Part]):
    """The log of one server process. A size, of parts, is what its queue is bounded by."""

    name = "log"
    most_waiting = 0  # but for one part that is larger
    at_a_time = 1  # the thread lets others go on after parts of that size
    close_seconds = CLOSE_SECONDS

    def __init__(self, files: LogFiles | None) -> None:
        self._files = files
        self._waiting: deque[tuple[Part, int]] = deque()
        self._added = self._taken = 0  # sizes; each is counted by one thread alone
        self._wakes = threading.Event()
        self._is_closing = threading.Event()
        self._is_failing = False
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)
        self._thread.start()

    def hand_over(self, part: Part, size: int) -> bool:
        """Returns at once whether there was room."""
        waiting = self._added - self._taken
        if waiting and waiting + size > self.most_waiting:
            return False
        self._added += size
        self._waiting.append((part, size))
        if not self._wakes.is_set():
            self._wakes.set()
        return True

    def close(self) -> None:
        """Does what is waiting, and closes the file."""
        self._is_closing.set()
        self._wakes.set()
        self._thread.join(self.close_seconds)

    def _work(self, parts: list[Part], size: int) -> None:
        """Does what is to be done with some parts, in the thread."""
        raise NotImplementedError

    def _write(self, lines: bytes) -> None:
        """Appends whole lines or nothing. Raises OSError."""
        if self._files is not None:
            self._files.write(lines)

    def _run(self) -> None:
        while True:
            self._wakes.wait(self._seconds_left())
            self._is_closing.wait(WRITE_BEHIND)
            self._wakes.clear()
            while self._waiting:
                self._work_on_some()
            if self._files and (self._is_closing.is_set() or self._seconds_left() == 0):
                self._files.close()
            if self._is_closing.is_set() and not self._waiting:
                return

    def _seconds_left(self) -> float | None:
        return None if self._files is None else self._files.seconds_left()

    def _work_on_some(self) -> None:
        parts: list[Part] = []
        total = 0
        while self._waiting and total < self.at_a_time:
            part, size = self._waiting.popleft()
            parts.append(part)
            total += size
        self._work(parts, total)
        self._taken += total

    def _report(self, event: str, failure: str | None) -> None:
        """Logs once that it fails, `event_failed`, and once that it no longer does."""
        if (failure is not None) != self._is_failing:
            self._is_failing = failure is not None
            message = {"message": failure} if failure else {}
            telemetry.log(f"{event}_{'failed' if failure else 'mended'}", **message)
