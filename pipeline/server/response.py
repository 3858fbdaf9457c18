"""The response to one request, as bytes: the same in the server and in its worker process."""

from typing import NamedTuple

import orjson

from pipeline.errors import ContractError
from pipeline.inference.predictor import records
from pipeline.server.http_error import invalid_parameter
from pipeline.server.request_json import Reader

QUICK_BYTES = 2**16  # of a body that is answered at once, between two other requests
QUICK_ROWS = 512
QUICK_EXPLAINED = 2  # rows


class SlowRequestError(Exception):
    """The request takes longer than others should wait."""


class Response(NamedTuple):
    """The body of a response, and how many rows it answers."""

    body: bytes
    rows: int


def respond(reader: Reader, body: bytes, media_type: str, is_quick: bool) -> Response:
    """Reads a request and answers it. Raises HTTPError; SlowRequestError if it has to be quick."""
    request = reader.read(body, media_type)
    count = len(request.X)
    if is_quick and count > (QUICK_EXPLAINED if request.params.explain else QUICK_ROWS):
        raise SlowRequestError
    try:
        columns = reader.predictor.answers(request.X, request.params)
    except ContractError as error:
        raise invalid_parameter(error.rule, str(error)) from None
    return Response(orjson.dumps({"predictions": records(columns)}), count)
