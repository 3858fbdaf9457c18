"""Whether files have changed on the disk."""

import os
from collections.abc import Sequence


class FileWatch:
    """Compares files by their inode, size and time of change; links are followed."""

    def __init__(self, paths: Sequence[str]) -> None:
        self._paths = paths
        self._stamps = [_stamp(path) for path in paths]

    def has_changed(self) -> bool:
        """Returns whether a file was changed, replaced or deleted since the last call."""
        before, self._stamps = self._stamps, [_stamp(path) for path in self._paths]
        return before != self._stamps


def _stamp(path: str) -> tuple[int, int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns
