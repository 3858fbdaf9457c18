"""Bodies that are on their way: they take no places, and their number and bytes are bounded."""

import asyncio

import pytest

from pipeline.config.sections import Limits
from pipeline.server import protocol
from pipeline.server.http_error import HTTPError
from pipeline.server.uploads import FULL_BODIES, Uploads
from tests.server.test_guard import GOOD, Fake, Slow
from tests.server.test_request_head import LENGTH, POST, head, make_guard
from tests.support.asgi import GONE, ask, exchange, parts_of
from tests.support.wire import Server, serve

STALLED = head(LENGTH) + GOOD[:9]


def uploads(**limits) -> Uploads:
    return Uploads(Limits(**limits))


def is_refused(call, *arguments) -> str | None:
    try:
        call(*arguments)
    except HTTPError as refusal:
        return refusal.rule
    return None


def test_client_has_so_many_bodies_on_their_way_and_others_theirs():
    bodies = uploads(uploads=2)

    assert [is_refused(bodies.begin, "a") for _ in range(4)] == [None, None, "uploads", "uploads"]
    assert is_refused(bodies.begin, "b") is None
    bodies.end("a")
    assert [is_refused(bodies.begin, "a") for _ in range(2)] == [None, "uploads"]


def test_client_holds_no_more_than_it_leaves_others():
    bodies = uploads(body_bytes=1000)
    fitting = []
    for client in "abcd":
        size = 0
        while is_refused(bodies.take, client, 100) is None:
            size += 100
        fitting.append(size)

    room = FULL_BODIES * 1000
    assert fitting == [room / 2, room / 4, room / 8, room / 16]


@pytest.mark.parametrize("size", [1, 1000])
def test_largest_body_fits_where_there_is_no_other(size):
    with uploads(body_bytes=1000).partial_body("a") as parts:
        for _ in range(1000 // size):
            parts.add(b"x" * size)
        assert len(parts.whole(b"y")) == 1001


@pytest.mark.parametrize("end", [None, HTTPError(413, "", "", ""), asyncio.CancelledError()])
def test_room_is_free_again_however_a_body_ends(end):
    bodies = uploads(body_bytes=1000)

    def fill():
        with bodies.partial_body("a") as parts:
            while is_refused(parts.add, b"x" * 100) is None:
                pass
            if end is not None:
                raise end
            return parts.size

    for _ in range(3):
        if end is None:
            assert fill() == FULL_BODIES * 500
        else:
            with pytest.raises(type(end)):
                fill()
    assert bodies.partial_body("a").__enter__().size == 0
    assert is_refused(bodies.take, "b", 1000) is None


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


def test_body_that_arrives_when_all_places_are_taken_is_told_to_come_back():
    async def talk(server: Server):
        async with server.connect() as late, server.connect() as first:
            await late.send(STALLED)
            await first.send(POST)
            await late.send(GOOD[9:])
            refused = await late.all()
            server.guard.model.go.set()
            return refused, await first.all()

    refused, first = serve(make_guard(Slow(), limits={"concurrency": 1}), talk)

    assert refused.statuses == [503]
    assert refused.replies[0].headers["retry-after"] == "1"
    assert first.statuses == [200]


def test_part_of_a_body_for_which_there_is_no_room_is_refused():
    """With many clients at once: one alone has room for several of the largest bodies."""
    guard = make_guard(limits={"body_bytes": 1000})
    for number in range(40):
        is_refused(guard.uploads.take, f"10.0.0.{number}", 500)

    refused = ask(guard, messages=parts_of(b"x" * 900, b"x"))
    fits = ask(guard, messages=parts_of(GOOD))

    assert (refused.status, refused.headers["retry-after"]) == (503, "1")
    assert fits.status == 200


@pytest.mark.parametrize("messages", [[GONE], [*parts_of(GOOD[:9], b"")[:1], GONE]])
def test_client_that_is_gone_holds_nothing(messages):
    guard = make_guard(limits={"body_bytes": 1000})

    for _ in range(3):
        ask(guard, messages=messages)

    assert is_refused(guard.uploads.take, "10.0.0.9", FULL_BODIES * 500) is None


@pytest.fixture
def _quick_looks(monkeypatch):
    monkeypatch.setattr(protocol, "CHECK_SECONDS", 0.05)


@pytest.mark.usefixtures("_quick_looks")
@pytest.mark.parametrize("segments", [(POST,), (POST[: -len(GOOD)], GOOD)], ids=["one", "two"])
def test_stalled_uploads_do_not_shut_the_endpoint(segments):
    """For others, nor for the same client, as long as its bodies come."""

    async def talk(server: Server):
        stalled = [server.connect() for _ in range(20)]
        clients = [await client.__aenter__() for client in stalled]
        for client in clients:
            await client.send(STALLED)
        await asyncio.sleep(0.4)
        talks = [await server.exchange(*segments) for _ in range(2)]
        async with server.connect("127.0.0.2") as other:
            await other.send(STALLED)
            await asyncio.sleep(0.4)
            await other.send(GOOD[9:])
            talks.append(await other.all())
        cut = [(await client.all()).statuses for client in clients[4:]]
        for client in clients[:4]:
            await client.send(GOOD[9:])
        whole = [(await client.all()).statuses for client in clients[:4]]
        for client in stalled:
            await client.__aexit__(None, None, None)
        return talks, cut, whole, dict(server.guard.uploads._slow)

    guard = make_guard(Fake(), limits={"uploads": 4, "concurrency": 4})

    talks, cut, whole, left = serve(guard, talk)

    assert [talk.statuses for talk in talks] == [[200]] * 3
    assert cut == [[503]] * 16
    assert whole == [[200]] * 4
    assert left == {}
