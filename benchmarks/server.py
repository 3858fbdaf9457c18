"""One server under measurement: its start, its core, its memory, its end."""

import http.client
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import processes

HOST = "127.0.0.1"
POLL = 0.005  # seconds between two looks whether it answers
PATIENCE = 120  # seconds after which a server that does not answer is given up
GRACE = 10  # seconds to leave in order


class Server:
    """A started server that answers."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, seconds: float) -> None:
        self.process = process
        self.port = port
        self.seconds = seconds  # from its start to its first answer

    def pin(self, core: int) -> None:
        """Keeps all its threads, and those that they start, on one core."""
        for pid in processes.descendants(self.process.pid):
            for thread in processes.threads(pid):
                with suppress(ProcessLookupError):  # it has ended since
                    os.sched_setaffinity(thread, {core})

    def memory(self) -> tuple[float, float]:
        """MiB of the largest process, and of all with shared memory counted once."""
        pids = list(processes.descendants(self.process.pid))
        largest = max(map(processes.resident, pids))
        return largest, sum(map(processes.proportional, pids))

    def ask(self, body: bytes) -> bytes:
        """The response to one request. Raises RuntimeError when it isn't 200."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=PATIENCE)
        try:
            connection.request("POST", "/invocations", body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            answer = response.read()
        finally:
            connection.close()
        if response.status != http.client.OK:
            raise RuntimeError(
                f"status {response.status}: {answer.decode(errors='replace')[:2000]}"
            )
        return answer


@contextmanager
def running(
    command: Callable[[int], tuple[str, ...]],
    folder: Path,
    environment: Mapping[str, str],
    log: Path,
) -> Iterator[Server]:
    """Starts it on a free port and waits until it answers; ends it and all below it."""
    port = _free_port()
    with log.open("wb") as output:
        start = time.perf_counter()
        process = subprocess.Popen(
            command(port),
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            _wait(process, port, log)
            yield Server(process, port, time.perf_counter() - start)
        finally:
            with suppress(ProcessLookupError, subprocess.TimeoutExpired):
                os.killpg(process.pid, signal.SIGTERM)
                process.wait(GRACE)
            processes.end(process)


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Returns at the first 200. Raises RuntimeError when it ends before, or takes too long."""
    give_up = time.perf_counter() + PATIENCE
    while not _pings(port):
        if process.poll() is not None or time.perf_counter() > give_up:
            tail = log.read_text(errors="replace")[-3000:]
            raise RuntimeError(f"{process.args!r} does not answer:\n{tail}")
        time.sleep(POLL)


def _pings(port: int) -> bool:
    connection = http.client.HTTPConnection(HOST, port, timeout=1)
    try:
        connection.request("GET", "/ping")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):  # not yet
        return False
    finally:
        connection.close()


def _free_port() -> int:
    with socket.socket() as found:
        found.bind((HOST, 0))
        port: int = found.getsockname()[1]
    return port
