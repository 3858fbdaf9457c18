"""The response to one request, as bytes: the same in the server and in its worker process."""

from dataclasses import replace
from typing import Any, NamedTuple

import orjson

from pipeline.errors import ContractError
from pipeline.inference.predictor import records
from pipeline.server.content_coding import LEAST_BYTES, PLAIN, Codings, pack, unpack
from pipeline.server.http_error import body_too_large, invalid_parameter
from pipeline.server.log_lines import LoggedRequest, LoggedRows
from pipeline.server.request_json import Reader

QUICK_BYTES = 2**16  # of a body that is answered at once, between two other requests
QUICK_PACKED_BYTES = 2**13  # of gzip, which may be thousands of empty members
QUICK_ROWS = 512
QUICK_EXPLAINED = 2  # rows


class SlowRequestError(Exception):
    """The request takes longer than others should wait."""


class Response(NamedTuple):
    """The body of a response, how many rows it answers, and what the request log has of them."""

    body: bytes
    rows: int
    is_gzip: bool = False
    logged: LoggedRows | bytes | None = None


def respond(  # noqa: PLR0913, PLR0917
    reader: Reader,
    body: bytes,
    media_type: str,
    is_quick: bool,
    codings: Codings = PLAIN,
    logged: LoggedRequest | None = None,
) -> Response:
    """Reads a request and answers it. Raises HTTPError; SlowRequestError if it has to be quick."""
    if codings.most_bytes is not None:
        body = _unpacked(body, codings.most_bytes, is_quick)
    request = reader.read(body, media_type)
    count = len(request.X)
    if is_quick and count > (QUICK_EXPLAINED if request.params.explain else QUICK_ROWS):
        raise SlowRequestError
    # The version stands beside MLflow's `predictions`, once: MLflow's own server can't but repeat
    # it in each row.
    params = replace(request.params, version=False) if request.params.version else request.params
    try:
        columns = reader.predictor.answers(request.X, params)
    except ContractError as error:
        raise invalid_parameter(error.rule, str(error)) from None
    answer: dict[str, Any] = {"predictions": records(columns)}
    if request.params.version:
        answer |= reader.predictor.model_version
    content = orjson.dumps(answer)
    rows = logged and LoggedRows(reader.predictor, logged, request.X, columns)
    if codings.packs_answer and len(content) >= LEAST_BYTES:
        return Response(pack(content), count, is_gzip=True, logged=rows)
    return Response(content, count, logged=rows)


def _unpacked(body: bytes, most_bytes: int, is_quick: bool) -> bytes:
    if is_quick and len(body) > QUICK_PACKED_BYTES:
        raise SlowRequestError
    is_slow = is_quick and most_bytes > QUICK_BYTES
    unpacked = unpack(body, QUICK_BYTES if is_slow else most_bytes)
    if unpacked is not None:
        return unpacked
    if is_slow:
        raise SlowRequestError
    raise body_too_large(most_bytes)
