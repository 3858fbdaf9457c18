"""A folder for the temporary files of this process and of those that it starts.

It goes when the process ends. What a process that was killed has left goes at the next start: its
folder is of this user, names its process, and nobody holds its lock or works in it any more.
It imports next to nothing, so that it can be called before all else.
"""

import atexit
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

if sys.platform != "win32":
    import fcntl

PREFIX = "pipeline-"
LONGEST = 68  # characters: multiprocessing puts a socket below, whose path may have some 100
PID_FILE = ".pid"  # of the process that the folder is of
SEMAPHORES = Path("/dev/shm")  # where Linux has them, as sem.loky-PID-...
VARIABLE = "TMPDIR"


def begin() -> Path | None:
    """Cleans up after the dead, and gives this process a folder of its own for temporary files.

    None where none can be made: what needs temporary files says so.
    """
    try:
        return _begin()
    except OSError:
        return None


def _begin() -> Path:
    parent = Path(tempfile.gettempdir())
    if sys.platform == "win32":
        return parent
    for folder in left_behind(parent):
        _remove(folder)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    if len(str(folder)) > LONGEST:
        folder.rmdir()
        return parent
    fcntl.flock(os.open(folder, os.O_RDONLY), fcntl.LOCK_EX)  # held until the process ends
    (folder / PID_FILE).write_text(str(os.getpid()))  # last: without it nobody touches the folder
    tempfile.tempdir = os.environ[VARIABLE] = str(folder)
    atexit.register(_end, folder, os.getpid())
    return folder


def left_behind(parent: Path) -> list[Path]:
    """The folders of processes that have ended without removing them."""
    dead = [folder for folder in parent.glob(f"{PREFIX}*") if _is_dead(folder)]
    if not dead:
        return []
    used = set(_used_by_orphans())
    return [folder for folder in dead if str(folder) not in used]


def _is_dead(folder: Path) -> bool:
    try:
        if folder.lstat().st_uid != os.getuid() or not (folder / PID_FILE).is_file():
            return False
        handle = os.open(folder, os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(handle)
    return True


def _used_by_orphans() -> Iterator[str]:
    """The folders of processes whose parent may have been killed."""
    import psutil  # late: there is seldom anything to clean up

    for process in psutil.process_iter():
        try:
            yield process.environ().get(VARIABLE, "")
        except (psutil.Error, OSError):
            continue


def _remove(folder: Path) -> None:
    try:
        pid = int((folder / PID_FILE).read_text())
    except (OSError, ValueError):
        pid = 0
    if pid and not Path(f"/proc/{pid}").exists():
        for semaphore in SEMAPHORES.glob(f"sem.loky-{pid}-*"):
            if semaphore.stat().st_uid == os.getuid():
                semaphore.unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def _end(folder: Path, pid: int) -> None:
    if os.getpid() == pid:  # a fork has the same list of what is to be done at the end
        shutil.rmtree(folder, ignore_errors=True)
