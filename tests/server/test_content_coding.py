"""Bodies that come as gzip, and answers that go as gzip, at the guard."""

import gzip
import json

import pytest

from pipeline.server.content_coding import LEAST_BYTES
from tests.support.guards import GOOD, make_guard, post
from tests.support.pima import PATIENT, csv, line, text

PACKED = gzip.compress(GOOD)
MANY = text({"inputs": [PATIENT] * 150}).encode()


@pytest.mark.parametrize("coding", ["gzip", "x-gzip", " GZIP "])
@pytest.mark.parametrize(
    "parts",
    [
        [PACKED],
        [PACKED[:9], PACKED[9:]],
        [gzip.compress(GOOD[:40]) + gzip.compress(GOOD[40:])],  # RFC 1952, 2.2
    ],
    ids=["whole", "in two messages", "of two members"],
)
def test_gzip_body_is_answered_as_the_same_body_unpacked(coding, parts):
    done = post(make_guard(), *parts, headers={"content-encoding": coding})
    assert (done.status, done.json) == (200, post(make_guard()).json)


def test_gzip_csv_is_read_too():
    headers = {"content-encoding": "gzip", "content-type": "text/csv"}
    done = post(make_guard(), gzip.compress(csv(line(), line())), headers=headers)
    assert len(done.json["predictions"]) == 2


@pytest.mark.parametrize(
    "body",
    [GOOD, PACKED[:-1], PACKED[:-12], PACKED + b"SECRET", PACKED[:-8] + b"\0" * 8, b"\x1f\x8b"],
    ids=["as it is", "cut in its size", "cut in its data", "and more", "wrong sum", "two bytes"],
)
def test_what_is_no_whole_gzip_is_400(body):
    done = post(make_guard(), body, headers={"content-encoding": "gzip"})
    assert (done.status, done.json["error_code"]) == (400, "BAD_REQUEST")
    assert "gzip" in done.json["message"]
    assert "SECRET" not in done.body.decode()


@pytest.mark.parametrize(
    ("limit", "body", "status"),
    [
        (len(GOOD), PACKED, 200),
        (len(GOOD) - 1, PACKED, 413),
        (10_000, gzip.compress(bytes(5_000_000)), 413),
        (10_000, gzip.compress(bytes(5_001)) * 2, 413),
    ],
)
def test_gzip_body_may_unpack_to_the_limit_and_not_a_byte_more(limit, body, status):
    guard = make_guard(limits={"body_bytes": limit})
    done = post(guard, body, headers={"content-encoding": "gzip"})
    assert done.status == status
    if status == 413:
        assert f"larger than {limit} bytes" in done.json["message"]


def test_refusal_of_another_coding_says_which_is_taken():
    done = post(make_guard(), headers={"content-encoding": "br"})
    assert (done.status, done.taken) == (415, 0)
    assert done.headers["accept-encoding"] == "gzip"


@pytest.mark.parametrize(
    ("accepted", "is_packed"),
    [
        *(("gzip", True), ("br, GZIP;q=0.5", True), ("x-gzip", True), ("deflate,gzip", True)),
        *(("", False), ("br", False), ("gzip;q=0", False), ("gzip; q=0.00", False), ("*", False)),
        *((None, False), ("gzipped", False)),
    ],
)
def test_large_answer_goes_as_gzip_to_those_who_take_it(accepted, is_packed):
    headers = {} if accepted is None else {"accept-encoding": accepted}
    done = post(make_guard(), MANY, headers=headers)
    assert done.status == 200
    assert (done.headers.get("content-encoding") == "gzip") is is_packed
    assert (done.headers.get("vary") == "accept-encoding") is is_packed
    assert done.headers["content-length"] == str(len(done.body))
    answer = gzip.decompress(done.body) if is_packed else done.body
    assert len(answer) >= LEAST_BYTES
    assert json.loads(answer)["predictions"] == [{"label": 0, "probability": 0.25}] * 150


@pytest.mark.parametrize("body", [GOOD, b"{"], ids=["an answer", "a refusal"])
def test_small_answer_goes_as_it_is(body):
    done = post(make_guard(), body, headers={"accept-encoding": "gzip"})
    assert "content-encoding" not in done.headers
    assert done.json
