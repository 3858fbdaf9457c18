import json
import pickle

import pytest

from pipeline.server import http_error
from pipeline.server.http_error import HTTPError

EVERY = [
    (http_error.bad_request("json", "told"), 400, "BAD_REQUEST"),
    (http_error.invalid_parameter("range", "told"), 400, "INVALID_PARAMETER_VALUE"),
    (http_error.content_too_large("rows", "told"), 413, "REQUEST_LIMIT_EXCEEDED"),
    (http_error.unavailable("batch", "told", 3), 503, "TEMPORARILY_UNAVAILABLE"),
    (http_error.timed_out("told"), 504, "DEADLINE_EXCEEDED"),
]


@pytest.mark.parametrize(("told", "status", "code"), EVERY)
def test_refusal_has_the_status_and_the_code_of_its_kind(told, status, code):
    assert (told.status, told.code) == (status, code)
    assert json.loads(told.body("r1")) == {
        "error_code": code,
        "message": "told",
        "request_id": "r1",
    }


@pytest.mark.parametrize(("told", "status", "code"), EVERY)
def test_refusal_crosses_to_another_process_whole(told, status, code):
    other = pickle.loads(pickle.dumps(told))

    assert type(other) is HTTPError
    assert vars(other) == vars(told)


def test_busy_tells_when_to_come_back():
    assert http_error.unavailable("batch", "told", 3).headers == {"retry-after": "3"}
    assert http_error.bad_request("json", "told").headers == {}
