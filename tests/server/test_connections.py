"""What becomes of connections when there are hardly any descriptors left, and when TLS stalls."""

import asyncio
import json
import resource
import socket
import ssl
import time
from contextlib import AsyncExitStack

import pytest

from pipeline.server import connections, telemetry
from pipeline.server.connections import SPARE, WANTED, Connections
from pipeline.server.tls import TLSTimeoutLoop
from tests.server.test_guard import Slow
from tests.server.test_request_head import PING, POST, make_guard
from tests.support.certificates import Certificates
from tests.support.wire import Server, serve


@pytest.mark.parametrize(
    ("soft", "hard", "raised"),
    [
        (256, 4096, 4096),
        (1024, 2**20, WANTED),
        (1024, resource.RLIM_INFINITY, WANTED),
        (256, 256, None),
        (2**20, 2**20, None),
        (resource.RLIM_INFINITY, resource.RLIM_INFINITY, None),
    ],
)
def test_soft_limit_is_raised_as_far_as_it_may(monkeypatch, soft, hard, raised):
    calls = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: calls.append(limits))

    connections.raise_limit()

    assert calls == ([] if raised is None else [(raised, hard)])


def test_system_that_does_not_let_it_be_raised_is_no_fault(monkeypatch):
    def refuses(*_):
        raise ValueError("not allowed to raise maximum limit")

    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, 4096))
    monkeypatch.setattr(resource, "setrlimit", refuses)

    connections.raise_limit()

    assert Connections().make_room()


@pytest.mark.parametrize("limit", [4096, resource.RLIM_INFINITY])
def test_there_is_room_while_descriptors_are_left(monkeypatch, limit):
    monkeypatch.setattr(resource, "getrlimit", lambda _: (limit, limit))

    assert Connections().make_room()


def full(monkeypatch, served=None):
    """A guard whose process has no descriptor left for connections."""
    with monkeypatch.context() as patch:
        patch.setattr(resource, "getrlimit", lambda _: (SPARE, SPARE))
        return make_guard(served)


def logged(capfd, event):
    telemetry.flush()
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    return [line for line in lines if line["event"] == event]


@pytest.mark.parametrize("begun", [b"", b"GET /pi", PING], ids=["nothing", "a part", "a request"])
def test_longest_idle_connection_gives_way_to_a_new_one(monkeypatch, capfd, begun):
    """Whether it never asked, asks slowly or was answered; the log has one line for all."""

    async def talk(server: Server):
        async with AsyncExitStack() as stack:
            idle = [await stack.enter_async_context(server.connect()) for _ in range(5)]
            for client in idle:
                await client.send(begun)
            monkeypatch.setattr(server.guard.connections, "_max", 0)
            new = [await stack.enter_async_context(server.connect()) for _ in range(3)]
            for client in new:
                await client.send(PING)
            return [await client.all() for client in new], [await client.all() for client in idle]

    monkeypatch.setattr("tests.support.wire.PATIENCE", 0.3)
    new, idle = serve(make_guard(), talk)

    assert [talk.statuses for talk in new] == [[200]] * 3
    assert [talk.is_closed for talk in idle] == [True, True, True, False, False]
    (line,) = logged(capfd, "connections_full")
    assert "raise the limit" in line["message"]


def test_connection_with_a_request_under_way_does_not_give_way(monkeypatch, capfd):
    async def talk(server: Server):
        monkeypatch.setattr(server.guard.connections, "_max", 2**20)
        async with server.connect() as at_work:
            await at_work.send(POST)
            monkeypatch.setattr(server.guard.connections, "_max", 0)
            refused = [await server.exchange(b"") for _ in range(20)]
            server.guard.model.go.set()
            return refused, await at_work.all()

    refused, answered = serve(full(monkeypatch, Slow()), talk)

    assert [talk.statuses for talk in refused] == [[503]] * 20
    assert {talk.replies[0].headers["retry-after"] for talk in refused} == {"1"}
    assert all(talk.is_closed for talk in refused)
    assert answered.statuses == [200]
    telemetry.flush()
    written = capfd.readouterr().out.splitlines()
    assert [json.loads(line)["event"] for line in written] == ["connections_full", "request"]


def test_process_without_any_descriptor_says_so_and_goes_on(monkeypatch, capfd):
    def fails(*_):
        raise OSError(24, "Too many open files")

    waiting = Connections()
    with monkeypatch.context() as patch:
        patch.setattr(connections.os, "open", fails)
        rooms = [waiting.make_room() for _ in range(100)]

    assert rooms == [False] * 100
    assert len(logged(capfd, "connections_full")) == 1


@pytest.fixture
def tls(tmp_path):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*Certificates.make(tmp_path).issue("server"))
    return context


HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"


# uvloop's own server of TLS warns when its loop is closed, and hangs if that is an error.
@pytest.mark.filterwarnings("ignore:unclosed resource:ResourceWarning")
@pytest.mark.parametrize("begun", [b"", HELLO], ids=["nothing", "a part"])
def test_handshake_that_stalls_is_cut_in_the_time_of_a_request(tls, begun):
    async def run():
        loop = asyncio.get_running_loop()
        server = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0, ssl=tls)
        with socket.create_connection(server.sockets[0].getsockname()) as client:
            client.sendall(begun)
            client.setblocking(False)
            start = time.monotonic()
            assert await loop.sock_recv(client, 100) == b""
            return time.monotonic() - start

    with asyncio.Runner(loop_factory=lambda: TLSTimeoutLoop(0.5)) as runner:
        assert 0.3 < runner.run(run()) < 20


def test_server_without_tls_takes_no_times_of_tls():
    async def run():
        loop = asyncio.get_running_loop()
        async with await loop.create_server(asyncio.Protocol, "127.0.0.1", 0) as server:
            return server.is_serving()

    with asyncio.Runner(loop_factory=lambda: TLSTimeoutLoop(0.5)) as runner:
        assert runner.run(run())
