"""What becomes of connections when there are hardly any descriptors left."""

import asyncio
import resource
from contextlib import AsyncExitStack

import pytest

from pipeline.server import connections
from pipeline.server.connections import SPARE, WANTED, Connections
from tests.server.test_request_head import PING, POST
from tests.support.guards import SlowModel, make_guard
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


@pytest.mark.parametrize("begun", [b"", b"GET /pi", PING], ids=["nothing", "a part", "a request"])
def test_longest_idle_connection_gives_way_to_a_new_one(monkeypatch, log_lines, begun):
    """Whether it never asked, asks slowly or was answered; the log has one line for all."""

    async def talk(server: Server):
        async with AsyncExitStack() as stack:
            idle = [await stack.enter_async_context(server.connect()) for _ in range(4)]
            for client in idle:
                await client.send(begun)
            monkeypatch.setattr(server.guard.connections, "_max", 0)
            new = [await stack.enter_async_context(server.connect()) for _ in range(3)]
            for client in new:
                await client.send(PING)
            talks = await asyncio.gather(*(client.all() for client in (*new, *idle)))
            return talks[:3], talks[3:]

    monkeypatch.setattr("tests.support.wire.PATIENCE", 0.6)
    new, idle = serve(make_guard(), talk)

    assert [talk.statuses for talk in new] == [[200]] * 3
    assert [talk.is_closed for talk in idle] == [True, True, True, False]
    (line,) = [line for line in log_lines() if line["event"] == "connections_full"]
    assert "raise the limit" in line["message"]


def test_connection_with_a_request_under_way_does_not_give_way(monkeypatch, events):
    async def talk(server: Server):
        async with server.connect() as at_work:
            await at_work.send(POST)
            monkeypatch.setattr(server.guard.connections, "_max", 0)
            refused = [await server.exchange(b"") for _ in range(20)]
            server.guard.model.go.set()
            return refused, await at_work.all()

    refused, answered = serve(make_guard(SlowModel()), talk)

    assert [talk.statuses for talk in refused] == [[503]] * 20
    assert {talk.replies[0].headers["retry-after"] for talk in refused} == {"1"}
    assert all(talk.is_closed for talk in refused)
    assert answered.statuses == [200]
    assert events() == ["connections_full", "request"]


def test_process_without_any_descriptor_says_so_and_goes_on(monkeypatch, events):
    def fails(*_):
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(resource, "getrlimit", lambda _: (SPARE, SPARE))
    waiting = Connections()
    with monkeypatch.context() as patch:
        patch.setattr(connections.os, "open", fails)
        rooms = [waiting.make_room() for _ in range(100)]

    assert rooms == [False] * 100
    assert events() == ["connections_full"]
