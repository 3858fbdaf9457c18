"""No framework and no model, under uvicorn: what reading JSON and answering costs at least."""

from collections.abc import Awaitable, Callable
from typing import Any

import orjson

ANSWER = orjson.dumps({"predictions": [{"label": 1, "probability": 0.5}]})
HEADERS = [
    (b"content-type", b"application/json"),
    (b"content-length", str(len(ANSWER)).encode()),
]
START = {"type": "http.response.start", "status": 200, "headers": HEADERS}
BODY = {"type": "http.response.body", "body": ANSWER}
Event = dict[str, Any]


async def app(
    scope: Event,
    receive: Callable[[], Awaitable[Event]],
    send: Callable[[Event], Awaitable[None]],
) -> None:
    """Gives the same answer to any request, after reading it."""
    parts: list[bytes] = []
    more = scope["method"] == "POST"
    while more:
        event = await receive()
        parts.append(event["body"])
        more = event["more_body"]
    if parts:
        orjson.loads(b"".join(parts))
    await send(START)
    await send(BODY)
