"""The folder for temporary files, where a server keeps its copy of the model."""

import errno
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import ConfigError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
NONE_USABLE = "No usable temporary directory"  # how Python says that it has tried them all
REMEDY = "make room, or name another with the variable TMPDIR"


@contextmanager
def required() -> Iterator[None]:
    """Turns an OSError of a folder that is full or not there into a ConfigError."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or ""
        if error.errno in FULL:
            message = f"the folder for temporary files, {tempfile.gettempdir()!r}, is full"
        elif reason.startswith(NONE_USABLE):
            message = "there is no folder for temporary files"
        else:
            raise
        raise ConfigError(f"{message}: {reason}; {REMEDY}") from None


def make_private(folder: Path) -> None:
    """Makes the folder, if it is not there. Raises OSError if others can write to it.

    In a folder for everybody's temporary files, somebody else could make what a cleaner deleted.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.lstat()
    is_private = stat.S_ISDIR(status.st_mode) and not status.st_mode & 0o077
    if not is_private or status.st_uid != os.geteuid():
        raise PermissionError(f"{folder} is not a folder of this user alone")
