"""Bytes to the server's protocol over loopback, and the answers that come back, in one loop."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Container, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, NamedTuple

import uvicorn
import uvloop
from uvicorn.server import ServerState

from pipeline.server.protocol import GuardedProtocol

SILENCE = 0.2  # seconds after which no further answer is expected
PATIENCE = 20.0  # seconds that a test waits for what should come at once
APART = 0.02  # seconds between two segments


class Reply(NamedTuple):
    """One answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def message(self) -> str:
        return str(json.loads(self.body)["message"])


class Talk(NamedTuple):
    """All answers on a connection, and whether the server ended it behind them."""

    replies: list[Reply]
    is_closed: bool

    @property
    def statuses(self) -> list[int]:
        return [reply.status for reply in self.replies]


class Client:
    """A connection of a client that knows nothing of HTTP but where an answer ends."""

    def __init__(self, connected: socket.socket) -> None:
        self.socket = connected
        self.unread = b""
        self.is_closed = False

    async def send(self, data: bytes) -> None:
        """The data, in a segment of its own."""
        with suppress(ConnectionError):
            await asyncio.get_running_loop().sock_sendall(self.socket, data)
        await asyncio.sleep(APART)

    async def read(self) -> Reply | None:
        """The next answer, or None when the server has ended the connection."""
        while b"\r\n\r\n" not in self.unread:
            if not await self._receive():
                return None
        head, _, body = self.unread.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = {name.lower(): value for name, value in (x.split(": ", 1) for x in lines)}
        length = int(headers.get("content-length", 0))
        while len(body) < length:
            assert await self._receive()
            body = self.unread.partition(b"\r\n\r\n")[2]
        self.unread = body[length:]
        return Reply(int(first.split(" ")[1]), headers, body[:length])

    async def all(self, silence: float | None = None) -> Talk:
        """The answers until the server ends the connection, or is silent for so many seconds."""
        replies: list[Reply] = []
        while True:
            try:
                async with asyncio.timeout((silence or SILENCE) if replies else PATIENCE):
                    reply = await self.read()
            except TimeoutError:
                return Talk(replies, False)
            if reply is None:
                return Talk(replies, True)
            replies.append(reply)

    async def _receive(self) -> bool:
        try:
            part = await asyncio.get_running_loop().sock_recv(self.socket, 2**16)
        except ConnectionError:
            return False
        self.unread += part
        return bool(part)


class Server:
    """GuardedProtocol before a guard, on a port of its own."""

    def __init__(self, guard: Any, port: int, state: ServerState) -> None:
        self.guard, self.port, self.state = guard, port, state

    @asynccontextmanager
    async def connect(self, source: str = "127.0.0.1") -> AsyncIterator[Client]:
        """A connection from an address of this machine."""
        with socket.socket() as sock:
            sock.bind((source, 0))
            sock.setblocking(False)
            await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", self.port))
            yield Client(sock)

    async def exchange(self, *segments: bytes, silence: float | None = None) -> Talk:
        """All that comes back for the segments, on a connection of their own."""
        async with self.connect() as client:
            for segment in segments:
                await client.send(segment)
            return await client.all(silence)


def serve(guard: Any, talk: Callable[[Server], Awaitable[Any]], **settings: Any) -> Any:
    """What `talk` returns, with a server that is up meanwhile."""

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await guard(scope, receive, send)

    async def run() -> Any:
        usual = {"ws": "none", "interface": "asgi3", "log_config": None, "access_log": False}
        config = uvicorn.Config(
            application, proxy_headers=False, http=GuardedProtocol, **usual, **settings
        )
        config.load()
        state = ServerState()
        loop = asyncio.get_running_loop()
        server = await loop.create_server(
            lambda: GuardedProtocol(config, state, {"guard": guard}, loop), "127.0.0.1", 0
        )
        async with server:
            result = await talk(Server(guard, server.sockets[0].getsockname()[1], state))
            for connection in list(state.connections):
                connection.transport.abort()
        return result

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(run())


def call(guard: Any, client: Callable[[str], Any]) -> Any:
    """What a client that blocks returns for the server's address, called in a thread beside it."""

    async def talk(server: Server) -> Any:
        return await asyncio.to_thread(client, f"http://127.0.0.1:{server.port}")

    return serve(guard, talk)


def exchange(guard: Any, *segments: bytes, **settings: Any) -> Talk:
    """All that comes back for the segments on one connection."""
    return serve(guard, lambda server: server.exchange(*segments), **settings)


def exchanges(
    guard: Any, named: Mapping[str, Sequence[bytes]], closing: Container[str] = ()
) -> dict[str, Talk]:
    """The same for many connections at once; of those that are closing, the end is waited for."""

    async def talk(server: Server) -> list[Talk]:
        silences = [PATIENCE if name in closing else None for name in named]
        talks = zip(named.values(), silences, strict=True)
        return await asyncio.gather(*(server.exchange(*each, silence=s) for each, s in talks))

    return dict(zip(named, serve(guard, talk), strict=True))
