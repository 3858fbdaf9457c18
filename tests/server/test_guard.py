"""The guard alone, as an ASGI application before a model that is made up."""

import asyncio
import hashlib
import json
import re
from types import SimpleNamespace

import numpy as np
import pytest
from prometheus_client import REGISTRY

from pipeline.config.sections import Limits, Serve
from pipeline.inference.predictor import Predictor, Trained
from pipeline.server import guard as guards
from pipeline.server import telemetry
from pipeline.server.api_keys import ApiKeys
from pipeline.server.guard import CHUNK, METHODS, Guard
from pipeline.server.http_error import unavailable
from pipeline.server.request_json import Reader
from pipeline.server.response import Response, respond
from tests.support.asgi import GONE, ask, exchange, parts_of
from tests.support.malformed import MALFORMED, SENTINELS
from tests.support.pima import CONTRACT, PATIENT, records, row, text

KEY = "tok-SECRET-987654"
GOOD = text({"dataframe_records": [PATIENT]}).encode()
KEYS = ApiKeys({"ann": hashlib.sha256(KEY.encode()).digest()})


class Fake:
    """As `LoadedModel`: it reads as the real one does, and 0.25 is what it always answers."""

    header = b"7"
    version = SimpleNamespace(version="7")

    def __init__(self):
        predict = lambda X: np.tile([0.75, 0.25], (len(X), 1))  # noqa: E731
        self.reader = Reader(Predictor(CONTRACT, predict, Trained(0.5, *np.ones((2, 8))), {}), 100)
        self.asked = []
        self.is_healthy = True

    def check_health(self):
        if not self.is_healthy:
            raise unavailable("batch", "it does not start")

    async def answer(self, body, kind, seconds):
        self.asked.append((body, kind, seconds))
        return respond(self.reader, body, kind, is_quick=False)


class Slow(Fake):
    """It answers when it is told to."""

    def __init__(self):
        super().__init__()
        self.go = asyncio.Event()

    async def answer(self, body, kind, seconds):
        await self.go.wait()
        return await super().answer(body, kind, seconds)


async def pages(scope, receive, send):
    """In place of MLflow's application."""
    await send(
        {
            "type": "http.response.start",
            "status": 200,
            "headers": [(b"content-type", b"text/plain")],
        }
    )
    await send({"type": "http.response.body", "body": scope["path"].encode()})


def make_guard(served=None, keys=None, application=pages, limits=None, **serve) -> Guard:
    settings = Serve(**serve, limits=Limits(**(limits or {})))
    return Guard(settings, keys or ApiKeys({}), served or Fake(), application)


def post(guard, body=GOOD, *more, **request):
    return ask(guard, messages=parts_of(body, *more), **request)


def logged(capfd):
    """The lines that were logged."""
    telemetry.flush()
    return [json.loads(line) for line in capfd.readouterr().out.splitlines()]


# Answers.


def test_well_formed_request_is_answered():
    served = Fake()

    done = post(make_guard(served, limits={"answer_seconds": 3.0}))

    assert done.status == 200
    assert done.json == {"predictions": [{"label": 0, "probability": 0.25}]}
    assert served.asked == [(GOOD, "application/json", 3.0)]


def test_body_in_parts_is_put_together():
    done = post(make_guard(), GOOD[:10], GOOD[10:11], b"", GOOD[11:])

    assert done.json == {"predictions": [{"label": 0, "probability": 0.25}]}


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 3 * CHUNK + 7])
def test_large_answer_is_sent_in_parts(size):
    """So that a slow reader holds the rest back."""
    served = Fake()
    whole = bytes(range(256)) * (size // 256 + 1)
    large = Response(whole[:size], 1)

    async def fixed(*_):
        return large

    served.answer = fixed
    done = post(make_guard(served))

    assert done.body == large.body
    assert done.headers["content-length"] == str(size)
    assert max(len(message.get("body", b"")) for message in done.messages) <= CHUNK


@pytest.mark.parametrize("path", [path for path in METHODS if path != "/invocations"])
def test_other_pages_are_the_applications_with_the_guards_headers(path):
    done = ask(make_guard(), method="GET", path=path, headers={"x-request-id": "abc"})

    assert (done.status, done.body) == (200, path.encode())
    assert done.headers == {
        "content-type": "text/plain",
        "x-request-id": "abc",
        "x-model-version": "7",
    }


# Paths and methods.


@pytest.mark.parametrize(
    "path",
    ["/", "/SECRET", "/invocations/", "/Invocations", "/ping/x", "//ping", "/redoc", "*", ""],
)
def test_unknown_path_is_404_and_shows_those_that_there_are(path):
    done = ask(make_guard(), method="GET", path=path)

    assert (done.status, done.json["error_code"]) == (404, "ENDPOINT_NOT_FOUND")
    assert all(known in done.json["message"] for known in METHODS)
    assert "SECRET" not in done.body.decode()


@pytest.mark.parametrize("path", METHODS)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "SECRET"])
def test_wrong_method_is_405_with_the_right_one(path, method):
    if method == METHODS[path]:
        return
    done = ask(make_guard(), method=method, path=path)

    assert done.status == 405
    assert done.headers["allow"] == METHODS[path]
    assert done.json["message"] == f"{path} takes {METHODS[path]} only"


# Hosts.


@pytest.mark.parametrize(
    ("serve", "host", "welcome"),
    [
        ({}, "localhost", True),
        ({}, "localhost:8080", True),
        ({}, "LocalHost:1", True),
        ({}, "127.0.0.1:8080", True),
        ({}, "[::1]:8080", True),
        ({}, "evil.org", False),
        ({}, "localhost.evil.org", False),
        ({}, "localhost:8080.evil.org", False),
        ({}, "evil.org:8080", False),
        ({}, "", False),
        ({}, ":8080", False),
        ({}, "localhost, evil.org", False),
        ({"host": "localhost"}, "evil.org", False),
        ({"host": "::1"}, "evil.org", False),
        ({"host": "127.1.2.3"}, "evil.org", False),
        ({"host": "0.0.0.0"}, "evil.org", True),
        ({"host": "10.0.0.1"}, "any.org", True),
        ({"host": "127.evil.org"}, "any.org", True),
        ({"allowed_hosts": ("api.org",)}, "api.org:8080", True),
        ({"allowed_hosts": ("Api.Org",)}, "aPI.oRG", True),
        ({"allowed_hosts": ("api.org",)}, "localhost", False),
        ({"allowed_hosts": ("api.org",), "host": "0.0.0.0"}, "evil.org", False),
        ({"allowed_hosts": ("*",)}, "evil.org", True),
        ({"allowed_hosts": ("api.org", "*")}, "evil.org", True),
    ],
)
def test_host_must_be_one_of_the_servers_own(serve, host, welcome):
    """Else a page in a browser could ask the endpoint of the machine that shows it."""
    done = post(make_guard(**serve), headers={"host": host})

    assert done.status == (200 if welcome else 421)
    if not welcome:
        assert done.json["error_code"] == "PERMISSION_DENIED"
        assert "evil" not in done.body.decode()


@pytest.mark.parametrize("path", ["/ping", "/health"])
def test_probes_are_answered_under_every_name_without_a_key_and_at_any_rate(path):
    """A load balancer asks by address."""
    guard = make_guard(keys=KEYS, limits={"rate": "1/hour"})

    for _ in range(3):
        assert ask(guard, method="GET", path=path, headers={"host": "10.0.0.1"}).status == 200


def test_health_is_503_while_a_part_of_the_requests_cannot_be_answered():
    served = Fake()
    guard = make_guard(served)

    def statuses():
        return [ask(guard, method="GET", path=path).status for path in ("/health", "/ping")]

    served.is_healthy = False
    assert statuses() == [503, 200]
    served.is_healthy = True
    assert statuses() == [200, 200]


# ApiKeys.


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"authorization": f"Bearer {KEY}"}, 200),
        ({"x-api-key": KEY}, 200),
        ({}, 401),
        ({"authorization": "Bearer wrong-SECRET"}, 401),
        ({"x-api-key": ""}, 401),
    ],
)
def test_key_is_asked_for_where_there_are_some(headers, status):
    served = Fake()

    done = post(make_guard(served, keys=KEYS), headers=headers)

    assert done.status == status
    assert len(served.asked) == (status == 200)
    if status == 401:
        assert done.json["error_code"] == "UNAUTHENTICATED"
        assert done.headers["www-authenticate"] == "Bearer"
        assert done.taken == 0
        assert "SECRET" not in done.body.decode()


@pytest.mark.parametrize("path", [*METHODS, "/SECRET"])
@pytest.mark.parametrize("open_metrics", [False, True])
def test_key_is_asked_for_on_every_page_but_those_of_probes(path, open_metrics):
    """Also where there is no page: who may not ask is not told what there is."""
    guard = make_guard(keys=KEYS, open_metrics=open_metrics)
    done = ask(guard, method=METHODS.get(path, "GET"), path=path)

    is_open = path in {"/ping", "/health"} or (path == "/metrics" and open_metrics)
    assert done.status == (200 if is_open else 401)


def test_open_metrics_are_still_those_of_the_servers_own_hosts():
    guard = make_guard(keys=KEYS, open_metrics=True)

    done = ask(guard, method="GET", path="/metrics", headers={"host": "evil.org"})

    assert done.status == 421


# Rates.


@pytest.fixture
def clock(monkeypatch):
    """A time that stands still until it is moved on."""
    clock = SimpleNamespace(now=1_800_000_000.0)
    monkeypatch.setattr("time.time", lambda: clock.now)
    return clock


def test_more_than_the_rate_is_429_with_the_time_to_wait(clock):
    """The minute is the one that starts with the first request."""
    guard = make_guard(limits={"rate": "2/minute"})

    assert post(guard).status == 200
    clock.now += 20
    assert post(guard).status == 200
    done = post(guard)
    assert (done.status, done.json["error_code"]) == (429, "REQUEST_LIMIT_EXCEEDED")
    assert done.json["message"] == "more than 2/minute requests; wait 40 seconds"
    assert done.headers["retry-after"] == "40"
    assert done.taken == 0


@pytest.mark.parametrize("passed", [0, 0.2, 0.7, 0.999, 20.0, 19.6, 59.9, 59.4])
def test_client_that_waits_as_long_as_it_is_told_is_welcome(clock, passed):
    guard = make_guard(limits={"rate": "1/minute"})
    post(guard)
    clock.now += passed
    told = int(post(guard).headers["retry-after"])

    clock.now += told

    assert told >= 1
    assert post(guard).status == 200


def test_rate_is_per_client_where_there_are_no_keys(clock):
    guard = make_guard(limits={"rate": "1/hour"})

    statuses = [post(guard, client=(host, 1)).status for host in ("a", "b", "a", "b", "c")]
    assert statuses == [200, 200, 429, 429, 200]
    assert [post(guard, client=None).status for _ in range(2)] == [200, 429]


def test_rate_is_per_key_whatever_the_client(clock):
    others = hashlib.sha256(b"other").digest()
    keys = ApiKeys({"ann": hashlib.sha256(KEY.encode()).digest(), "bo": others})
    guard = make_guard(keys=keys, limits={"rate": "1/hour"})

    def status(key, client):
        return post(guard, headers={"x-api-key": key}, client=(client, 1)).status

    assert [status(KEY, "a"), status(KEY, "b"), status("other", "a")] == [200, 429, 200]


def test_wrong_keys_count_by_address_and_not_against_the_right_ones(clock):
    guard = make_guard(keys=KEYS, limits={"rate": "2/hour"})

    def status(key, client):
        return post(guard, headers={"x-api-key": key}, client=(client, 1)).status

    wrong = [status(key, "a") for key in ("x", "y", "z")]
    assert wrong == [401, 401, 429]
    assert [status("x", "b"), status(KEY, "a"), status(KEY, "a")] == [401, 200, 200]
    assert status("", "a") == 429


def test_key_that_is_named_as_an_address_has_a_rate_of_its_own(clock):
    keys = ApiKeys({"10.0.0.9": hashlib.sha256(KEY.encode()).digest()})
    guard = make_guard(keys=keys, limits={"rate": "1/hour"})

    assert post(guard, headers={"x-api-key": "wrong"}).status == 401
    assert post(guard, headers={"x-api-key": KEY}).status == 200


@pytest.mark.parametrize("path", ["/ping", "/health", "/metrics"])
@pytest.mark.parametrize("keys", [None, KEYS])
def test_what_watches_the_server_takes_nothing_from_those_who_ask(clock, path, keys):
    guard = make_guard(keys=keys, limits={"rate": "1/hour"})
    headers = {"x-api-key": KEY}

    watched = [ask(guard, method="GET", path=path, headers=headers).status for _ in range(5)]

    assert watched == [200] * 5
    assert post(guard, headers=headers).status == 200
    assert post(guard, headers=headers).status == 429
    assert ask(guard, method="GET", path=path, headers=headers).status == 200


def test_keys_cannot_be_guessed_faster_at_the_metrics(clock):
    guard = make_guard(keys=KEYS, limits={"rate": "2/hour"})

    def status(key):
        return ask(guard, method="GET", path="/metrics", headers={"x-api-key": key}).status

    assert [status(key) for key in ("x", "y", "z", KEY)] == [401, 401, 429, 200]


def test_refused_requests_count_too(clock):
    guard = make_guard(limits={"rate": "2/hour"})

    assert [post(guard, b"SECRET").status for _ in range(3)] == [400, 400, 429]


# Concurrency.


def test_request_beyond_those_that_may_wait_is_503():
    async def run():
        served = Slow()
        guard = make_guard(served, limits={"concurrency": 2})
        waiting = [asyncio.create_task(exchange(guard, messages=parts_of(GOOD))) for _ in range(2)]
        await asyncio.sleep(0)
        refused = await exchange(guard, messages=parts_of(GOOD))
        page = await exchange(guard, method="GET", path="/health")
        served.go.set()
        answered = [await task for task in waiting]
        after = await exchange(guard, messages=parts_of(GOOD))
        return refused, page, answered, after

    refused, page, answered, after = asyncio.run(run())

    assert (refused.status, refused.json["error_code"]) == (503, "TEMPORARILY_UNAVAILABLE")
    assert refused.headers["retry-after"] == "1"
    assert refused.taken == 0
    assert page.status == 200
    assert [done.status for done in (*answered, after)] == [200, 200, 200]


@pytest.mark.parametrize("body", [b"SECRET", b"", GOOD])
def test_place_is_free_again_whatever_became_of_a_request(body):
    guard = make_guard(limits={"concurrency": 1})

    for _ in range(3):
        assert post(guard, body).status != 503
        ask(guard, messages=[GONE])
    assert post(guard).status == 200


def test_request_in_flight_keeps_its_model_when_another_is_promoted():
    async def run():
        old, new = Slow(), Fake()
        new.header = b"8"
        guard = make_guard(old)
        waiting = asyncio.create_task(exchange(guard, messages=parts_of(GOOD)))
        await asyncio.sleep(0)
        guard.model = new
        after = await exchange(guard, messages=parts_of(GOOD))
        old.go.set()
        return await waiting, after

    before, after = asyncio.run(run())

    assert before.headers["x-model-version"] == "7"
    assert after.headers["x-model-version"] == "8"


# Bodies.


@pytest.mark.parametrize("most", [len(GOOD), len(GOOD) - 1])
@pytest.mark.parametrize("cuts", [(), (5,), (5, 9)])
@pytest.mark.parametrize("tells", [True, False])
def test_body_may_be_as_large_as_the_limit_and_not_a_byte_more(most, cuts, tells):
    parts = [GOOD[a:b] for a, b in zip((0, *cuts), (*cuts, None), strict=True)]
    headers = {"content-length": str(len(GOOD))} if tells else {}

    done = post(make_guard(limits={"body_bytes": most}), *parts, headers=headers)

    assert done.status == (200 if most == len(GOOD) else 413)
    if done.status == 413:
        assert done.json["error_code"] == "REQUEST_LIMIT_EXCEEDED"
        assert f"larger than {most} bytes" in done.json["message"]
        assert done.taken == (0 if tells else len(parts))


def test_body_without_an_end_is_refused_as_soon_as_it_is_too_large():
    endless = [{"type": "http.request", "body": b"x" * 100, "more_body": True}] * 1000

    done = ask(make_guard(limits={"body_bytes": 250}), messages=endless)

    assert (done.status, done.taken) == (413, 3)


@pytest.mark.parametrize("encoding", ["gzip", "br", "identity", ""])
def test_encoded_body_is_refused_unread(encoding):
    """A few bytes of it could become gigabytes."""
    done = post(make_guard(), headers={"content-encoding": encoding})

    assert (done.status, done.taken) == (415, 0)
    assert done.json["error_code"] == "UNSUPPORTED_MEDIA_TYPE"


def test_unknown_content_type_is_refused_unread():
    done = post(make_guard(), headers={"content-type": "text/SECRET"})

    assert (done.status, done.taken) == (415, 0)
    assert "SECRET" not in done.body.decode()


@pytest.mark.parametrize(
    "messages", [[GONE], [parts_of(GOOD, b"")[0], GONE], [*parts_of(GOOD, b"", b"")[:2], GONE]]
)
def test_client_that_is_gone_gets_nothing(capfd, messages):
    served = Fake()

    done = ask(make_guard(served), messages=messages)

    assert done.messages == []
    assert served.asked == []
    (line,) = logged(capfd)
    assert (line["status"], line["rule"]) == (0, "disconnected")


# Faults of the server.


@pytest.mark.parametrize("where", ["model", "page"])
def test_fault_is_500_without_details_and_is_logged(caplog, where):
    async def breaks(*_):
        raise ZeroDivisionError("SECRET 987654")

    served = Fake()
    served.answer = breaks
    guard = make_guard(served, application=breaks)

    done = post(guard) if where == "model" else ask(guard, method="GET", path="/model")

    assert done.status == 500
    assert done.json == {
        "error_code": "INTERNAL_ERROR",
        "message": "the server has a fault; it is logged there",
        "request_id": done.headers["x-request-id"],
    }
    assert "ZeroDivisionError" in caplog.text
    assert done.headers["x-request-id"] in caplog.text


def test_fault_in_the_midst_of_an_answer_sends_no_second_one(caplog):
    async def breaks(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise ZeroDivisionError

    done = ask(make_guard(application=breaks), method="GET", path="/model")

    assert [message["type"] for message in done.messages] == ["http.response.start"]
    assert "ZeroDivisionError" in caplog.text


def test_cancelled_request_gives_its_place_back(capfd):
    async def run():
        served = Slow()
        guard = make_guard(served, limits={"concurrency": 1})
        task = asyncio.create_task(exchange(guard, messages=parts_of(GOOD)))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        served.go.set()
        return await exchange(guard, messages=parts_of(GOOD))

    assert asyncio.run(run()).status == 200
    assert [line["status"] for line in logged(capfd)] == [0, 200]


# Every answer.


EVERY = {
    200: {},
    400: {"messages": parts_of(b"SECRET")},
    401: {"headers": {"x-api-key": "wrong"}},
    404: {"path": "/SECRET"},
    405: {"method": "GET"},
    413: {"headers": {"x-api-key": KEY, "content-length": str(10**12)}},
    415: {"headers": {"x-api-key": KEY, "content-type": "text/SECRET"}},
    421: {"headers": {"host": "evil.org"}},
}


@pytest.mark.parametrize("status", EVERY)
def test_every_answer_tells_request_model_and_form(capfd, status):
    request = {"messages": parts_of(GOOD), "headers": {"x-api-key": KEY}, **EVERY[status]}

    done = ask(make_guard(keys=KEYS), **request)

    assert done.status == status
    assert done.headers["x-model-version"] == "7"
    assert done.headers["content-type"] == "application/json"
    assert done.headers["content-length"] == str(len(done.body))
    (line,) = logged(capfd)
    assert done.headers["x-request-id"] == line["request_id"]
    if status != 200:
        assert list(done.json) == ["error_code", "message", "request_id"]
        assert done.json["request_id"] == line["request_id"]


def test_every_request_has_an_id_of_its_own():
    guard = make_guard()

    given = [post(guard).headers["x-request-id"] for _ in range(20)]

    assert len(set(given)) == 20
    assert all(re.fullmatch(r"[0-9a-f]{20}", each) for each in given)


@pytest.mark.parametrize(
    ("given", "is_kept"),
    [
        ("abc-1.2:3_X", True),
        ("a" * 64, True),
        ("a" * 65, False),
        ("", False),
        ("two words", False),
        ("a\nb", False),
        ("a\n", False),
        ('"quoted"', False),
        ("ünïcode", False),
        ("{}", False),
    ],
)
def test_clients_own_id_is_kept_if_it_is_sensible(given, is_kept):
    """It goes into an answer's header and into the log."""
    done = post(make_guard(), headers={"x-request-id": given})

    assert (done.headers["x-request-id"] == given) is is_kept


# What is telemetry.


def test_request_is_one_line_in_the_log(capfd):
    done = post(make_guard(keys=KEYS), headers={"x-api-key": KEY})

    (line,) = logged(capfd)
    milliseconds = line.pop("ms")
    assert 0 < milliseconds < 10_000
    assert line.pop("time") > 1.7e9
    assert line == {
        "event": "request",
        "request_id": done.headers["x-request-id"],
        "method": "POST",
        "path": "/invocations",
        "status": 200,
        "rows": 1,
        "rule": None,
        "model_version": "7",
        "key": "ann",
        "client": "10.0.0.9",
    }


@pytest.mark.parametrize(
    ("request_", "rule"),
    [
        ({"messages": parts_of(records(row(Age='"SECRET"')).encode())}, "type"),
        ({"messages": parts_of(records(row(SECRET="987654")).encode())}, "columns"),
        ({"messages": parts_of(records(row(Age="987654")).encode())}, "range"),
        ({"messages": parts_of(b'{"SECRET": 987654')}, "json"),
        ({"path": "/SECRET/987654"}, "path"),
        ({"path": "/ping/SECRET"}, "path"),
        ({"headers": {"x-api-key": "SECRET-987654"}}, "key"),
        ({"headers": {"host": "SECRET.org"}}, "host"),
        ({"headers": {"x-api-key": KEY, "content-type": "text/SECRET"}}, "content_type"),
        ({"headers": {"x-api-key": KEY, "x-request-id": "SECRET 987654"}}, None),
        ({"headers": {"x-api-key": KEY, "user-agent": "SECRET", "cookie": "987654"}}, None),
    ],
)
def test_line_in_the_log_holds_none_of_the_callers_data(capfd, caplog, request_, rule):
    request = {"messages": parts_of(GOOD), "headers": {"x-api-key": KEY}, **request_}

    ask(make_guard(keys=KEYS), **request)

    telemetry.flush()
    written = capfd.readouterr()
    assert json.loads(written.out)["rule"] == rule
    everything = written.out + written.err + caplog.text
    assert [sentinel for sentinel in SENTINELS if sentinel in everything] == []


def test_no_malformed_body_shows_in_the_log_or_is_a_fault(capfd, caplog):
    """All of them, through the door: none but the small ones, which take no time."""
    guard = make_guard(Fake())
    small = [case for case in MALFORMED if len(case.body) < 10_000]

    async def run():
        return [
            await exchange(guard, headers={"content-type": case.kind}, messages=parts_of(case.body))
            for case in small
        ]

    wrong = {
        case.name: done.status
        for case, done in zip(small, asyncio.run(run()), strict=True)
        if done.status != case.status
    }

    telemetry.flush()
    written = capfd.readouterr().out
    assert wrong == {}
    assert written.count("\n") == len(small) > 400
    assert [sentinel for sentinel in SENTINELS if sentinel in written] == []
    assert caplog.text == ""


def count(name, **labels):
    return REGISTRY.get_sample_value(name, labels) or 0


@pytest.mark.parametrize(
    ("request_", "path", "status", "rule"),
    [
        ({}, "/invocations", "200", None),
        ({"messages": parts_of(b"{")}, "/invocations", "400", "json"),
        ({"method": "GET", "path": "/health"}, "/health", "200", None),
        ({"method": "GET", "path": "/SECRET"}, "other", "404", "path"),
        ({"method": "SECRET"}, "/invocations", "405", "method"),
    ],
)
def test_request_is_counted_by_path_status_and_rule(request_, path, status, rule):
    """An unknown path counts as `other`: the caller must not make labels."""

    def counted():
        return {
            "requests": count("serve_requests_total", path=path, status=status),
            "seconds": count("serve_request_seconds_count", path=path),
            "rows": count("serve_rows_total"),
            "refusals": count("serve_refusals_total", rule=rule) if rule else 0,
        }

    before = counted()
    ask(make_guard(), **{"messages": parts_of(GOOD), **request_})

    assert {name: number - before[name] for name, number in counted().items()} == {
        "requests": 1,
        "seconds": 1,
        "rows": int((path, status) == ("/invocations", "200")),
        "refusals": int(rule is not None),
    }
    assert count("serve_requests_in_flight") == 0


@pytest.mark.parametrize(
    ("host", "is_loopback"),
    [
        *((host, True) for host in ("localhost", "::1", "127.0.0.1", "127.255.0.9")),
        *(
            (host, False)
            for host in ("0.0.0.0", "::", "10.0.0.1", "127.0.0.1.evil.org", "128.0.0.1")
        ),
        *((host, False) for host in ("", "127.0.0", "localhost.evil.org")),
    ],
)
def test_loopback_is_what_only_this_machine_can_reach(host, is_loopback):
    assert guards.is_loopback(host) is is_loopback
