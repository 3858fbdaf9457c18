"""Calls in daemon threads, for what may never return: a registry that hangs, a file that is away.

The threads of an executor are joined when the interpreter ends, these are not: the process ends
while they still wait.
"""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

Result = TypeVar("Result")

_running: set[Future[Any]] = set()


def start(function: Callable[..., Result], *arguments: Any) -> Future[Result]:
    """Starts the call in a thread of its own. Whatever it raises, the future holds an Exception."""
    future: Future[Result] = Future()
    future.set_running_or_notify_cancel()  # it cannot be cancelled any more

    def run() -> None:
        try:
            future.set_result(function(*arguments))
        except Exception as error:
            future.set_exception(error)
        except BaseException as error:  # such as SystemExit of a plugin: it ends the call alone
            future.set_exception(RuntimeError(repr(error)))

    _running.add(future)
    future.add_done_callback(_running.discard)
    threading.Thread(target=run, name=f"background {function.__qualname__}", daemon=True).start()
    return future


async def call(function: Callable[..., Result], *arguments: Any) -> Result:
    """Returns the result of the call. Cancelling stops the waiting, not the call."""
    return await asyncio.wrap_future(start(function, *arguments))


def is_busy() -> bool:
    """Returns whether a call has not returned yet."""
    return bool(_running)
