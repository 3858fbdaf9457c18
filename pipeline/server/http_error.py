"""The error responses of the REST contract: HTTP statuses with MLflow's error codes."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import orjson

CODES = {  # MLflow's, by the status
    **{400: "BAD_REQUEST", 401: "UNAUTHENTICATED", 404: "ENDPOINT_NOT_FOUND", 405: "BAD_REQUEST"},
    **{408: "DEADLINE_EXCEEDED", 411: "BAD_REQUEST", 413: "REQUEST_LIMIT_EXCEEDED"},
    **{415: "UNSUPPORTED_MEDIA_TYPE", 421: "PERMISSION_DENIED", 429: "REQUEST_LIMIT_EXCEEDED"},
    **{431: "REQUEST_LIMIT_EXCEEDED", 500: "INTERNAL_ERROR", 501: "NOT_IMPLEMENTED"},
    **{503: "TEMPORARILY_UNAVAILABLE", 504: "DEADLINE_EXCEEDED", 505: "BAD_REQUEST"},
}


@dataclass(eq=False)
class HTTPError(Exception):
    """An error response to a request; its message holds none of the caller's data."""

    status: int
    rule: str  # that was broken, for the metrics and the log: json, range, body_bytes, key, ...
    message: str
    headers: Mapping[str, str] = field(default_factory=dict)
    code: str = ""  # MLflow's; that of the status, if none is given

    def __post_init__(self) -> None:
        self.code = self.code or CODES[self.status]

    def body(self, request_id: str) -> bytes:
        """Returns the JSON object with `error_code`, `message` and `request_id`."""
        return orjson.dumps(
            {"error_code": self.code, "message": self.message, "request_id": request_id}
        )


INTERNAL_ERROR = HTTPError(500, "fault", "the server has a fault; it is logged there")


def invalid_parameter(rule: str, message: str) -> HTTPError:
    """Returns the error of a request that can be read, but breaks the contract."""
    return HTTPError(400, rule, message, code="INVALID_PARAMETER_VALUE")


def body_too_large(limit: int) -> HTTPError:
    """Returns the error of a body that is larger than so many bytes, or unpacks to more."""
    message = f"the body is larger than {limit} bytes; send fewer rows a time"
    return HTTPError(413, "body_bytes", message)


def unavailable(rule: str, message: str, seconds: int = 1) -> HTTPError:
    """Returns the error of a request for which there is no room for so many seconds."""
    return HTTPError(503, rule, message, {"retry-after": str(seconds)})
