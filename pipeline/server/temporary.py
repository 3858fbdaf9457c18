"""The folder for temporary files, where a server keeps its copy of the model."""

import errno
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.errors import ConfigError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
NONE = "No usable temporary directory"  # how Python says that it has tried them all
REMEDY = "make room, or name another with the variable TMPDIR"


@contextmanager
def needed() -> Iterator[None]:
    """Raises ConfigError where the folder takes no files."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or ""
        if error.errno in FULL:
            told = f"the folder for temporary files, {tempfile.gettempdir()!r}, is full: {reason}"
            raise ConfigError(f"{told}; {REMEDY}") from None
        if reason.startswith(NONE):
            raise ConfigError(
                f"there is no folder for temporary files: {reason}; {REMEDY}"
            ) from None
        raise
