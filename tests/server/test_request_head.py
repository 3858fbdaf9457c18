"""Whole requests, and those whose end or meaning is in doubt, over the wire before a stub model."""

import pytest

from tests.support.guards import GOOD, SlowModel, make_guard
from tests.support.pima import PATIENT, text
from tests.support.wire import Server, exchange, exchanges, serve

HOST = b"Host: localhost\r\n"
TYPE = b"Content-Type: application/json\r\n"
LENGTH = b"Content-Length: %d\r\n" % len(GOOD)
CHUNKED = b"Transfer-Encoding: chunked\r\n"
CHUNKS = b"%x\r\n" % len(GOOD) + GOOD + b"\r\n0\r\n\r\n"
UPGRADE = b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
H2C = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"
PING = b"GET /ping HTTP/1.1\r\n" + HOST + b"\r\n"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"


def head(*headers: bytes, first: bytes = b"POST /invocations HTTP/1.1") -> bytes:
    return first + b"\r\n" + HOST + TYPE + b"".join(headers) + b"\r\n"


def get(target: bytes, *headers: bytes, version: bytes = b"HTTP/1.1") -> bytes:
    return b"GET " + target + b" " + version + b"\r\n" + b"".join(headers) + b"\r\n"


POST = head(LENGTH) + GOOD
ANSWERED = {
    "plain": (POST,),
    "byte by byte": tuple(POST[at : at + 40] for at in range(0, len(POST), 40)),
    "in chunks": (head(CHUNKED) + CHUNKS,),
    "in chunks, in capitals": (head(b"TRANSFER-ENCODING: Chunked\r\n") + CHUNKS,),
    "a chunk's extension": (head(CHUNKED) + CHUNKS.replace(b"\r\n", b";a=b\r\n", 1),),
    "an offer of codings": (head(LENGTH, b"TE: gzip, chunked\r\n") + GOOD,),
    "an absolute target": (
        head(LENGTH, first=b"POST http://localhost/invocations HTTP/1.1") + GOOD,
    ),
    "an expectation": (head(LENGTH, b"Expect: 200-ok\r\n") + GOOD,),
    "two cookies": (head(LENGTH, b"Cookie: a\r\n", b"Cookie: b\r\n") + GOOD,),
    "empty lines before": (b"\r\n\r\n" + POST,),
    "an upgrade, and then the end": (
        head(LENGTH, UPGRADE.replace(b"n: U", b"n: close, U")) + GOOD,
    ),
    "an upgrade in HTTP/1.0": (head(LENGTH, UPGRADE, first=b"POST /invocations HTTP/1.0"), GOOD),
    "HTTP/1.0": (head(LENGTH, first=b"POST /invocations HTTP/1.0") + GOOD,),
    **{
        f"an upgrade to {name}{where}": segments
        for name, upgrade in {"websocket": UPGRADE, "h2c": H2C}.items()
        for where, segments in {
            "": (head(LENGTH, upgrade) + GOOD,),
            ", the body later": (head(LENGTH, upgrade), GOOD),
            ", the body in two parts": (head(LENGTH, upgrade) + GOOD[:9], GOOD[9:]),
            ", in chunks": (head(CHUNKED, upgrade), CHUNKS),
            ", the head in two parts": (
                head(upgrade, LENGTH)[:60],
                head(upgrade, LENGTH)[60:] + GOOD,
            ),
        }.items()
    },
}


def test_whole_request_is_answered():
    closing = {name for name in ANSWERED if "HTTP/1.0" in name or "the end" in name}

    talks = exchanges(make_guard(), ANSWERED, closing)

    wrong = {
        name: talk
        for name, talk in talks.items()
        if [b"predictions" in reply.body for reply in talk.replies] != [True]
        or talk.is_closed is not (name in closing)
    }
    assert wrong == {}


REFUSED = {
    # Where the body ends. (request, status, rule, a part of the message)
    "no length": (head() + GOOD, 411, "content_length", "send Content-Length or chunks"),
    "no length and no body": (head(), 411, "content_length", "POST takes a body"),
    "a length with _": (head(b"Content_Length: 5\r\n") + GOOD, 411, "content_length", "POST"),
    "two lengths": (head(LENGTH, LENGTH) + GOOD, 400, "http", "Content-Length"),
    "two lengths that differ": (head(LENGTH, b"Content-Length: 3\r\n") + GOOD, 400, "http", "Len"),
    **{
        f"the length {length}": (head(b"Content-Length: %b\r\n" % length), 400, "http", "Length")
        for length in (b"+5", b"-1", b"0x10", b"5, 5", b"5 5", b"1e3", b"9" * 30, b"\xb2")
    },
    "a length and chunks": (head(LENGTH, CHUNKED) + CHUNKS, 400, "http", "Transfer-Encoding"),
    "chunks and a length": (head(CHUNKED, LENGTH) + CHUNKS, 400, "http", "Content-Length"),
    **{
        f"the codings {codings}": (
            head(*(b"Transfer-Encoding: %b\r\n" % coding for coding in codings)) + CHUNKS,
            *refused,
        )
        for refused, each in {
            (501, "transfer_encoding", "only chunked is read"): [
                *([b"gzip, chunked"], [b"gzip", b"chunked"]),
            ],
            (400, "transfer_encoding", "must be chunked"): [
                *([b"gzip"], [b"identity"], [b"xchunked"], [b"chunked;a=b"], [b"chunke"]),
            ],
            (400, "http", "HTTP/1.1"): [
                *([b"chunked, chunked"], [b"chunked, gzip"], [b""], [b"\x0bchunked"]),
                [b"\r\n chunked"],
            ],
        }.items()
        for codings in each
    },
    "chunks in HTTP/1.0": (
        head(CHUNKED, first=b"POST /invocations HTTP/1.0") + CHUNKS,
        *(400, "transfer_encoding", "HTTP/1.0"),
    ),
    **{
        f"the chunk size {size}": (
            head(CHUNKED) + size + b"\r\n" + GOOD + b"\r\n0\r\n\r\n",
            *(400, "http", "hunk"),
        )
        for size in (b"zz", b"-1", b"0x5", b"f" * 17, b"5", b" 5", b"")
    },
    "bare line feeds in chunks": (head(CHUNKED) + b"5\n12345\n0\n\n", 400, "http", "chunk"),
    # Whom it is for.
    "two hosts": (get(b"/ping", HOST, b"Host: evil.org\r\n"), 400, "repeated_header", "host"),
    "the same host twice": (get(b"/ping", HOST, HOST), 400, "repeated_header", "host"),
    "no host": (get(b"/ping"), 400, "host", "send it"),
    **{
        f"the host {host}": (get(b"/ping", b"Host: %b\r\n" % host), 400, "host", "Host")
        for host in (b"a b", b"a/b", b"u@a", b"a:b", b"[::1", b"a, b", b"\xe9")
    },
    "a target on another host": (get(b"http://evil.org/ping", HOST), 400, "host", "different"),
    "a target with a user": (get(b"http://a@localhost/ping", HOST), 400, "host", "different"),
    "a target of another scheme": (get(b"ftp://localhost/ping", HOST), 400, "target", "a path"),
    "a target that is *": (get(b"*", HOST), 400, "target", "must be a path"),
    **{
        f"two headers {name}": (
            head(LENGTH, *(b"%b: %d\r\n" % (name, i) for i in range(2))) + GOOD,
            *(400, "repeated_header", "is there twice"),
        )
        for name in (b"Authorization", b"X-API-Key", b"content-type")
    },
    # What is spoken.
    **{
        f"HTTP {version}": (get(b"/ping", HOST, version=version), 505, "http_version", "HTTP/1.1")
        for version in (b"HTTP/2.0", b"HTTP/3.0", b"HTTP/1.2", b"HTTP/0.9")
    },
    "HTTP/2 by prior knowledge": (PREFACE, 505, "http_version", "use HTTP/1.1"),
    "HTTP/2.0 and an upgrade": (
        head(LENGTH, H2C, first=b"POST /invocations HTTP/2.0") + GOOD,
        *(505, "http_version", "use HTTP/1.1"),
    ),
    "CONNECT": (b"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", 501, "method", "no proxy"),
    "CONNECT to a path": (
        head(LENGTH, UPGRADE, first=b"CONNECT /invocations HTTP/1.1") + GOOD,
        *(501, "method", "no proxy"),
    ),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, "http", "is not HTTP/1.1"),
    "bare line feeds": (PING.replace(b"\r\n", b"\n"), 400, "http", "is not HTTP/1.1"),
    "a folded header": (get(b"/ping", HOST, b"X: a\r\n b\r\n"), 400, "http", "whitespace"),
    "a space before a colon": (get(b"/ping", HOST, b"X : a\r\n"), 400, "http", "is not HTTP/1.1"),
    "a space before a name": (get(b"/ping", b" ", HOST), 400, "http", "is not HTTP/1.1"),
    "a bare carriage return": (get(b"/ping", HOST, b"X: a\rb\r\n"), 400, "http", "HTTP/1.1"),
    "a NUL in a header": (get(b"/ping", HOST, b"X: a\x00b\r\n"), 400, "http", "is not HTTP/1.1"),
    "no colon": (get(b"/ping", HOST, b"X\r\n"), 400, "http", "is not HTTP/1.1"),
}


@pytest.mark.parametrize("before", [b"", PING, POST + PING], ids=["first", "second", "third"])
def test_request_in_doubt_is_refused_in_its_turn_and_ends_the_connection(before, log_lines):
    """What follows is not read: it may be its body."""
    segments = {name: [before + request + PING] for name, (request, *_) in REFUSED.items()}

    talks = exchanges(make_guard(), segments, closing=REFUSED)

    rules = {line["request_id"]: line["rule"] for line in log_lines()}
    wrong = {}
    for name, (_, status, rule, words) in REFUSED.items():
        *answered, refused = talks[name].replies
        is_right = (
            [reply.status for reply in answered] == [200] * before.count(b" HTTP/1.1\r\n")
            and talks[name].is_closed
            and (refused.status, refused.headers["connection"]) == (status, "close")
            and refused.headers["content-type"] == "application/json"
            and refused.headers["x-model-version"] == "7"
            and words in refused.message
            and rules[refused.headers["x-request-id"]] == rule
        )
        if not is_right:
            wrong[name] = talks[name]
    assert wrong == {}


def test_request_in_doubt_is_refused_when_it_comes_in_pieces():
    pieces = {
        name: [request[:30], request[30:90], request[90:]]
        for name, (request, *_) in REFUSED.items()
    }

    talks = exchanges(make_guard(), pieces, closing=REFUSED)

    wrong = {
        name: talk
        for name, talk in talks.items()
        if talk.statuses != [REFUSED[name][1]] or not talk.is_closed
    }
    assert wrong == {}


@pytest.mark.parametrize("upgrade", [b"", UPGRADE, H2C], ids=["none", "websocket", "h2c"])
@pytest.mark.parametrize("is_late", [False, True])
def test_body_is_never_read_as_a_request(upgrade, is_late):
    hidden = b"GET /model HTTP/1.1\r\n" + HOST + b"\r\n"
    outer = head(b"Content-Length: %d\r\n" % len(hidden), upgrade)
    talk = exchange(make_guard(), *([outer, hidden + PING] if is_late else [outer + hidden + PING]))
    assert talk.statuses == [400, 200]
    assert "not valid JSON" in talk.replies[0].message
    assert talk.replies[1].body == b"/ping"
    assert not talk.is_closed


EXPECT = b"Expect: 100-continue\r\n"
OLD = b"POST /invocations HTTP/1.0"
# They could name another host or key than the one that a proxy has looked at.
TRAILERS = b"Host: evil.org\r\nContent-Type: text/csv\r\nX-API-Key: x\r\n\r\n"
TALKS = {
    # The statuses of all answers, whether the connection ends behind them, and the segments.
    "many upgrades": ([200] * 501, False, (head(LENGTH, UPGRADE) + GOOD) * 500 + PING),
    **{
        f"requests before the garbage {garbage}": ([200, 200, 400], True, POST * 2 + garbage)
        for garbage in (b"garbage\r\n\r\n", b"\x00\xff", b"{}")
    },
    "the end": ([200], True, head(LENGTH, b"Connection: close\r\n") + GOOD + PING),
    "trailers": ([200, 200], False, head(CHUNKED) + CHUNKS[:-2] + TRAILERS + PING),
    # What belongs to no body is bounded as headers are.
    "a long trailer": ([431], True, head(CHUNKED) + CHUNKS[:-2] + b"X: ", *[b"a" * 400] * 6),
    "many trailers": ([431], True, head(CHUNKED) + CHUNKS[:-2], *[b"X: a\r\n" * 100] * 6),
    "a long chunk's extension": ([431], True, head(CHUNKED) + b"5;a=", *[b"a" * 400] * 6),
    "empty lines": ([431], True, *[b"\r\n" * 200] * 6),
    "small requests in a large segment": ([200] * 51, False, POST * 50 + PING[:-4], PING[-4:]),
    "large headers": ([200, 431], True, POST + get(b"/ping", HOST, b"X: " + b"a" * 2000 + b"\r\n")),
    "a body that waits to be asked for": ([100, 200], False, head(LENGTH, EXPECT), GOOD),
    # It may leave the body out: its next request must not be read as the body.
    "a body that is refused unasked": (
        *([413], True),
        *(head(b"Content-Length: 99999999999\r\n", EXPECT), PING),
    ),
    "a body that waits in HTTP/1.0": ([200], True, head(LENGTH, EXPECT, first=OLD), GOOD),
    **{
        f"a body for {method}, {framing}": (
            *([status, 200], False),
            head(framing, first=method + b" /ping HTTP/1.1") + body + PING,
        )
        for method, status in ((b"GET", 200), (b"OPTIONS", 405))
        for framing, body in ((LENGTH, GOOD), (CHUNKED, CHUNKS))
    },
    **{
        f"OPTIONS {target}": (
            [404],
            False,
            b"OPTIONS " + target + b" HTTP/1.1\r\n" + HOST + b"\r\n",
        )
        for target in (b"*", b"http://localhost")
    },
}


def test_requests_are_answered_as_far_as_their_bounds_are_certain():
    segments = {name: segments for name, (_, _, *segments) in TALKS.items()}
    closing = {name for name, (_, is_closed, *_) in TALKS.items() if is_closed}
    talks = exchanges(make_guard(limits={"header_bytes": 1000}), segments, closing)
    expected = {name: (statuses, is_closed) for name, (statuses, is_closed, *_) in TALKS.items()}
    assert {name: (talk.statuses, talk.is_closed) for name, talk in talks.items()} == expected


def test_slow_answer_comes_before_the_refusal_of_what_follows():
    """Also where the refused request had its place in the queue: a bad chunk is seen late."""

    async def talk(server: Server):
        async with server.connect() as client:
            await client.send(POST + PING + head(CHUNKED))
            await client.send(b"zz\r\n")
            server.guard.model.go.set()
            return await client.all()

    talked = serve(make_guard(SlowModel()), talk)

    assert talked.statuses == [200, 200, 400]
    assert "chunk size" in talked.replies[2].message
    assert talked.is_closed


def test_answered_request_whose_body_goes_wrong_gets_no_second_answer():
    """413 comes before the body; what is wrong with the body then only ends the connection."""
    guard = make_guard(limits={"body_bytes": 10})
    talk = exchange(guard, head(CHUNKED) + b"40\r\n" + b"x" * 64 + b"\r\n", b"zz\r\n")
    assert (talk.statuses, talk.is_closed) == ([413], True)


def test_fault_in_the_protocol_is_500_and_is_logged(monkeypatch, caplog):
    def breaks(*_):
        raise ZeroDivisionError("SECRET")

    monkeypatch.setattr("pipeline.server.request_head.check", breaks)

    talk = exchange(make_guard(), PING)

    assert talk.statuses == [500]
    assert "SECRET" not in talk.replies[0].message
    assert talk.is_closed
    assert "ZeroDivisionError" in caplog.text
    assert text(PATIENT) not in caplog.text


def test_path_before_all_paths_may_be_there_or_not():
    """A proxy passes it on or takes it off."""
    statuses = {
        **{b"/ping": 200, b"/models/a/ping": 200, b"http://localhost/models/a/ping": 200},
        **{b"/models/a": 404, b"/models/aping": 404, b"/models": 404, b"/models/a/x": 404},
    }

    requests = [get(target, HOST) for target in statuses]
    talk = exchange(make_guard(), b"".join(requests) + POST, root_path="/models/a")

    assert talk.statuses == [*statuses.values(), 200]
    assert {reply.body for reply in talk.replies[:3]} == {b"/models/a/ping"}
