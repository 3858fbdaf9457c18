"""Runs a command and measures its wall seconds and the memory of its whole process tree."""

import resource
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import processes

POLL = 0.05  # seconds between two looks at the memory


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
    *,
    poll: float = POLL,
) -> Measurement:
    """Runs the command in the folder, its output in `log`. Raises RuntimeError when it fails.

    Memory is resident memory, in which each process counts what it shares with others; with
    `pss` it is the proportional set size, whose sum counts such memory once.
    """
    tree = largest = 0.0
    size = processes.proportional if pss else processes.resident
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
            while not _has_ended(process, poll):
                sizes = [size(pid) for pid in processes.descendants(process.pid)]
                tree, largest = max(tree, sum(sizes)), max(largest, *sizes, 0.0)
            seconds = time.perf_counter() - start
        finally:
            processes.end(process)
    if process.returncode:
        tail = log.read_text(errors="replace")[-3000:]
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}:\n{tail}")
    return Measurement(seconds, _cpu() - before, tree, largest)


def _cpu() -> float:
    """Seconds of all processes that have ended below this one."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _has_ended(process: subprocess.Popen[bytes], poll: float) -> bool:
    """Waits for one poll, or less when the process ends before."""
    try:
        process.wait(poll)
    except subprocess.TimeoutExpired:
        return False
    return True
