import json
import pickle

import pytest

from pipeline.server import refusal
from pipeline.server.refusal import Refusal

EVERY = [
    (refusal.malformed("json", "told"), 400, "BAD_REQUEST"),
    (refusal.invalid("range", "told"), 400, "INVALID_PARAMETER_VALUE"),
    (refusal.too_large("rows", "told"), 413, "REQUEST_LIMIT_EXCEEDED"),
    (refusal.busy("batch", "told", 3), 503, "TEMPORARILY_UNAVAILABLE"),
    (refusal.late("told"), 504, "DEADLINE_EXCEEDED"),
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

    assert type(other) is Refusal
    assert vars(other) == vars(told)


def test_busy_tells_when_to_come_back():
    assert refusal.busy("batch", "told", 3).headers == {"retry-after": "3"}
    assert refusal.malformed("json", "told").headers == {}
