"""Bodies that are on their way: they take no places, and their number and bytes are bounded."""

import asyncio
from contextlib import AsyncExitStack, suppress

import pytest

from pipeline.config.serve import Limits
from pipeline.server import protocol
from pipeline.server.http_error import HTTPError
from pipeline.server.uploads import FULL_BODIES, Uploads
from tests.server.test_request_head import LENGTH, POST, head
from tests.support.asgi import GONE, ask, exchange, parts_of
from tests.support.guards import GOOD, SlowModel, make_guard, post
from tests.support.wire import Server, serve

STALLED = head(LENGTH) + GOOD[:9]


def uploads(**limits) -> Uploads:
    return Uploads(Limits(**limits))


def broken_rule(call, *arguments) -> str | None:
    try:
        call(*arguments)
    except HTTPError as error:
        return error.rule
    return None


def test_client_has_so_many_bodies_on_their_way_and_others_theirs():
    bodies = uploads(uploads=2)
    assert [broken_rule(bodies.begin, "a") for _ in range(3)] == [None, None, "uploads"]
    assert broken_rule(bodies.begin, "b") is None
    bodies.end("a")
    assert [broken_rule(bodies.begin, "a") for _ in range(2)] == [None, "uploads"]


def test_client_holds_no_more_than_it_leaves_others():
    bodies = uploads(body_bytes=1000)
    sizes = []
    for client in "abcd":
        size = 0
        while broken_rule(bodies.take, client, 100) is None:
            size += 100
        sizes.append(size)

    room = FULL_BODIES * 1000
    assert sizes == [room / 2, room / 4, room / 8, room / 16]


@pytest.mark.parametrize("size", [1, 1000])
def test_largest_body_fits_where_there_is_no_other(size):
    with uploads(body_bytes=1000).parts("a") as parts:
        for _ in range(1000 // size):
            parts.append(b"x" * size)
        assert b"".join(parts) == b"x" * 1000


@pytest.mark.parametrize("end", [None, HTTPError(413, "", ""), asyncio.CancelledError()])
def test_room_is_free_again_however_a_body_ends(end):
    bodies = uploads(body_bytes=1000)

    def fill():
        with bodies.parts("a") as parts:
            while broken_rule(parts.append, b"x" * 100) is None:
                pass
            sizes.append(parts.size)
            if end is not None:
                raise end

    sizes = []
    for _ in range(3):
        with suppress(HTTPError, asyncio.CancelledError):
            fill()
    assert sizes == [FULL_BODIES * 500] * 3
    assert broken_rule(bodies.take, "b", 1000) is None


def test_body_that_is_not_here_takes_no_place():
    """Places are for what could be answered."""

    async def run():
        guard = make_guard(limits={"concurrency": 1})
        begun = parts_of(GOOD[:5], GOOD[5:])[:1]
        stalled = [asyncio.create_task(exchange(guard, messages=begun)) for _ in range(70)]
        await asyncio.sleep(0)
        done = await exchange(guard, messages=parts_of(GOOD))
        for task in stalled:
            task.cancel()
        return done

    assert asyncio.run(run()).status == 200


def test_body_that_arrives_when_all_places_are_taken_is_asked_to_come_back():
    async def talk(server: Server):
        async with server.connect() as late, server.connect() as first:
            await late.send(STALLED)
            await first.send(POST)
            await late.send(GOOD[9:])
            refused = await late.all()
            server.guard.model.go.set()
            return refused, await first.all()

    refused, first = serve(make_guard(SlowModel(), limits={"concurrency": 1}), talk)

    assert refused.statuses == [503]
    assert refused.replies[0].headers["retry-after"] == "1"
    assert first.statuses == [200]


def test_part_of_a_body_for_which_there_is_no_room_is_refused():
    """With many clients at once: one alone has room for several of the largest bodies."""
    guard = make_guard(limits={"body_bytes": 1000})
    for number in range(40):
        broken_rule(guard.uploads.take, f"10.0.0.{number}", 500)
    refused, fits = post(guard, b"x" * 900, b"x"), post(guard)
    assert (refused.status, refused.headers["retry-after"]) == (503, "1")
    assert fits.status == 200


@pytest.mark.parametrize("messages", [[GONE], [*parts_of(GOOD[:9], b"")[:1], GONE]])
def test_client_that_is_gone_holds_nothing(messages):
    guard = make_guard(limits={"body_bytes": 1000})
    for _ in range(3):
        ask(guard, messages=messages)
    assert broken_rule(guard.uploads.take, "10.0.0.9", FULL_BODIES * 500) is None


@pytest.mark.parametrize("segments", [(POST,), (POST[: -len(GOOD)], GOOD)], ids=["one", "two"])
def test_stalled_uploads_do_not_shut_the_endpoint(monkeypatch, segments):
    """For others, nor for the same client, as long as its bodies come."""
    monkeypatch.setattr(protocol, "CHECK_SECONDS", 0.05)

    async def talk(server: Server):
        async with AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(server.connect()) for _ in range(20)]
            await asyncio.gather(*(client.send(STALLED) for client in clients))
            first = await asyncio.gather(*(client.all() for client in clients))
            stalled = [c for c, talk in zip(clients, first, strict=True) if not talk.is_closed]
            talks = [await server.exchange(*segments) for _ in range(2)]
            other = await stack.enter_async_context(server.connect("127.0.0.2"))
            await other.send(STALLED)
            await asyncio.sleep(0.2)
            await asyncio.gather(*(client.send(GOOD[9:]) for client in (other, *stalled)))
            talks += await asyncio.gather(*(client.all() for client in (other, *stalled)))
            return talks, [talk.statuses for talk in first], dict(server.guard.uploads._slow)

    monkeypatch.setattr("tests.support.wire.PATIENCE", 1.0)
    talks, first, left = serve(make_guard(limits={"uploads": 4, "concurrency": 4}), talk)

    assert [talk.statuses for talk in talks] == [[200]] * 7
    assert sorted(first) == [[]] * 4 + [[503]] * 16
    assert left == {}
