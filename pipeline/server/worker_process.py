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
from typing import Any

from pipeline.errors import PipelineError
from pipeline.inference import model_folder
from pipeline.server import background_call, memory_limit, telemetry
from pipeline.server.content_coding import PLAIN, Codings
from pipeline.server.http_error import INTERNAL_ERROR, HTTPError, unavailable
from pipeline.server.log_lines import LoggedRequest, LoggedRows, lines
from pipeline.server.request_json import Reader
from pipeline.server.response import Response, respond

log = logging.getLogger(__name__)

NICENESS = 5  # small requests come first
LONGEST_PAUSE = 30.0  # seconds between two attempts to start it


class StartError(Exception):
    """The process could not be started; the message says why."""


class WorkerProcess:
    """Answers for a model, whose folder `folder` returns, made whole before each start.

    `failure` says why the process cannot be started, while that is so. It is tried again until
    it can.
    """

    def __init__(self, folder: Callable[[], Path], max_rows: int, identity: dict[str, str]) -> None:
        self.failure: str | None = None
        self._folder = folder
        self._arguments = (max_rows, identity)
        self._turn = asyncio.Lock()
        self._process: SpawnProcess | None = None
        self._connection: Connection | None = None  # of a process that is ready
        self._starting: asyncio.Task[None] | None = None
        self._retrying: asyncio.Task[None] | None = None
        self._is_retired = False

    async def answer(
        self,
        body: bytes,
        media_type: str,
        seconds: float,
        codings: Codings = PLAIN,
        logged: LoggedRequest | None = None,
    ) -> Response:
        """Waits for its turn and the answer, both within the time. Raises HTTPError."""
        try:
            async with asyncio.timeout(seconds), self._turn:
                await self._start()
                return await self._ask_in_thread(body, media_type, codings, logged)
        except TimeoutError:
            raise HTTPError(
                504, "answer_seconds", f"the answer takes over {seconds:g} seconds; send fewer rows"
            ) from None
        except StartError:
            message = "the process for this request does not start; try again later"
            raise unavailable("batch", message, round(LONGEST_PAUSE)) from None
        except (EOFError, OSError):
            self.close()
            message = "the answer was lost with its process; send fewer rows"
            raise unavailable("batch", message) from None

    async def _start(self) -> None:
        """Starts the process, if none is ready. It goes on starting when the request ends.

        Raises StartError.
        """
        if self._connection is not None:
            if self._process is not None and self._process.is_alive():
                return
            self.close()  # it died since
        if self._starting is None or self._starting.done():
            self._starting = asyncio.create_task(self._connect())
            self._starting.add_done_callback(_retrieve)
        await asyncio.shield(self._starting)

    async def _connect(self) -> None:
        try:
            self._connection = await background_call.call(self._spawn)
        except (EOFError, OSError, PipelineError) as error:
            self._fail(f"{type(error).__name__}: {error}" if str(error) else "it ended at once")
            raise StartError(self.failure) from None
        if self._is_retired:
            self.close()
        if self.failure is not None:
            telemetry.log("batch_mended")
        self.failure = None

    def _fail(self, reason: str) -> None:
        if self.failure is None:
            telemetry.log("batch_failed", message=reason)
        self.failure = reason
        self.close()
        if self._retrying is None or self._retrying.done():
            self._retrying = asyncio.create_task(self._retry())

    async def _retry(self) -> None:
        """Tries again: of a server that is unhealthy, no request may come any more."""
        pause = 1.0
        while self.failure is not None:
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
            with suppress(StartError):
                await self._start()

    async def _ask_in_thread(self, body: bytes, *about: Any) -> Response:
        """The thread has ended when this ends: for a cancelled request its process is ended."""
        answer = asyncio.ensure_future(background_call.call(self._ask, body, *about))
        try:
            return await asyncio.shield(answer)
        except asyncio.CancelledError:
            while not answer.done():
                self.close()
                await asyncio.wait([answer], timeout=0.05)
            answer.exception()  # is of no interest any more
            raise

    def _ask(self, body: bytes, *about: Any) -> Response:
        connection = self._connection
        if connection is None:  # it was closed meanwhile
            raise EOFError
        connection.send(about)
        connection.send_bytes(body)
        outcome: tuple[int, bool, bool] | HTTPError = connection.recv()
        if isinstance(outcome, HTTPError):
            raise outcome
        rows, is_gzip, is_logged = outcome
        content = connection.recv_bytes()
        return Response(content, rows, is_gzip, connection.recv_bytes() if is_logged else None)

    def _spawn(self) -> Connection:
        """Returns the connection to a new process that has loaded the model.

        Raises EOFError, OSError.
        """
        self._process, connection = start(_run, self._folder(), *self._arguments)
        connection.recv()
        return connection

    def close(self) -> None:
        """Ends the process, whatever it does; the next request starts another."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
        self._process = self._connection = None

    def retire(self) -> None:
        """Ends the process for good."""
        self._is_retired = True
        if self._retrying is not None:
            self._retrying.cancel()
        self.close()


def _retrieve(task: asyncio.Task[None]) -> None:
    """Retrieves an exception that is logged already: nobody may be waiting for it any more."""
    if not task.cancelled():
        task.exception()


def start(run: Callable[..., None], *arguments: Any) -> tuple[SpawnProcess, Connection]:
    """Starts a process beside the server, which calls `run` with the other end of the connection.

    The first that it sends says that it is ready. Raises OSError.
    """
    spawn = multiprocessing.get_context("spawn")
    here, there = spawn.Pipe()
    process = spawn.Process(target=run, args=(there, *arguments), daemon=True)
    process.start()
    there.close()  # else the end of the process would not end a read
    return process, here


def prepare(niceness: int) -> None:
    """Makes this process one beside the server, less urgent than that by so much."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # they are for the server
        signal.signal(number, signal.SIG_IGN)
    telemetry.log_records()
    memory_limit.allocate_from_the_system()
    os.nice(niceness)


def _run(connection: Connection, folder: Path, max_rows: int, identity: dict[str, str]) -> None:
    """Answers until the server ends, which closes the connection."""
    prepare(NICENESS)
    reader = Reader(model_folder.load(folder, identity), max_rows)
    connection.send(None)  # ready
    with suppress(EOFError):
        while True:
            media_type, codings, logged = connection.recv()
            body = connection.recv_bytes()
            try:
                response = respond(reader, body, media_type, False, codings, logged)
            except HTTPError as error:
                connection.send(error)
            except Exception:  # of a model that was not compiled: whatever its classifier raises
                log.exception("the model failed on a request")
                connection.send(INTERNAL_ERROR)
            else:
                rows = response.logged
                connection.send((response.rows, response.is_gzip, rows is not None))
                connection.send_bytes(response.body)
                if isinstance(rows, LoggedRows):
                    connection.send_bytes(lines([rows]))
