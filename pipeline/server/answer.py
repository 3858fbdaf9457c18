"""The answer to one request, as bytes: the same in the server and in the process beside it."""

from typing import NamedTuple

import orjson

from pipeline.errors import ContractError
from pipeline.inference.predictor import records
from pipeline.server.refusal import invalid
from pipeline.server.request_json import Reader

QUICK_BYTES = 2**16  # of a body that is answered at once, between two other requests
QUICK_ROWS = 512
QUICK_EXPLAINED = 2


class Heavy(Exception):
    """The request takes longer than others should wait."""


class Answer(NamedTuple):
    """The body of the answer, and how many rows it is about."""

    body: bytes
    rows: int


def answer(reader: Reader, body: bytes, kind: str, is_quick: bool) -> Answer:
    """Raises Refusal; and Heavy for what `is_quick` cannot be."""
    request = reader.read(body, kind)
    count = len(request.X)
    if is_quick and count > (QUICK_EXPLAINED if request.params.explain else QUICK_ROWS):
        raise Heavy
    try:
        columns = reader.scorer.answers(request.X, request.params)
    except ContractError as error:
        raise invalid(error.rule, str(error)) from None
    return Answer(orjson.dumps({"predictions": records(columns)}), count)
