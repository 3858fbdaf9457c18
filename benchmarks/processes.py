"""What Linux tells of a process and all below it, and how they are ended."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

PAGE = os.sysconf("SC_PAGE_SIZE")
MEBIBYTE = 2**20


def descendants(root: int) -> Iterator[int]:
    """The process and all below it; Linux lists a process's children by thread."""
    found = [root]
    while found:
        pid = found.pop()
        yield pid
        for thread in threads(pid):
            with suppress(OSError):  # it has ended since
                children = Path(f"/proc/{pid}/task/{thread}/children").read_text()
                found += map(int, children.split())


def threads(pid: int) -> list[int]:
    """Its threads by their ids; none when it has ended since."""
    try:
        return [int(name) for name in os.listdir(f"/proc/{pid}/task")]
    except OSError:
        return []


def resident(pid: int) -> float:
    """MiB of memory; 0 when the process has ended since."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE / MEBIBYTE
    except (OSError, IndexError):
        return 0.0


def proportional(pid: int) -> float:
    """As `resident`, with shared memory divided by the number of processes that share it."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024
    except (OSError, StopIteration):
        return 0.0


def end(process: subprocess.Popen[bytes]) -> None:
    """Ends what is left of the process's own group, and it alone."""
    with suppress(ProcessLookupError):  # nothing is left, as it should be
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def leave_in_order() -> None:
    """A SIGTERM ends the program as an error does: what runs is ended, its files are deleted."""
    signal.signal(signal.SIGTERM, _stop)


def _stop(*_: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # `timeout` sends it twice
    sys.exit("stopped")
