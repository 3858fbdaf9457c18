"""Whether files have changed on the disk."""

import os
from collections.abc import Sequence

Stamp = tuple[int, int, int] | None


class Changes:
    """Looks at files by their inode, size and time of change; links are followed."""

    def __init__(self, paths: Sequence[str]) -> None:
        self._paths = paths
        self._stamps = self._look()

    def are_new(self) -> bool:
        """Whether one was changed, replaced or deleted since the last time this was asked."""
        stamps = self._look()
        changed = stamps != self._stamps
        self._stamps = stamps
        return changed

    def _look(self) -> list[Stamp]:
        return [_stamp(path) for path in self._paths]


def _stamp(path: str) -> Stamp:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns
