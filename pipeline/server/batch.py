"""A process beside the server for requests that would keep it from answering others.

Large bodies go there, and every request for a model that could not be compiled: there alone is
anything unpickled. It answers one request at a time, starts with the first, and is ended and
started anew when an answer takes too long.
"""

import asyncio
import logging
import multiprocessing
import os
import signal
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path

from pipeline import scorer
from pipeline.server import memory, seen
from pipeline.server.answer import Answer, answer
from pipeline.server.payload import Reader
from pipeline.server.refusal import FAULT, Refusal, busy, late

log = logging.getLogger(__name__)

NICENESS = 5  # small requests come first


class Batch:
    """Answers for the model in a folder."""

    def __init__(self, folder: Path, most_rows: int, identity: dict[str, str]) -> None:
        self._arguments = (folder, most_rows, identity)
        self._turn = asyncio.Lock()
        self._process: SpawnProcess | None = None
        self._connection: Connection | None = None

    async def answer(self, body: bytes, kind: str, seconds: float) -> Answer:
        """Waits for its turn and the answer, both within the time. Raises Refusal."""
        try:
            async with asyncio.timeout(seconds), self._turn:
                return await self._in_a_thread(body, kind)
        except TimeoutError:
            raise late(f"the answer takes over {seconds:g} seconds; send fewer rows") from None
        except (EOFError, OSError):
            self.close()
            raise busy("batch", "the answer was lost with its process; send fewer rows") from None

    async def _in_a_thread(self, body: bytes, kind: str) -> Answer:
        """The thread has ended when this ends: for a cancelled request its process is ended."""
        asked = asyncio.ensure_future(asyncio.to_thread(self._ask, body, kind))
        try:
            return await asyncio.shield(asked)
        except asyncio.CancelledError:
            while not asked.done():
                self.close()
                await asyncio.wait([asked], timeout=0.05)
            asked.exception()  # is of no interest any more
            raise

    def _ask(self, body: bytes, kind: str) -> Answer:
        connection = self._connection or self._start()
        connection.send(kind)
        connection.send_bytes(body)
        outcome: int | Refusal = connection.recv()
        if isinstance(outcome, Refusal):
            raise outcome
        return Answer(connection.recv_bytes(), outcome)

    def _start(self) -> Connection:
        spawn = multiprocessing.get_context("spawn")
        own, other = spawn.Pipe()
        self._process = spawn.Process(target=_run, args=(other, *self._arguments), daemon=True)
        self._process.start()
        other.close()  # else the end of the process would not end a read
        self._connection = own
        return own

    def close(self) -> None:
        """Ends the process, whatever it does; the next request starts another."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
        self._process = self._connection = None


def _run(connection: Connection, folder: Path, most_rows: int, identity: dict[str, str]) -> None:
    """Answers until the server ends, which closes the connection."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server to hear
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    seen.log_records()
    memory.allocate_from_the_system()
    os.nice(NICENESS)
    reader = Reader(scorer.load(folder, identity), most_rows)
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
