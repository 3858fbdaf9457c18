"""One request to an ASGI application in this process, without a socket."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Message = dict[str, Any]
GONE: Message = {"type": "http.disconnect"}


@dataclass
class Exchange:
    """What was sent back, and how many messages of the body were taken."""

    messages: list[Message] = field(default_factory=list)
    taken: int = 0

    @property
    def status(self) -> int:
        return int(self.messages[0]["status"])

    @property
    def headers(self) -> dict[str, str]:
        pairs = [(name.decode(), value.decode()) for name, value in self.messages[0]["headers"]]
        assert len({name for name, _ in pairs}) == len(pairs)
        return dict(pairs)

    @property
    def body(self) -> bytes:
        first, *parts = self.messages
        assert first["type"] == "http.response.start"
        assert [part.get("more_body", False) for part in parts] == [True] * (len(parts) - 1) + [
            False
        ]
        return b"".join(part["body"] for part in parts)

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def parts_of(body: bytes, *more: bytes) -> list[Message]:
    """The messages in which a body arrives."""
    parts = (body, *more)
    return [
        {"type": "http.request", "body": part, "more_body": place < len(parts)}
        for place, part in enumerate(parts, 1)
    ]


async def exchange(  # noqa: PLR0917
    application: Callable[..., Awaitable[None]],
    method: str = "POST",
    path: str = "/invocations",
    headers: Mapping[str, str] | None = None,
    messages: Sequence[Message] = (),
    client: tuple[str, int] | None = ("10.0.0.9", 5000),
) -> Exchange:
    """The messages given are what the client sends; after them it waits."""
    done = Exchange()
    usual = {"host": "localhost:8080", "content-type": "application/json"}

    async def receive() -> Message:
        if done.taken == len(messages):
            await asyncio.Event().wait()
        done.taken += 1
        return messages[done.taken - 1]

    async def send(message: Message) -> None:
        done.messages.append(message)

    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "scheme": "http",
        "headers": [
            (name.encode(), value.encode("latin-1"))
            for name, value in {**usual, **(headers or {})}.items()
        ],
        "client": client,
    }
    await application(scope, receive, send)
    return done


def ask(application: Callable[..., Awaitable[None]], **request: Any) -> Exchange:
    """The same, from outside of a loop."""
    return asyncio.run(exchange(application, **request))
