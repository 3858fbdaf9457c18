"""Folders that only this user may read and write."""

import os
import stat
from pathlib import Path


def make(folder: Path) -> None:
    """Makes the folder, if it is not there. Raises OSError if others can write to it.

    In a folder for everybody's temporary files, somebody else could make what a cleaner deleted.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.lstat()
    is_private = stat.S_ISDIR(status.st_mode) and not status.st_mode & 0o077
    if not is_private or status.st_uid != os.geteuid():
        raise PermissionError(f"{folder} is not a folder of this user alone")
