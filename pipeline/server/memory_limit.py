"""A bound on the memory that this process may take on top of what it has."""

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

ARROW_POOL = "ARROW_DEFAULT_MEMORY_POOL"  # read when Arrow allocates for the first time


def allocate_from_the_system() -> None:
    """Makes Arrow, if it is not imported yet, take its memory from the system and give it back.

    Its usual pool takes a gigabyte of address space at once, within which no bound is met.
    """
    os.environ[ARROW_POOL] = "system"


@contextmanager
def at_most(more_bytes: int) -> Iterator[None]:
    """Makes allocations beyond that fail: with MemoryError in Python, likewise in Arrow.

    The bound is on address space (RLIMIT_AS), which Linux keeps, and other systems may not. It
    holds for all threads of the process, so it is for a process that does one thing at a time,
    and whose allocators hold no address space in reserve: see `allocate_from_the_system`.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    bound = psutil.Process().memory_info().vms + more_bytes
    if soft != resource.RLIM_INFINITY:
        bound = min(bound, soft)
    resource.setrlimit(resource.RLIMIT_AS, (bound, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
