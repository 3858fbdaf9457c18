"""Several server processes on one port: started, watched, replaced and ended.

uvicorn's own supervisor ends all workers when one cannot start, takes a worker that is still
importing for one that hangs, and waits for a worker without hearing signals.
"""

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType

import uvicorn
from uvicorn.supervisors.multiprocess import Process

from pipeline.errors import ModelError
from pipeline.server import background_call, telemetry

CHECK_SECONDS = 0.25  # between two checks of the workers
MAX_FAILED_STARTS = 5  # one after the other, with no worker that answers
LONGEST_PAUSE = 30.0  # seconds until a worker that did not start is tried once more
MARGIN = 2.0  # seconds beyond the grace, to close what is open


@contextmanager
def clean_exit() -> Iterator[None]:
    """Writes the log at the end, and ends the process there if a call hangs.

    The interpreter would wait for the threads in which MLflow fetches files.
    """
    try:
        yield
    finally:
        telemetry.flush()
    if background_call.is_busy():
        os._exit(0)


class Server(uvicorn.Server):
    """uvicorn's server, which has ended soon after the grace, whatever still runs."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begins to end at a signal."""
        if not self.should_exit:
            grace = self.config.timeout_graceful_shutdown or 0
            end = threading.Timer(grace + MARGIN, os._exit, [0])
            end.daemon = True
            end.start()
        super().handle_exit(sig, frame)


class Worker(Process):
    """A server process, and when it was last asked whether it is alive.

    It says nothing while it imports: only one that was ready before can be silent for too long.
    """

    def __init__(self, config: uvicorn.Config, sockets: list[socket.socket]) -> None:
        super().__init__(config, sockets)
        self.is_up = False  # it has answered requests
        self._asked_at: float | None = None

    def start(self) -> None:
        """Starts it; until it has a handler of its own, SIGHUP must not end it."""
        handler = signal.signal(signal.SIGHUP, signal.SIG_IGN)
        try:
            super().start()
        finally:
            signal.signal(signal.SIGHUP, handler)

    def target(self, sockets: list[socket.socket] | None = None) -> None:
        """Runs the server, which is made before the thread that answers for it."""
        self._server = Server(config=self.config)
        with clean_exit():
            super().target(sockets)

    def silence(self) -> float:
        """Asks, without waiting; returns the seconds for which a worker owes the answer."""
        now = time.monotonic()
        try:
            if self._asked_at is not None and self.parent_conn.poll():
                self.is_up = self.parent_conn.recv() or self.is_up
                self._asked_at = None
            if self._asked_at is None:
                self.parent_conn.send(b"ping")
                self._asked_at = now
        except (OSError, EOFError):  # it is ending
            return 0.0
        return now - self._asked_at if self.is_up else 0.0


@dataclass
class Slot:
    """The place of one worker: the one that is there, or the time at which one is started."""

    worker: Worker | None = None
    failed_starts: int = 0
    start_at: float = 0.0


class Supervisor:
    """Keeps a number of workers on the sockets, until it is told to stop."""

    def __init__(self, config: uvicorn.Config, sockets: list[socket.socket]) -> None:
        self.config = config
        self.sockets = sockets
        self.slots = [Slot() for _ in range(config.workers)]
        self._is_stopping = threading.Event()
        self._reload_requested = threading.Event()

    def run(self) -> None:
        """Returns when it was told to stop. Raises ModelError when no worker can start."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._is_stopping.set())
        signal.signal(signal.SIGHUP, lambda *_: self._reload_requested.set())
        try:
            while not self._is_stopping.wait(CHECK_SECONDS):
                for slot in self.slots:
                    self._check(slot)
                if self._reload_requested.is_set():
                    self._reload_requested.clear()
                    self._reload()
        finally:
            self._end()

    def _check(self, slot: Slot) -> None:
        worker = slot.worker
        if worker is None:
            if time.monotonic() >= slot.start_at:
                telemetry.restore()  # where it counts
                slot.worker = Worker(self.config, self.sockets)
                slot.worker.start()
            return
        silence = worker.silence()
        if worker.process.is_alive():
            if worker.is_up:
                slot.failed_starts = 0
            if silence <= self.config.timeout_worker_healthcheck:
                return
            telemetry.log("worker_silent", pid=worker.pid, seconds=round(silence))
            worker.process.kill()
        worker.process.join()
        self._replace(slot, worker)

    def _replace(self, slot: Slot, worker: Worker) -> None:
        """Makes the slot free: at once, if it was up; otherwise after a pause that grows."""
        slot.worker = None
        status = worker.exitcode
        if worker.is_up:
            telemetry.log("worker_died", pid=worker.pid, status=status)
            return
        slot.failed_starts += 1
        pause = min(2.0 ** (slot.failed_starts - 1), LONGEST_PAUSE)
        slot.start_at = time.monotonic() + pause
        telemetry.log("worker_not_started", pid=worker.pid, status=status, again_in=pause)
        if slot.failed_starts >= MAX_FAILED_STARTS and not any(
            other.is_up for other in self._workers()
        ):
            raise ModelError(
                f"a worker ended {slot.failed_starts} times before it was ready, at last with "
                f"status {status}, and no other is up; its lines above say why"
            )

    def _workers(self) -> list[Worker]:
        return [slot.worker for slot in self.slots if slot.worker is not None]

    def _reload(self) -> None:
        """Hands SIGHUP on: workers read keys and certificates again."""
        for worker in self._workers():
            if worker.pid is not None:
                with suppress(ProcessLookupError):
                    os.kill(worker.pid, signal.SIGHUP)

    def _end(self) -> None:
        """Lets the workers finish what is in flight, and kills those that have not after that."""
        workers = self._workers()
        for worker in workers:
            worker.terminate()
        until = time.monotonic() + (self.config.timeout_graceful_shutdown or 0) + 2 * MARGIN
        for worker in workers:
            worker.process.join(max(0.0, until - time.monotonic()))
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
