"""Why a request gets no answer, in the words of the REST contract."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson


@dataclass
class Refusal(Exception):
    """A status, MLflow's error code, the rule that was broken, and a sentence without data."""

    status: int
    code: str
    rule: str  # for the metrics and the log: json, range, body_bytes, key, ...
    message: str
    headers: Mapping[str, str] = field(default_factory=dict)

    def __reduce__(self) -> Any:  # dataclass and Exception do not agree on how to be pickled
        return Refusal, (self.status, self.code, self.rule, self.message, self.headers)

    def body(self, request_id: str) -> bytes:
        """`{"error_code", "message", "request_id"}`."""
        return orjson.dumps(
            {"error_code": self.code, "message": self.message, "request_id": request_id}
        )


FAULT = Refusal(500, "INTERNAL_ERROR", "fault", "the server has a fault; it is logged there")


def malformed(rule: str, message: str) -> Refusal:
    """The request cannot be read."""
    return Refusal(400, "BAD_REQUEST", rule, message)


def invalid(rule: str, message: str) -> Refusal:
    """The request can be read, but breaks the contract."""
    return Refusal(400, "INVALID_PARAMETER_VALUE", rule, message)


def too_large(rule: str, message: str) -> Refusal:
    """The request is larger than the limits allow."""
    return Refusal(413, "REQUEST_LIMIT_EXCEEDED", rule, message)


def busy(rule: str, message: str, seconds: int = 1) -> Refusal:
    """There is no place for the request now."""
    return Refusal(503, "TEMPORARILY_UNAVAILABLE", rule, message, {"retry-after": str(seconds)})


def late(message: str) -> Refusal:
    """The answer would take too long."""
    return Refusal(504, "DEADLINE_EXCEEDED", "answer_seconds", message)
