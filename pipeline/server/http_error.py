"""The error responses of the REST contract: an HTTP status and MLflow's error code each."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson


@dataclass
class HTTPError(Exception):
    """An error response to a request; its message holds none of the caller's data."""

    status: int
    code: str  # MLflow's
    rule: str  # that was broken, for the metrics and the log: json, range, body_bytes, key, ...
    message: str
    headers: Mapping[str, str] = field(default_factory=dict)

    def __reduce__(self) -> Any:  # dataclass and Exception do not agree on how to be pickled
        return HTTPError, (self.status, self.code, self.rule, self.message, self.headers)

    def body(self, request_id: str) -> bytes:
        """Returns the JSON object with `error_code`, `message` and `request_id`."""
        return orjson.dumps(
            {"error_code": self.code, "message": self.message, "request_id": request_id}
        )


INTERNAL_ERROR = HTTPError(
    500, "INTERNAL_ERROR", "fault", "the server has a fault; it is logged there"
)


def bad_request(rule: str, message: str) -> HTTPError:
    """Returns the error of a request that cannot be read."""
    return HTTPError(400, "BAD_REQUEST", rule, message)


def invalid_parameter(rule: str, message: str) -> HTTPError:
    """Returns the error of a request that can be read, but breaks the contract."""
    return HTTPError(400, "INVALID_PARAMETER_VALUE", rule, message)


def content_too_large(rule: str, message: str) -> HTTPError:
    """Returns the error of a request that is larger than the limits allow."""
    return HTTPError(413, "REQUEST_LIMIT_EXCEEDED", rule, message)


def unsupported_media_type(rule: str, message: str) -> HTTPError:
    """Returns the error of a body in a type or encoding that is not read."""
    return HTTPError(415, "UNSUPPORTED_MEDIA_TYPE", rule, message)


def unavailable(rule: str, message: str, seconds: int = 1) -> HTTPError:
    """Returns the error of a request for which there is no room for so many seconds."""
    return HTTPError(503, "TEMPORARILY_UNAVAILABLE", rule, message, {"retry-after": str(seconds)})


def timed_out(message: str) -> HTTPError:
    """Returns the error of a request whose answer takes too long."""
    return HTTPError(504, "DEADLINE_EXCEEDED", "answer_seconds", message)
