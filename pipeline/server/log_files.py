"""Files of lines in a folder: one that grows is hidden, those that are closed are for readers."""

import fcntl
import os
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from pipeline.config.serve import RequestLogSettings
from pipeline.errors import ConfigError

OPEN, ENDING = ".requests-", ".jsonl"  # a file that grows is hidden from those who read the folder


class LogFiles:
    """The file that grows, and those that are closed: they alone are for readers."""

    def __init__(self, settings: RequestLogSettings, key: str = "serve.log.path") -> None:
        """Raises ConfigError, which names the key, for a folder that cannot be written to."""
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
                f"{key} is {settings.path!r}, a folder that cannot be written to: "
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
