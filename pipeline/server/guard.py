"""The guard before MLflow's scoring application: who may ask, how much, and in which form.

It answers `/invocations` itself, from a matrix; all other routes are the application's.
"""

import logging
import math
import re
import time
from collections.abc import MutableMapping, Sequence
from functools import lru_cache
from time import perf_counter
from typing import Any

from limits import RateLimitItem, parse
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.config.sections import Serve
from pipeline.server import telemetry as seen
from pipeline.server.answer import Answer
from pipeline.server.connections import Connections
from pipeline.server.exchange import Exchange
from pipeline.server.keys import Keys
from pipeline.server.loaded_model import Served
from pipeline.server.proxies import TrustedProxies
from pipeline.server.refusal import FAULT, Refusal, busy, too_large
from pipeline.server.request_json import content_kind
from pipeline.server.uploads import Uploads

METHODS = {
    "/invocations": "POST",
    **dict.fromkeys(("/ping", "/health", "/version", "/model", "/metrics"), "GET"),
    **dict.fromkeys(("/docs", "/openapi.json"), "GET"),
}
MOST_REMEMBERED = 128  # headers that were looked at before
OPEN = frozenset({"/ping", "/health"})  # to all, under whatever name
METRICS = "/metrics"
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
CHUNK = 2**18  # bytes of an answer at a time: so a slow reader holds the rest back
Header = tuple[bytes, bytes]

log = logging.getLogger(__name__)


class Disconnected(Exception):
    """The client is gone, or was cut."""


class Guard:
    """An ASGI application. `served` is the model that answers; `application` is MLflow's."""

    def __init__(self, serve: Serve, keys: Keys, served: Served, application: ASGIApp) -> None:
        self.serve = serve
        self.limits = serve.limits
        self.keys = keys
        self.served = served
        self.application = application
        self.connections = Connections()
        self.uploads = Uploads(serve.limits)
        self.proxies = TrustedProxies(serve.trusted_proxies)
        self._waiting = 0
        self._hosts = _hosts(serve)
        self._rate: RateLimitItem | None = parse(serve.limits.rate) if serve.limits.rate else None
        self._limiter = FixedWindowRateLimiter(MemoryStorage())
        self._answered = seen.requests.labels("/invocations", "200")
        self._seconds = {path: seen.seconds.labels(path) for path in (*METHODS, "other")}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        exchange = Exchange(scope, send, self.served)
        try:
            self._admit(exchange)
            if exchange.path == "/invocations":
                answer = await self._invocations(exchange, receive)
                exchange.rows = answer.rows
                await self._send(exchange, 200, answer.body)
            else:
                if exchange.path == "/health":
                    exchange.served.check_health()
                await self.application(scope, receive, self._dressed(exchange))
        except Refusal as refusal:
            await self._refuse(exchange, refusal)
        except Disconnected:
            exchange.rule = "disconnected"
        except Exception:
            if not exchange.status:
                await self._refuse(exchange, FAULT)
            log.exception("request %s met a fault", exchange.request_id)
        finally:
            self._note(exchange)

    def _admit(self, exchange: Exchange) -> None:
        """Raises Refusal for a host, key, rate, path or method that is not welcome."""
        path, headers = exchange.path, exchange.headers
        if path in OPEN:
            _check_method(exchange)
            return
        if self._hosts is not None and _host(headers.get(b"host", b"")) not in self._hosts:
            raise Refusal(
                421,
                "PERMISSION_DENIED",
                "host",
                "the header Host names none of this server's hosts; set serve.allowed_hosts",
            )
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
            raise Refusal(
                401,
                "UNAUTHENTICATED",
                "key",
                "send a valid API key as Authorization: Bearer KEY, or as X-API-Key",
                {"www-authenticate": "Bearer"},
            )
        if path not in METHODS:
            known = ", ".join(METHODS)
            raise Refusal(404, "ENDPOINT_NOT_FOUND", "path", f"there is no such path; try {known}")
        _check_method(exchange)

    def _check_rate(self, who: str) -> None:
        if self._rate is not None and not self._limiter.hit(self._rate, who):
            reset = self._limiter.get_window_stats(self._rate, who).reset_time
            seconds = max(1, math.ceil(reset - time.time()))
            raise Refusal(
                429,
                "REQUEST_LIMIT_EXCEEDED",
                "rate",
                f"more than {self.limits.rate} requests; wait {seconds} seconds",
                {"retry-after": str(seconds)},
            )

    async def _invocations(self, exchange: Exchange, receive: Receive) -> Answer:
        """The answer; a request takes a place among those that wait when its body is there."""
        self._check_place()
        kind = self._kind(exchange)
        body = await self._body(exchange, receive)
        self._check_place()
        self._waiting += 1
        try:
            return await exchange.served.answer(body, kind, self.limits.answer_seconds)
        finally:
            self._waiting -= 1

    def _check_place(self) -> None:
        if self._waiting >= self.limits.concurrency:
            raise busy("concurrency", f"{self._waiting} requests are waiting already; try again")

    def _kind(self, exchange: Exchange) -> str:
        """What the headers say of the body. Raises Refusal, before it is read."""
        headers, most = exchange.headers, self.limits.body_bytes
        if b"content-encoding" in headers:
            message = "a body with Content-Encoding is not read; send it as it is"
            raise Refusal(415, "UNSUPPORTED_MEDIA_TYPE", "content_encoding", message)
        told = headers.get(b"content-length")
        if told is not None and int(told) > most:
            raise _body_too_large(most)
        return content_kind(headers.get(b"content-type", b""))

    async def _body(self, exchange: Exchange, receive: Receive) -> bytes:
        """The whole body; refused as soon as it is too large, or there is no room for it."""
        exchange.is_read = True
        part, more = self._part(await receive(), 0)
        if not more:
            return part
        with self.uploads.hold(exchange.client or "") as parts:
            while more:
                parts.add(part)
                part, more = self._part(await receive(), parts.size)
            return parts.whole(part)

    def _part(self, message: Message, size: int) -> tuple[bytes, bool]:
        """What follows on the first `size` bytes of a body, and whether there is more to come."""
        if message["type"] == "http.disconnect":
            raise Disconnected
        part: bytes = message["body"]
        if size + len(part) > self.limits.body_bytes:
            raise _body_too_large(self.limits.body_bytes)
        return part, message.get("more_body", False)

    async def _refuse(self, exchange: Exchange, refusal: Refusal) -> None:
        exchange.rule = refusal.rule
        more = [(name.encode(), value.encode()) for name, value in refusal.headers.items()]
        await self._send(exchange, refusal.status, refusal.body(exchange.request_id), more)

    async def _send(
        self, exchange: Exchange, status: int, body: bytes, more: Sequence[Header] = ()
    ) -> None:
        exchange.status = status
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            *self._own_headers(exchange),
            *more,
        ]
        send = exchange.send
        await send({"type": "http.response.start", "status": status, "headers": headers})
        last = max(len(body) - 1, 0) // CHUNK * CHUNK
        for at in range(0, last, CHUNK):
            part = body[at : at + CHUNK]
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": body[last:] if last else body})

    def _own_headers(self, exchange: Exchange) -> list[Header]:
        headers = [
            (b"x-request-id", exchange.request_id.encode()),
            (b"x-model-version", exchange.served.header),
        ]
        if b"expect" in exchange.headers and not exchange.is_read:
            headers.append((b"connection", b"close"))  # the client may send its body, or may not
        return headers

    def _dressed(self, exchange: Exchange) -> Send:
        """`send` for the application: its answers carry the guard's headers too."""

        async def dressed(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                exchange.status = message["status"]
                headers = [*message.get("headers", ()), *self._own_headers(exchange)]
                message = {**message, "headers": headers}
            await exchange.send(message)

        return dressed

    def _note(self, exchange: Exchange) -> None:
        seconds = perf_counter() - exchange.start
        path = exchange.path if exchange.path in METHODS else "other"
        if exchange.status == 200 and path == "/invocations":
            self._answered.inc()
            seen.rows.inc(exchange.rows)
        else:
            seen.requests.labels(path, str(exchange.status)).inc()
        if exchange.rule is not None:
            seen.refusals.labels(exchange.rule).inc()
        self._seconds[path].observe(seconds)
        fields = {
            "request_id": exchange.request_id,
            "method": exchange.method,
            "path": path,
            "status": exchange.status,
            "ms": round(seconds * 1000, 3),
            "rows": exchange.rows,
            "rule": exchange.rule,
            "model_version": exchange.served.version.version,
            "key": exchange.owner,
            "client": exchange.client,
        }
        seen.log("request", **fields)


def _hosts(serve: Serve) -> frozenset[str] | None:
    """The names to answer to, None for all."""
    if serve.allowed_hosts:
        names = frozenset(_host(name.encode()) for name in serve.allowed_hosts)
        return None if "*" in names else names
    return LOOPBACK_NAMES if is_loopback(serve.host) else None


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address."""
    return host in {"localhost", "::1"} or re.fullmatch(r"127(\.\d+){3}", host) is not None


@lru_cache(MOST_REMEMBERED)
def _host(host: bytes) -> str:
    """A Host header without its port."""
    return re.sub(r":\d*$", "", host.decode("latin-1")).lower()


def _check_method(exchange: Exchange) -> None:
    right = METHODS[exchange.path]
    if exchange.method != right:
        told = f"{exchange.path} takes {right} only"
        raise Refusal(405, "BAD_REQUEST", "method", told, {"allow": right})


def _body_too_large(most: int) -> Refusal:
    return too_large("body_bytes", f"the body is larger than {most} bytes; send fewer rows a time")
