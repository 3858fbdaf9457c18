"""The guard before a model and an application that are made up."""

import asyncio
import hashlib
from types import SimpleNamespace
from typing import Any

import numpy as np

from pipeline.config.serve import Limits, Serve
from pipeline.inference.predictor import Predictor, Trained
from pipeline.server.api_keys import ApiKeys
from pipeline.server.content_coding import Codings
from pipeline.server.guard import Guard
from pipeline.server.http_error import unavailable
from pipeline.server.request_json import Reader
from pipeline.server.response import Response, respond
from tests.support.asgi import Exchange, ask, parts_of
from tests.support.pima import CONTRACT, PATIENT, text

GOOD = text({"dataframe_records": [PATIENT]}).encode()
KEY = "tok-SECRET-987654"
OTHER_KEY = "tok-other"
IDENTITY = {"model": "visits", "version": "7"}


def hashed(key: str) -> str:
    """The sha256 of a key, in hexadecimal digits."""
    return hashlib.sha256(key.encode()).hexdigest()


def make_keys(**keys: str) -> ApiKeys:
    """Keys by the names of their owners."""
    return ApiKeys({name: bytes.fromhex(hashed(key)) for name, key in keys.items()})


class FakeModel:
    """As `LoadedModel`: it reads as the real one does, and 0.25 is what it always answers."""

    header = b"7"
    version = SimpleNamespace(version="7")

    def __init__(self, predictor: Predictor | None = None) -> None:
        predict = lambda X: np.tile([0.75, 0.25], (len(X), 1))  # noqa: E731
        usual = Predictor(CONTRACT, predict, Trained(0.5, *np.ones((2, 8))), IDENTITY)
        self.predictor = predictor or usual
        self.reader = Reader(self.predictor, 200)
        self.asked: list[Any] = []
        self.is_healthy = True

    def check_health(self) -> None:
        if not self.is_healthy:
            raise unavailable("batch", "it does not start")

    async def answer(
        self, body: bytes, kind: str, seconds: float, codings: Codings, logged: Any = None
    ) -> Response:
        self.asked.append((body, kind, seconds))
        return respond(self.reader, body, kind, False, codings, logged)


class SlowModel(FakeModel):
    """It answers when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.go = asyncio.Event()

    async def answer(self, *request: Any) -> Response:
        await self.go.wait()
        return await super().answer(*request)


async def pages(scope: Any, receive: Any, send: Any) -> None:
    """In place of MLflow's application: it says which page was asked for."""
    body = scope["path"].encode()
    headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def make_guard(
    model: Any = None,
    keys: ApiKeys | None = None,
    application: Any = pages,
    limits: dict[str, Any] | None = None,
    **serve: Any,
) -> Guard:
    settings = Serve(**serve, limits=Limits(**(limits or {})))
    return Guard(settings, keys or ApiKeys({}), model or FakeModel(), application)


def post(guard: Guard, body: bytes = GOOD, *more: bytes, **request: Any) -> Exchange:
    """A request with that body, in parts if there are more."""
    return ask(guard, messages=parts_of(body, *more), **request)
