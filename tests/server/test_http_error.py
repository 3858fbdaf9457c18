import json
import pickle

import pytest

from pipeline.server.http_error import CODES, HTTPError, invalid_parameter, unavailable


@pytest.mark.parametrize(
    ("error", "code"),
    [
        *((HTTPError(status, "rule", "message"), code) for status, code in CODES.items()),
        (invalid_parameter("rule", "message"), "INVALID_PARAMETER_VALUE"),
    ],
)
def test_body_holds_mlflows_code_of_the_status(error, code):
    assert json.loads(error.body("r1")) == {
        "error_code": code,
        "message": "message",
        "request_id": "r1",
    }


@pytest.mark.parametrize("error", [unavailable("batch", "x", 3), invalid_parameter("range", "x")])
def test_error_crosses_to_another_process_whole(error):
    other = pickle.loads(pickle.dumps(error))
    assert type(other) is HTTPError
    assert vars(other) == vars(error)


def test_unavailable_says_when_to_come_back():
    assert unavailable("batch", "busy", 3).headers == {"retry-after": "3"}
