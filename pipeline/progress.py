"""A line on the terminal that says what takes long, where there is no progress bar."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread

AFTER = 2.0  # seconds


@contextmanager
def stage(text: str) -> Iterator[None]:
    """Shows the text and how long it takes on standard error, if that is a terminal."""
    if not sys.stderr.isatty():
        yield
        return
    ended = Event()
    clock = Thread(target=_show, args=(text, ended), daemon=True)
    clock.start()
    try:
        yield
    finally:
        ended.set()
        clock.join()


def _show(text: str, ended: Event) -> None:
    """Every second from the second on, until the stage has ended; then the line goes."""
    if ended.wait(AFTER):
        return
    from tqdm import tqdm  # with hyperopt: what is quick does without

    line = "{desc}: {elapsed}"
    with tqdm(desc=text, bar_format=line, leave=False, file=sys.stderr) as bar:
        bar.start_t -= AFTER
        while not ended.wait(1.0):
            bar.refresh()
