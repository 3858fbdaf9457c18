"""Runs a command and measures its wall seconds and the memory of its whole process tree."""

import os
import resource
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

POLL = 0.05  # seconds between two looks at the memory
PAGE = os.sysconf("SC_PAGE_SIZE")
MEBIBYTE = 2**20


@dataclass(frozen=True)
class Measurement:
    """What one run took."""

    seconds: float
    cpu: float  # seconds of all its processes, on whichever core
    tree: float  # MiB, peak of the sum of memory over the process tree
    largest: float  # MiB, peak of a single process


def measure(
    command: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    log: Path,
    pss: bool = False,
) -> Measurement:
    """Runs the command in the folder, its output in `log`. Raises RuntimeError when it fails.

    Memory is resident memory, in which each process counts what it shares with others; with
    `pss` it is the proportional set size, whose sum counts such memory once.
    """
    tree = largest = 0.0
    size = _proportional if pss else _resident
    before = _cpu()
    with log.open("wb") as output:
        start = time.perf_counter()
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            while not _has_ended(process):
                sizes = [size(pid) for pid in _descendants(process.pid)]
                tree, largest = max(tree, sum(sizes)), max(largest, *sizes, 0.0)
            seconds = time.perf_counter() - start
        finally:
            _end(process)
    if process.returncode:
        tail = log.read_text(errors="replace")[-3000:]
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}:\n{tail}")
    return Measurement(seconds, _cpu() - before, tree, largest)


def _cpu() -> float:
    """Seconds of all processes that have ended below this one."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    """Waits for one poll, or less when the process ends before."""
    try:
        process.wait(POLL)
    except subprocess.TimeoutExpired:
        return False
    return True


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends what is left of the process group that `measure` started, and it alone."""
    with suppress(ProcessLookupError):  # nothing is left, as it should be
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _descendants(root: int) -> Iterator[int]:
    """The process and all below it; Linux lists a process's children by thread."""
    found = [root]
    while found:
        pid = found.pop()
        yield pid
        try:
            for thread in os.listdir(f"/proc/{pid}/task"):
                found += map(int, Path(f"/proc/{pid}/task/{thread}/children").read_text().split())
        except OSError:  # it has ended since
            continue


def _resident(pid: int) -> float:
    """MiB of memory; 0 when the process has ended since."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE / MEBIBYTE
    except (OSError, IndexError):
        return 0.0


def _proportional(pid: int) -> float:
    """As `_resident`, with shared memory divided by the number of processes that share it."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024
    except (OSError, StopIteration):
        return 0.0
