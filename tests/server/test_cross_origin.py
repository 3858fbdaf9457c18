"""Scripts of web pages that ask from a browser (CORS)."""

import pytest

from pipeline.server import cross_origin
from tests.support.asgi import ask
from tests.support.guards import KEY, make_guard, make_keys, post
from tests.support.pima import PATIENT, text

APP, OTHER = "https://app.example", "https://app.example.evil.org"
ALLOWED = "access-control-allow-origin"


def make_application(*origins):
    return cross_origin.allow(make_guard(keys=make_keys(ann=KEY)), origins)


def preflight(application, origin=APP, method="POST", names="authorization,content-type"):
    """What a browser asks before a script's request, without its key."""
    headers = {
        "origin": origin,
        "access-control-request-method": method,
        "access-control-request-headers": names,
    }
    return ask(application, method="OPTIONS", headers=headers)


def test_nobody_may_ask_from_a_browser_unless_the_config_says_so():
    guard = make_guard()
    assert cross_origin.allow(guard, ()) is guard
    assert preflight(guard).status == 405
    assert ALLOWED not in post(guard, headers={"origin": APP}).headers


def test_script_of_an_allowed_origin_reads_answers_and_refusals():
    application = make_application(APP, "http://localhost:3000")

    before = preflight(application)
    assert (before.status, before.headers[ALLOWED]) == (200, APP)
    allowed = before.headers["access-control-allow-headers"].lower()
    assert {"authorization", "content-type", "content-encoding"} <= set(allowed.split(", "))
    assert "access-control-allow-credentials" not in before.headers

    for key, status in ((KEY, 200), ("wrong", 401)):
        done = post(application, headers={"origin": APP, "authorization": f"Bearer {key}"})
        assert (done.status, done.headers[ALLOWED]) == (status, APP)
        assert "X-Model-Version" in done.headers["access-control-expose-headers"]
        assert done.headers["vary"] == "Origin"


@pytest.mark.parametrize("origin", [OTHER, "http://app.example", "https://app.example:444", "null"])
def test_script_of_another_origin_is_kept_out(origin):
    application = make_application(APP)
    assert preflight(application, origin).status == 400
    assert ALLOWED not in preflight(application, origin).headers
    done = post(application, headers={"origin": origin, "authorization": f"Bearer {KEY}"})
    assert ALLOWED not in done.headers


@pytest.mark.parametrize("asked", [{"method": "PUT"}, {"names": "cookie"}])
def test_other_methods_and_headers_are_refused_beforehand(asked):
    assert preflight(make_application(APP), **asked).status == 400


def test_large_answer_varies_by_coding_and_by_origin():
    application = cross_origin.allow(make_guard(), (APP,))
    rows = text({"inputs": [PATIENT] * 150}).encode()
    done = post(application, rows, headers={"origin": APP, "accept-encoding": "gzip"})
    assert done.status == 200
    assert done.headers["vary"] == "accept-encoding, Origin"
