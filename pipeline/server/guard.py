"""The guard before MLflow's scoring application: who may ask, how much, and in which form.

It answers `/invocations` itself, from a matrix; all other routes are the application's.
"""

import logging
import math
import re
import time
from collections.abc import Mapping, MutableMapping, Sequence
from functools import lru_cache
from time import perf_counter
from typing import Any

from limits import RateLimitItem, parse
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.config.serve import Serve
from pipeline.server import telemetry
from pipeline.server.api_keys import ApiKeys
from pipeline.server.connections import Connections
from pipeline.server.content_coding import Codings, codings
from pipeline.server.http_error import INTERNAL_ERROR, HTTPError, body_too_large, unavailable
from pipeline.server.loaded_model import LoadedModel
from pipeline.server.proxies import TrustedProxies
from pipeline.server.request_head import Header
from pipeline.server.request_json import media_type
from pipeline.server.request_log import RequestLog
from pipeline.server.response import Response
from pipeline.server.shadow import Shadow
from pipeline.server.uploads import Uploads

METHODS = {
    "/invocations": "POST",
    **dict.fromkeys(("/ping", "/health", "/version", "/model", "/metrics"), "GET"),
    **dict.fromkeys(("/docs", "/openapi.json"), "GET"),
}
OPEN = frozenset({"/ping", "/health"})  # to all, under whatever name
METRICS = "/metrics"
FIELDS = "pipeline.fields"  # in a scope: its headers as a mapping
CLIENT_ID = re.compile(rb"[\w.:-]{1,64}")
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
CACHED_HOSTS = 128
PACKED: tuple[Header, ...] = ((b"content-encoding", b"gzip"), (b"vary", b"accept-encoding"))
CHUNK = 2**18  # bytes of an answer at a time: so a slow reader holds the rest back

log = logging.getLogger(__name__)


class DisconnectedError(Exception):
    """The client is gone, or was cut."""


class Exchange:
    """A request, the model that answers it, and what becomes of it."""

    __slots__ = (
        *("headers", "method", "client", "is_read", "owner", "path", "request_id", "rows", "rule"),
        *("send", "model", "start", "status"),
    )

    def __init__(self, scope: Scope, send: Send, model: LoadedModel) -> None:
        self.start = perf_counter()
        self.headers: Mapping[bytes, bytes] = scope.get(FIELDS) or dict(scope["headers"])
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        if scope["root_path"]:
            self.path = self.path.removeprefix(scope["root_path"])
        self.client: str | None = scope["client"] and scope["client"][0]
        self.send = send
        self.model = model  # the same to the end, whatever is promoted meanwhile
        client_id = self.headers.get(b"x-request-id", b"")
        is_usable = client_id and CLIENT_ID.fullmatch(client_id)
        self.request_id = client_id.decode() if is_usable else telemetry.new_request_id()
        self.is_read = False  # nobody has asked for its body
        self.status = 0  # no answer
        self.rows = 0
        self.rule: str | None = None
        self.owner: str | None = None


class Guard:
    """An ASGI application. `model` is the one that answers; `application` is MLflow's."""

    def __init__(  # noqa: PLR0913, PLR0917
        self,
        serve: Serve,
        keys: ApiKeys,
        model: LoadedModel,
        application: ASGIApp,
        request_log: RequestLog | None = None,
        shadow: Shadow | None = None,
    ) -> None:
        self.serve = serve
        self.limits = serve.limits
        self.keys = keys
        self.model = model
        self.application = application
        self.request_log = request_log
        self.shadow = shadow
        self.connections = Connections()
        self.uploads = Uploads(serve.limits)
        self.proxies = TrustedProxies(serve.trusted_proxies)
        self._waiting = 0
        self._hosts = _hosts(serve)
        self._rate: RateLimitItem | None = parse(serve.limits.rate) if serve.limits.rate else None
        self._limiter = FixedWindowRateLimiter(MemoryStorage())
        self._answered = telemetry.requests.labels("/invocations", "200")
        self._seconds = {path: telemetry.seconds.labels(path) for path in (*METHODS, "other")}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        exchange = Exchange(scope, send, self.model)
        try:
            self._admit(exchange)
            if exchange.path == "/invocations":
                response = await self._invocations(exchange, receive)
                exchange.rows = response.rows
                await self._send(exchange, 200, response.body, PACKED if response.is_gzip else ())
                if self.request_log is not None and response.logged is not None:
                    self.request_log.add(response.logged, response.rows)
            else:
                if exchange.path == "/health":
                    exchange.model.check_health()
                await self.application(scope, receive, self._with_headers(exchange))
        except HTTPError as error:
            await self._send_error(exchange, error)
        except DisconnectedError:
            exchange.rule = "disconnected"
        except Exception:
            if not exchange.status:
                await self._send_error(exchange, INTERNAL_ERROR)
            log.exception("request %s met a fault", exchange.request_id)
        finally:
            self._record(exchange)

    def _admit(self, exchange: Exchange) -> None:
        """Raises HTTPError for a host, key, rate, path or method that is not welcome."""
        path, headers = exchange.path, exchange.headers
        if path in OPEN:
            _check_method(exchange)
            return
        if self._hosts is not None and _host(headers.get(b"host", b"")) not in self._hosts:
            message = "the header Host names none of this server's hosts; set serve.allowed_hosts"
            raise HTTPError(421, "host", message)
        is_locked = bool(self.keys)
        if is_locked:
            exchange.owner = self.keys.owner(headers)
            is_locked = exchange.owner is None
        if path == METRICS and (self.serve.open_metrics or not is_locked):
            _check_method(exchange)  # it counts as no request: it is asked every few seconds
            return
        who = f"key {exchange.owner}" if exchange.owner else f"address {exchange.client}"
        self._check_rate(who)  # before a wrong key is refused: those count too
        if is_locked:
            message = "send a valid API key as Authorization: Bearer KEY, or as X-API-Key"
            challenge = {"www-authenticate": "Bearer"}
            raise HTTPError(401, "key", message, challenge)
        if path not in METHODS:
            message = f"there is no such path; try {', '.join(METHODS)}"
            raise HTTPError(404, "path", message)
        _check_method(exchange)

    def _check_rate(self, who: str) -> None:
        if self._rate is not None and not self._limiter.hit(self._rate, who):
            reset = self._limiter.get_window_stats(self._rate, who).reset_time
            seconds = max(1, math.ceil(reset - time.time()))
            message = f"more than {self.limits.rate} requests; wait {seconds} seconds"
            after = {"retry-after": str(seconds)}
            raise HTTPError(429, "rate", message, after)

    async def _invocations(self, exchange: Exchange, receive: Receive) -> Response:
        """Returns the answer; a request takes a place among those that wait once it is whole."""
        self._check_place()
        coding = self._codings(exchange)
        kind = self._media_type(exchange)
        body = await self._body(exchange, receive)
        self._check_place()
        seconds, log = self.limits.answer_seconds, self.request_log
        logged = None if log is None else log.request(exchange.request_id)
        self._waiting += 1
        try:
            response = await exchange.model.answer(body, kind, seconds, coding, logged)
        finally:
            self._waiting -= 1
        if self.shadow is not None:
            self.shadow.add(exchange.request_id, exchange.model, body, kind, coding, response)
        return response

    def _check_place(self) -> None:
        if self._waiting >= self.limits.concurrency:
            message = f"{self._waiting} requests are waiting already; try again"
            raise unavailable("concurrency", message)

    def _codings(self, exchange: Exchange) -> Codings:
        headers = exchange.headers
        packed, accepted = headers.get(b"content-encoding"), headers.get(b"accept-encoding")
        return codings(packed, accepted, self.limits.body_bytes)

    def _media_type(self, exchange: Exchange) -> str:
        """Returns what the headers say of the body. Raises HTTPError, before it is read."""
        headers, limit = exchange.headers, self.limits.body_bytes
        length = headers.get(b"content-length")
        if length is not None and int(length) > limit:
            raise body_too_large(limit)
        return media_type(headers.get(b"content-type", b""))

    async def _body(self, exchange: Exchange, receive: Receive) -> bytes:
        """Returns the whole body. Raises HTTPError once it is too large, or has no room."""
        exchange.is_read = True
        part, more = self._part(await receive(), 0)
        if not more:
            return part
        with self.uploads.parts(exchange.client or "") as parts:
            while more:
                parts.append(part)
                part, more = self._part(await receive(), parts.size)
            return b"".join([*parts, part])

    def _part(self, message: Message, size: int) -> tuple[bytes, bool]:
        """Returns what follows on the first `size` bytes, and whether there is more to come."""
        if message["type"] == "http.disconnect":
            raise DisconnectedError
        part: bytes = message["body"]
        if size + len(part) > self.limits.body_bytes:
            raise body_too_large(self.limits.body_bytes)
        return part, message.get("more_body", False)

    async def _send_error(self, exchange: Exchange, error: HTTPError) -> None:
        exchange.rule = error.rule
        more = [(name.encode(), value.encode()) for name, value in error.headers.items()]
        await self._send(exchange, error.status, error.body(exchange.request_id), more)

    async def _send(
        self, exchange: Exchange, status: int, body: bytes, more: Sequence[Header] = ()
    ) -> None:
        exchange.status = status
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            *self._common_headers(exchange),
            *more,
        ]
        send = exchange.send
        await send({"type": "http.response.start", "status": status, "headers": headers})
        last = max(len(body) - 1, 0) // CHUNK * CHUNK
        for at in range(0, last, CHUNK):
            part = body[at : at + CHUNK]
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": body[last:] if last else body})

    def _common_headers(self, exchange: Exchange) -> list[Header]:
        headers = [
            (b"x-request-id", exchange.request_id.encode()),
            (b"x-model-version", exchange.model.header),
        ]
        if b"expect" in exchange.headers and not exchange.is_read:
            headers.append((b"connection", b"close"))  # the client may send its body, or may not
        return headers

    def _with_headers(self, exchange: Exchange) -> Send:
        """Returns `send` for the application: its answers carry the guard's headers too."""

        async def send(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                exchange.status = message["status"]
                headers = [*message.get("headers", ()), *self._common_headers(exchange)]
                message = {**message, "headers": headers}
            await exchange.send(message)

        return send

    def _record(self, exchange: Exchange) -> None:
        seconds = perf_counter() - exchange.start
        path = exchange.path if exchange.path in METHODS else "other"
        if exchange.status == 200 and path == "/invocations":
            self._answered.inc()
            telemetry.rows.inc(exchange.rows)
        else:
            telemetry.requests.labels(path, str(exchange.status)).inc()
        if exchange.rule is not None:
            telemetry.refusals.labels(exchange.rule).inc()
        self._seconds[path].observe(seconds)
        telemetry.log(
            "request",
            request_id=exchange.request_id,
            method=exchange.method,
            path=path,
            status=exchange.status,
            ms=round(seconds * 1000, 3),
            rows=exchange.rows,
            rule=exchange.rule,
            model_version=exchange.model.version.version,
            key=exchange.owner,
            client=exchange.client,
        )


def _hosts(serve: Serve) -> frozenset[str] | None:
    """Returns the names to answer to, None for all."""
    if serve.allowed_hosts:
        names = frozenset(_host(name.encode()) for name in serve.allowed_hosts)
        return None if "*" in names else names
    return LOOPBACK_NAMES if is_loopback(serve.host) else None


def is_loopback(host: str) -> bool:
    """Returns whether only this machine can reach the address."""
    return host in {"localhost", "::1"} or re.fullmatch(r"127(\.\d+){3}", host) is not None


@lru_cache(CACHED_HOSTS)
def _host(host: bytes) -> str:
    """Returns a Host header without its port."""
    return re.sub(r":\d*$", "", host.decode("latin-1")).lower()


def _check_method(exchange: Exchange) -> None:
    method = METHODS[exchange.path]
    if exchange.method != method:
        message = f"{exchange.path} takes {method} only"
        raise HTTPError(405, "method", message, {"allow": method})
