"""A process beside the server for requests that would keep it from answering others.

Large bodies go there, and every request for a model that could not be compiled: there alone is
anything unpickled. It answers one request at a time, starts with the first, and is ended and
started anew when an answer takes too long. One that is starting is not: no request is long in it.
"""

import asyncio
import logging
import multiprocessing
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path

from pipeline.errors import PipelineError
from pipeline.inference import predictor as scorer
from pipeline.server import detached, memory
from pipeline.server import telemetry as seen
from pipeline.server.answer import Answer, answer
from pipeline.server.refusal import FAULT, Refusal, busy, late
from pipeline.server.request_json import Reader

log = logging.getLogger(__name__)

NICENESS = 5  # small requests come first
LONGEST_PAUSE = 30.0  # seconds between two attempts to start it


class NotStarted(Exception):
    """The process could not be started; the message says why."""


class Batch:
    """Answers for a model, whose folder `folder` returns, made whole before each start.

    `failure` says why the process cannot be started, while that is so. It is tried again until
    it can.
    """

    def __init__(
        self, folder: Callable[[], Path], most_rows: int, identity: dict[str, str]
    ) -> None:
        self.failure: str | None = None
        self._folder = folder
        self._arguments = (most_rows, identity)
        self._turn = asyncio.Lock()
        self._process: SpawnProcess | None = None
        self._connection: Connection | None = None  # of a process that is ready
        self._starting: asyncio.Task[None] | None = None
        self._mending: asyncio.Task[None] | None = None
        self._is_retired = False

    async def answer(self, body: bytes, kind: str, seconds: float) -> Answer:
        """Waits for its turn and the answer, both within the time. Raises Refusal."""
        try:
            async with asyncio.timeout(seconds), self._turn:
                await self._start()
                return await self._in_a_thread(body, kind)
        except TimeoutError:
            raise late(f"the answer takes over {seconds:g} seconds; send fewer rows") from None
        except NotStarted:
            message = "the process for this request does not start; try again later"
            raise busy("batch", message, round(LONGEST_PAUSE)) from None
        except (EOFError, OSError):
            self.close()
            raise busy("batch", "the answer was lost with its process; send fewer rows") from None

    async def _start(self) -> None:
        """Starts the process, if none is ready. It goes on starting when the request ends.

        Raises NotStarted.
        """
        if self._connection is not None:
            if self._process is not None and self._process.is_alive():
                return
            self.close()  # it died since
        if self._starting is None or self._starting.done():
            self._starting = asyncio.create_task(self._begin())
            self._starting.add_done_callback(_retrieve)
        await asyncio.shield(self._starting)

    async def _begin(self) -> None:
        try:
            self._connection = await detached.call(self._spawn)
        except (EOFError, OSError, PipelineError) as error:
            self._fail(f"{type(error).__name__}: {error}" if str(error) else "it ended at once")
            raise NotStarted(self.failure) from None
        if self._is_retired:
            self.close()
        if self.failure is not None:
            seen.log("batch_mended")
        self.failure = None

    def _fail(self, why: str) -> None:
        if self.failure is None:
            seen.log("batch_failed", message=why)
        self.failure = why
        self.close()
        if self._mending is None or self._mending.done():
            self._mending = asyncio.create_task(self._mend())

    async def _mend(self) -> None:
        """Tries again: of a server that is unhealthy, no request may come any more."""
        pause = 1.0
        while self.failure is not None:
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
            with suppress(NotStarted):
                await self._start()

    async def _in_a_thread(self, body: bytes, kind: str) -> Answer:
        """The thread has ended when this ends: for a cancelled request its process is ended."""
        asked = asyncio.ensure_future(detached.call(self._ask, body, kind))
        try:
            return await asyncio.shield(asked)
        except asyncio.CancelledError:
            while not asked.done():
                self.close()
                await asyncio.wait([asked], timeout=0.05)
            asked.exception()  # is of no interest any more
            raise

    def _ask(self, body: bytes, kind: str) -> Answer:
        connection = self._connection
        if connection is None:  # it was closed meanwhile
            raise EOFError
        connection.send(kind)
        connection.send_bytes(body)
        outcome: int | Refusal = connection.recv()
        if isinstance(outcome, Refusal):
            raise outcome
        return Answer(connection.recv_bytes(), outcome)

    def _spawn(self) -> Connection:
        """The connection to a new process that has loaded the model. Raises EOFError, OSError."""
        spawn = multiprocessing.get_context("spawn")
        own, other = spawn.Pipe()
        process = spawn.Process(
            target=_run, args=(other, self._folder(), *self._arguments), daemon=True
        )
        self._process = process
        process.start()
        other.close()  # else the end of the process would not end a read
        own.recv()
        return own

    def close(self) -> None:
        """Ends the process, whatever it does; the next request starts another."""
        if self._process is not None and self._process.pid is not None:
            self._process.kill()
            self._process.join()
        self._process = self._connection = None

    def retire(self) -> None:
        """Ends the process for good."""
        self._is_retired = True
        if self._mending is not None:
            self._mending.cancel()
        self.close()


def _retrieve(task: asyncio.Task[None]) -> None:
    """Its exception is logged already: nobody may be waiting for it any more."""
    if not task.cancelled():
        task.exception()


def _run(connection: Connection, folder: Path, most_rows: int, identity: dict[str, str]) -> None:
    """Answers until the server ends, which closes the connection."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # they are for the server
        signal.signal(number, signal.SIG_IGN)
    seen.log_records()
    memory.allocate_from_the_system()
    os.nice(NICENESS)
    reader = Reader(scorer.load(folder, identity), most_rows)
    connection.send(None)  # ready
    while True:
        try:
            kind = connection.recv()
            body = connection.recv_bytes()
        except EOFError:
            return
        try:
            found = answer(reader, body, kind, is_quick=False)
        except Refusal as refusal:
            connection.send(refusal)
            continue
        except Exception:  # of a model that was not compiled: whatever its classifier raises
            log.exception("the model failed on a request")
            connection.send(FAULT)
            continue
        connection.send(found.rows)
        connection.send_bytes(found.body)
