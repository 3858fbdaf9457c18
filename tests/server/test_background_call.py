import asyncio
import subprocess
import sys
import threading

import pytest

from pipeline.config.paths import PROJECT
from pipeline.server import background_call


def test_call_returns_what_the_function_returns_and_raises_what_it_raises():
    def divide(dividend, divisor):
        return dividend / divisor

    assert asyncio.run(background_call.call(divide, 6, 3)) == 2
    with pytest.raises(ZeroDivisionError):
        background_call.start(divide, 1, 0).result(10)


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()])
def test_what_would_end_a_program_ends_the_call_alone(error):
    def leave():
        raise error

    with pytest.raises(RuntimeError, match=type(error).__name__):
        background_call.start(leave).result(10)


def test_waiting_can_be_given_up_and_the_call_goes_on():
    release, done = threading.Event(), threading.Event()

    def hang():
        release.wait(10)
        done.set()

    async def run():
        async with asyncio.timeout(0.05):
            await background_call.call(hang)

    with pytest.raises(TimeoutError):
        asyncio.run(run())
    assert background_call.is_busy()
    release.set()
    assert done.wait(10)


HANGS = """
import asyncio, threading
from pipeline.server import background_call

async def run():
    async with asyncio.timeout(0.1):
        await background_call.call(threading.Event().wait)

try:
    asyncio.run(run())
except TimeoutError:
    print("given up")
"""


def test_process_ends_while_a_call_hangs():
    command = [sys.executable, "-c", HANGS]
    done = subprocess.run(
        command, cwd=PROJECT, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (0, "given up\n"), done.stderr
