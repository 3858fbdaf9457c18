"""The guard alone, as an ASGI application before a model that is made up."""

import asyncio
import re
from types import SimpleNamespace

import pytest
from prometheus_client import REGISTRY

from pipeline.server import telemetry
from pipeline.server.guard import CHUNK, METHODS, is_loopback
from pipeline.server.response import Response
from tests.support.asgi import GONE, ask, exchange, parts_of
from tests.support.guards import (
    GOOD,
    KEY,
    OTHER_KEY,
    FakeModel,
    SlowModel,
    make_guard,
    make_keys,
    post,
)
from tests.support.malformed import MALFORMED, SENTINELS
from tests.support.pima import records, row

KEYS = make_keys(ann=KEY)
PREDICTIONS = {"predictions": [{"label": 0, "probability": 0.25}]}


def get(guard, path, **request):
    return ask(guard, method="GET", path=path, **request)


# Answers.


def test_well_formed_request_is_answered():
    model = FakeModel()
    done = post(make_guard(model, limits={"answer_seconds": 3.0}))
    assert (done.status, done.json) == (200, PREDICTIONS)
    assert model.asked == [(GOOD, "application/json", 3.0)]


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 3 * CHUNK + 7])
def test_large_answer_is_sent_in_parts(size):
    """So that a slow reader holds the rest back."""
    model = FakeModel()
    body = (bytes(range(256)) * (size // 256 + 1))[:size]

    async def answer(*_):
        return Response(body, 1)

    model.answer = answer
    done = post(make_guard(model))

    assert done.body == body
    assert done.headers["content-length"] == str(size)
    assert max(len(message.get("body", b"")) for message in done.messages) <= CHUNK


@pytest.mark.parametrize("path", [path for path in METHODS if path != "/invocations"])
def test_other_pages_are_the_applications_with_the_guards_headers(path):
    done = get(make_guard(), path, headers={"x-request-id": "abc"})
    assert (done.status, done.body) == (200, path.encode())
    assert done.headers["content-type"] == "text/plain"
    assert (done.headers["x-request-id"], done.headers["x-model-version"]) == ("abc", "7")


# Paths and methods.


@pytest.mark.parametrize(
    "path",
    ["/", "/SECRET", "/invocations/", "/Invocations", "/ping/x", "//ping", "/redoc", "*", ""],
)
def test_unknown_path_is_404_and_shows_those_that_there_are(path):
    done = get(make_guard(), path)
    assert (done.status, done.json["error_code"]) == (404, "ENDPOINT_NOT_FOUND")
    assert all(path in done.json["message"] for path in METHODS)
    assert "SECRET" not in done.body.decode()


@pytest.mark.parametrize("path", METHODS)
def test_wrong_method_is_405_with_the_right_one(path):
    wrong = {"GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "SECRET"} - {METHODS[path]}
    for done in [ask(make_guard(), method=method, path=path) for method in wrong]:
        assert done.status == 405
        assert done.headers["allow"] == METHODS[path]
        assert done.json["message"] == f"{path} takes {METHODS[path]} only"


# Hosts.


@pytest.mark.parametrize(
    ("serve", "welcome", "unwelcome"),
    [
        (
            {},
            ["localhost", "localhost:8080", "LocalHost:1", "127.0.0.1:8080", "[::1]:8080"],
            [
                *("evil.org", "localhost.evil.org", "localhost:8080.evil.org", "evil.org:8080"),
                *("", ":8080", "localhost, evil.org"),
            ],
        ),
        *(({"host": host}, [], ["evil.org"]) for host in ("localhost", "::1", "127.1.2.3")),
        *(({"host": host}, ["a.org"], []) for host in ("0.0.0.0", "10.0.0.1", "127.evil.org")),
        ({"allowed_hosts": ("Api.Org",)}, ["api.org:8080", "aPI.oRG"], ["localhost"]),
        ({"allowed_hosts": ("api.org",), "host": "0.0.0.0"}, ["api.org"], ["evil.org"]),
        ({"allowed_hosts": ("api.org", "*")}, ["evil.org"], []),
    ],
)
def test_host_must_be_one_of_the_servers(serve, welcome, unwelcome):
    """Else a page in a browser could ask the endpoint of the machine that shows it."""
    guard = make_guard(**serve)
    for host in welcome:
        assert post(guard, headers={"host": host}).status == 200
    for host in unwelcome:
        done = post(guard, headers={"host": host})
        assert (done.status, done.json["error_code"]) == (421, "PERMISSION_DENIED")
        assert "evil" not in done.body.decode()


@pytest.mark.parametrize("path", ["/ping", "/health"])
def test_probes_are_answered_under_every_name_without_a_key_and_at_any_rate(path):
    """A load balancer asks by address."""
    guard = make_guard(keys=KEYS, limits={"rate": "1/hour"})
    for _ in range(3):
        assert get(guard, path, headers={"host": "10.0.0.1"}).status == 200


def test_health_is_503_while_a_part_of_the_requests_cannot_be_answered():
    model = FakeModel()
    guard = make_guard(model)
    for model.is_healthy, status in ((False, 503), (True, 200)):
        assert [get(guard, path).status for path in ("/health", "/ping")] == [status, 200]


# Keys.


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
    model = FakeModel()

    done = post(make_guard(model, keys=KEYS), headers=headers)

    assert done.status == status
    assert len(model.asked) == (status == 200)
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
    if path == "/metrics":
        assert get(guard, path, headers={"host": "evil.org"}).status == 421


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


@pytest.mark.parametrize("passed", [0, 0.2, 0.999, 20.0, 19.6, 59.9, 59.4])
def test_client_that_waits_as_long_as_it_is_asked_to_is_welcome(clock, passed):
    guard = make_guard(limits={"rate": "1/minute"})
    post(guard)
    clock.now += passed
    seconds = int(post(guard).headers["retry-after"])
    clock.now += seconds
    assert seconds >= 1
    assert post(guard).status == 200


@pytest.mark.parametrize(
    ("keys", "rate", "requests"),
    [
        ({}, "1/hour", [("", "a", 200), ("", "b", 200), ("", "a", 429), ("", "b", 429)]),
        (
            {"ann": KEY, "bo": OTHER_KEY},
            "1/hour",
            [(KEY, "a", 200), (KEY, "b", 429), (OTHER_KEY, "a", 200)],
        ),
        (
            {"ann": KEY},
            "2/hour",
            [
                *(("x", "a", 401), ("y", "a", 401), ("z", "a", 429), ("x", "b", 401)),
                *((KEY, "a", 200), (KEY, "a", 200), ("", "a", 429)),
            ],
        ),
        ({"10.0.0.9": KEY}, "1/hour", [("wrong", "10.0.0.9", 401), (KEY, "10.0.0.9", 200)]),
    ],
    ids=["by address", "by key", "wrong keys by address", "a key named as an address"],
)
def test_rate_is_of_each_key_or_of_an_address_without_one(clock, keys, rate, requests):
    guard = make_guard(keys=make_keys(**keys), limits={"rate": rate})
    statuses = [
        post(guard, headers={"x-api-key": key}, client=(client, 1)).status
        for key, client, _ in requests
    ]
    assert statuses == [status for *_, status in requests]


def test_clients_without_an_address_share_a_rate_and_refused_requests_count_too(clock):
    guard = make_guard(limits={"rate": "1/hour"})
    assert [post(guard, body, client=None).status for body in (b"refused", GOOD)] == [400, 429]


@pytest.mark.parametrize("path", ["/ping", "/health", "/metrics"])
@pytest.mark.parametrize("keys", [None, KEYS])
def test_what_watches_the_server_takes_nothing_from_those_who_ask(clock, path, keys):
    guard = make_guard(keys=keys, limits={"rate": "1/hour"})
    headers = {"x-api-key": KEY}
    assert [get(guard, path, headers=headers).status for _ in range(5)] == [200] * 5
    assert [post(guard, headers=headers).status for _ in range(2)] == [200, 429]
    assert get(guard, path, headers=headers).status == 200


def test_keys_cannot_be_guessed_faster_at_the_metrics(clock):
    guard = make_guard(keys=KEYS, limits={"rate": "2/hour"})
    asked = [get(guard, "/metrics", headers={"x-api-key": key}) for key in ("x", "y", "z", KEY)]
    assert [done.status for done in asked] == [401, 401, 429, 200]


# Concurrency.


def test_request_beyond_those_that_may_wait_is_503():
    async def run():
        guard = make_guard(SlowModel(), limits={"concurrency": 2})
        waiting = [asyncio.create_task(exchange(guard, messages=parts_of(GOOD))) for _ in range(2)]
        await asyncio.sleep(0)
        refused = await exchange(guard, messages=parts_of(GOOD))
        page = await exchange(guard, method="GET", path="/health")
        guard.model.go.set()
        answered = [await task for task in waiting]
        return refused, page, [*answered, await exchange(guard, messages=parts_of(GOOD))]

    refused, page, answered = asyncio.run(run())

    assert (refused.status, refused.json["error_code"]) == (503, "TEMPORARILY_UNAVAILABLE")
    assert refused.headers["retry-after"] == "1"
    assert refused.taken == 0
    assert page.status == 200
    assert [done.status for done in answered] == [200, 200, 200]


@pytest.mark.parametrize("body", [b"SECRET", b"", GOOD])
def test_place_is_free_again_whatever_became_of_a_request(body):
    guard = make_guard(limits={"concurrency": 1})
    for _ in range(3):
        assert post(guard, body).status != 503
        ask(guard, messages=[GONE])
    assert post(guard).status == 200


def test_request_in_flight_keeps_its_model_when_another_is_promoted():
    async def run():
        old, new = SlowModel(), FakeModel()
        new.header = b"8"
        guard = make_guard(old)
        waiting = asyncio.create_task(exchange(guard, messages=parts_of(GOOD)))
        await asyncio.sleep(0)
        guard.model = new
        after = await exchange(guard, messages=parts_of(GOOD))
        old.go.set()
        return await waiting, after

    assert [done.headers["x-model-version"] for done in asyncio.run(run())] == ["7", "8"]


# Bodies.


@pytest.mark.parametrize("limit", [len(GOOD), len(GOOD) - 1])
@pytest.mark.parametrize("cuts", [(), (5,), (5, 9), (5, 5, 6)])
@pytest.mark.parametrize("has_length", [True, False])
def test_body_may_be_as_large_as_the_limit_and_not_a_byte_more(limit, cuts, has_length):
    parts = [GOOD[a:b] for a, b in zip((0, *cuts), (*cuts, None), strict=True)]
    headers = {"content-length": str(len(GOOD))} if has_length else {}

    done = post(make_guard(limits={"body_bytes": limit}), *parts, headers=headers)

    if limit == len(GOOD):
        assert (done.status, done.json) == (200, PREDICTIONS)
    else:
        assert (done.status, done.json["error_code"]) == (413, "REQUEST_LIMIT_EXCEEDED")
        assert f"larger than {limit} bytes" in done.json["message"]
        assert done.taken == (0 if has_length else len(parts))


def test_body_without_an_end_is_refused_as_soon_as_it_is_too_large():
    endless = [{"type": "http.request", "body": b"x" * 100, "more_body": True}] * 1000
    done = ask(make_guard(limits={"body_bytes": 250}), messages=endless)
    assert (done.status, done.taken) == (413, 3)


@pytest.mark.parametrize(
    "header",
    [
        *({"content-encoding": coding} for coding in ("br", "identity", "gzip, gzip", "")),
        {"content-type": "text/SECRET"},
    ],
)
def test_encoded_or_unknown_body_is_refused_unread(header):
    done = post(make_guard(), headers=header)
    assert (done.status, done.taken) == (415, 0)
    assert done.json["error_code"] == "UNSUPPORTED_MEDIA_TYPE"
    assert "SECRET" not in done.body.decode()


@pytest.mark.parametrize(
    "messages", [[GONE], [parts_of(GOOD, b"")[0], GONE], [*parts_of(GOOD, b"", b"")[:2], GONE]]
)
def test_client_that_is_gone_gets_nothing(log_lines, messages):
    model = FakeModel()
    done = ask(make_guard(model), messages=messages)
    assert (done.messages, model.asked) == ([], [])
    (line,) = log_lines()
    assert (line["status"], line["rule"]) == (0, "disconnected")


# Faults of the server.


@pytest.mark.parametrize("where", ["model", "page"])
def test_fault_is_500_without_details_and_is_logged(caplog, where):
    async def breaks(*_):
        raise ZeroDivisionError("SECRET 987654")

    model = FakeModel()
    model.answer = breaks
    guard = make_guard(model, application=breaks)

    done = post(guard) if where == "model" else get(guard, "/model")

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

    done = get(make_guard(application=breaks), "/model")

    assert [message["type"] for message in done.messages] == ["http.response.start"]
    assert "ZeroDivisionError" in caplog.text


def test_cancelled_request_gives_its_place_back(log_lines):
    async def run():
        guard = make_guard(SlowModel(), limits={"concurrency": 1})
        task = asyncio.create_task(exchange(guard, messages=parts_of(GOOD)))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        guard.model.go.set()
        return await exchange(guard, messages=parts_of(GOOD))

    assert asyncio.run(run()).status == 200
    assert [line["status"] for line in log_lines()] == [0, 200]


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
def test_every_answer_names_request_model_and_form(log_lines, status):
    request = {"messages": parts_of(GOOD), "headers": {"x-api-key": KEY}, **EVERY[status]}

    done = ask(make_guard(keys=KEYS), **request)

    assert done.status == status
    (line,) = log_lines()
    assert (
        done.headers
        | {
            "x-model-version": "7",
            "content-type": "application/json",
            "content-length": str(len(done.body)),
            "x-request-id": line["request_id"],
        }
        == done.headers
    )
    if status != 200:
        assert list(done.json) == ["error_code", "message", "request_id"]
        assert done.json["request_id"] == line["request_id"]


def test_every_request_has_an_id_of_its_own():
    guard = make_guard()
    ids = [post(guard).headers["x-request-id"] for _ in range(20)]
    assert len(set(ids)) == 20
    assert all(re.fullmatch(r"[0-9a-f]{20}", each) for each in ids)


@pytest.mark.parametrize(
    ("client_id", "is_used"),
    [
        *((each, True) for each in ("abc-1.2:3_X", "a" * 64)),
        *((each, False) for each in ("a" * 65, "", "two words", "a\nb", "a\n", '"a"', "ü", "{}")),
    ],
)
def test_id_of_the_client_is_used_if_it_is_harmless(client_id, is_used):
    """It goes into an answer's header and into the log."""
    done = post(make_guard(), headers={"x-request-id": client_id})
    assert (done.headers["x-request-id"] == client_id) is is_used


# Telemetry.


def test_request_is_one_line_in_the_log(log_lines):
    done = post(make_guard(keys=KEYS), headers={"x-api-key": KEY})

    (line,) = log_lines()
    assert 0 < line.pop("ms") < 10_000
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
def test_line_in_the_log_holds_none_of_the_callers_data(log_lines, capfd, caplog, request_, rule):
    request = {"messages": parts_of(GOOD), "headers": {"x-api-key": KEY}, **request_}
    ask(make_guard(keys=KEYS), **request)
    (line,) = log_lines()
    assert line["rule"] == rule
    written = str(line) + capfd.readouterr().err + caplog.text
    assert [sentinel for sentinel in SENTINELS if sentinel in written] == []


def test_no_malformed_body_shows_in_the_log_or_is_a_fault(capfd, caplog):
    """All of them, through the door: none but the small ones, which take no time."""
    guard = make_guard()
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
    assert written.count("\n") == len(small) > 300
    assert [sentinel for sentinel in SENTINELS if sentinel in written] == []
    assert caplog.text == ""


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

    def counts():
        labels = {
            "serve_requests_total": {"path": path, "status": status},
            "serve_request_seconds_count": {"path": path},
            "serve_rows_total": {},
            "serve_refusals_total": {"rule": rule or ""},
        }
        return [REGISTRY.get_sample_value(name, each) or 0 for name, each in labels.items()]

    before = counts()
    ask(make_guard(), **{"messages": parts_of(GOOD), **request_})

    rows, refusals = int((path, status) == ("/invocations", "200")), int(rule is not None)
    added = [after - each for after, each in zip(counts(), before, strict=True)]
    assert added == [1, 1, rows, refusals]


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        *((host, True) for host in ("localhost", "::1", "127.0.0.1", "127.255.0.9")),
        *((host, False) for host in ("0.0.0.0", "::", "10.0.0.1", "127.0.0.1.evil.org")),
        *((host, False) for host in ("128.0.0.1", "", "127.0.0", "localhost.evil.org")),
    ],
)
def test_loopback_is_what_only_this_machine_can_reach(host, expected):
    assert is_loopback(host) is expected
