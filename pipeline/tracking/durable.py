"""What is written stays: from the system's memory to the disk."""

import os
from pathlib import Path


def sync(folder: Path) -> None:
    """Every file and folder below, and the folder's own name."""
    for root, _, names in os.walk(folder):
        for name in names:
            _sync(Path(root) / name)
        _sync(Path(root))
    _sync(folder.parent)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
