"""uvicorn's HTTP protocol with bounds on what comes before a request reaches the application."""

import logging
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from pipeline.server import framing
from pipeline.server import telemetry as seen
from pipeline.server.exchange import FIELDS
from pipeline.server.guard import Guard
from pipeline.server.refusal import FAULT, Refusal, busy, malformed

LOOK = 0.5  # seconds between two looks at a connection
NOT_HTTP = "the request is not HTTP/1.1"
UNREADABLE_VERSIONS = ("Invalid HTTP version", "Expected HTTP/2 Connection Preface", "Pause on PRI")

log = logging.getLogger(__name__)


class GuardedProtocol(HttpToolsProtocol):
    """Bounds the size of the headers, and the time that a client takes to send or to read.

    A request is answered in its turn, and nothing is read behind one whose end is in doubt. The
    guard is in the state of the application's lifespan.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        """Makes room for a connection that is there already, but has no descriptor yet."""
        super().__init__(*arguments, **options)
        self.guard: Guard = self.app_state["guard"]
        self.limits = self.guard.limits
        self._proxies = self.guard.proxies
        self._at_rest = self.guard.connections
        self._has_room = self.guard.connections.make_room()

    def connection_made(self, transport: Any) -> None:
        """Starts to look after the connection."""
        super().connection_made(transport)
        self._peer = self.client[0] if self.client else ""
        self._address = self._peer  # of the client whose request comes in, once its head is here
        self._head = 0  # bytes since a request or a part of its body began, at most
        self._chunk = 0  # bytes in hand
        self._in_head = True  # and not in a body
        self._since: float | None = self.loop.time()  # we wait for the client to send
        self._unread_since: float | None = None  # we wait for the client to read
        self._is_slow = False  # its body is counted among those on their way
        self._is_last = False  # what comes in now is not read
        self._last: Refusal | None = None  # the answer after all others, then the end
        self._watch = self.loop.call_later(LOOK, self._look)
        if self._has_room:
            self._at_rest.idle(self)
        else:
            self._refuse(busy("connections", "there are too many connections; try again"))

    def connection_lost(self, exc: Exception | None) -> None:
        """Stops looking."""
        self._watch.cancel()
        self._count_no_more()
        self._at_rest.busy(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Ends the connection when the headers grow beyond their limit, or are none."""
        if self._is_last:
            return
        self._unset_keepalive_if_required()
        if self._since is None:
            self._since = self.loop.time()
        self._chunk = len(data)
        self._head += self._chunk
        rest = self._parse(data)
        if rest is not None:
            self._parse_without_upgrade(rest)
        if self._head > self.limits.header_bytes and self._since is not None:
            self._refuse(self._headers_too_large())

    def on_message_begin(self) -> None:
        """A request starts."""
        super().on_message_begin()
        self._in_head = True
        self._head = self._chunk
        self._since = self.loop.time()

    def on_header(self, name: bytes, value: bytes) -> None:
        """One more header, or a trailer."""
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """The application starts, unless the head is too large or not in order."""
        if self._head > self.limits.header_bytes or not self._chunk:  # or more came along with it
            size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
            if size > self.limits.header_bytes:
                raise self._headers_too_large()
        method, version = self.parser.get_method(), self.parser.get_http_version()
        if method != b"CONNECT" and self.parser.should_upgrade():
            return  # it is read once more
        fields = dict(self.headers)
        self.url = framing.check(method, version, self.url, self.headers, fields)
        if version == "1.1":  # 1.0 knows no answer before the answer
            self.expect_100_continue = fields.get(b"expect", b"").lower() == b"100-continue"
        self.scope[FIELDS] = fields  # type: ignore[literal-required]  # beside ASGI's own
        if self.root_path:  # uvicorn puts it before the path, whether a proxy took it off or not
            root = self.root_path.encode()
            self.url = self.url.removeprefix(root) if self.url.startswith(root + b"/") else self.url
        if self._proxies:
            self._address = self._proxies.client(self._peer, self.headers)
            if self._address != self._peer:
                self.scope["client"] = (self._address, 0)
        self._at_rest.busy(self)
        super().on_headers_complete()
        self._in_head = False
        self._head = 0
        self.headers = []  # not those of the request: trailers, which nobody asked for

    def on_body(self, body: bytes) -> None:
        """A part of the body is here."""
        self._head = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is here as a whole."""
        if self._in_head:  # it asks for an upgrade
            return
        self._in_head = True  # of the next
        self._since = None
        self._chunk = 0
        if self._is_slow:
            self._count_no_more()
        self._address = self._peer
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """The next request's turn, or the end."""
        if not self.pipeline:
            self._at_rest.idle(self)
            if self._is_last:
                self._end()
        super().on_response_complete()

    def close_idle(self) -> None:
        """Gives way to another connection."""
        self._is_last = True
        self.transport.close()

    def pause_writing(self) -> None:
        """The client does not take what it is sent."""
        super().pause_writing()
        self._unread_since = self.loop.time()

    def resume_writing(self) -> None:
        """It does again."""
        super().resume_writing()
        self._unread_since = None

    def _parse(self, data: bytes | memoryview) -> memoryview | None:
        """None, or what follows on a head that asks for another protocol."""
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            return memoryview(data)[upgrade.args[0] :]
        except httptools.HttpParserError as error:
            self._refuse(_refusal(error))
        return None

    def _parse_without_upgrade(self, rest: memoryview) -> None:
        """Answers a request that asks for another protocol in this one, as RFC 9110 allows.

        The parser takes what follows such a head for the other protocol. So another one gets the
        head without `Upgrade`, and reads the body as any other.
        """
        unread = [rest, self._head_without_upgrade()]
        while unread and not self._is_last:
            following = self._parse(unread.pop())
            if following is not None:
                unread += [following, self._head_without_upgrade()]

    def _head_without_upgrade(self) -> memoryview:
        """The head again, for a new parser: the old one may be done with the connection."""
        version = self.parser.get_http_version().encode()
        lines = [b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, version)]
        lines += [b"%b: %b" % header for header in self.headers if header[0] != b"upgrade"]
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
        return memoryview(b"\r\n".join([*lines, b"", b""]))

    def _look(self) -> None:
        now, limit = self.loop.time(), self.limits.receive_seconds
        if self.transport.is_closing() and self._unread_since is None:
            self._unread_since = now
        if self._unread_since is not None and now - self._unread_since > limit:
            seen.refusals.labels("slow_reader").inc()
            self.transport.abort()
            return
        if self._since is not None:
            self._look_at_what_comes(now)
        self._watch = self.loop.call_later(LOOK, self._look)

    def _look_at_what_comes(self, now: float) -> None:
        assert self._since is not None
        limit = self.limits.receive_seconds
        if self.flow.read_paused:  # it is us who do not read
            self._since = now
        elif now - self._since > limit:
            message = f"the request took over {limit:g} seconds to arrive; send it faster"
            self._refuse(Refusal(408, "DEADLINE_EXCEEDED", "receive_seconds", message))
        elif not (self._in_head or self._is_slow) and now - self._since > LOOK:
            try:
                self.guard.uploads.begin(self._address)
                self._is_slow = True
            except Refusal as refusal:
                self._refuse(refusal)

    def _count_no_more(self) -> None:
        if self._is_slow:
            self.guard.uploads.end(self._address)
        self._is_slow = False

    def _headers_too_large(self) -> Refusal:
        most = self.limits.header_bytes
        message = f"the headers are larger than {most} bytes; send shorter ones"
        return Refusal(431, "REQUEST_LIMIT_EXCEEDED", "header_bytes", message)

    def _refuse(self, refusal: Refusal) -> None:
        """Reads no more; answers when all before is answered, and ends the connection."""
        if self._is_last:
            return
        self._is_last, self._since = True, None
        cycle = self.cycle
        if self._in_head:  # of a request that the application does not get
            self._last = refusal
        elif not cycle.response_started:
            self._last = refusal
            cycle.disconnected = True
            cycle.message_event.set()
            if not self.pipeline:
                self._end()
                return
            self.pipeline.popleft()  # the cycle, which has not begun
            return
        if cycle is None or cycle.response_complete:
            self._end()

    def _end(self) -> None:
        if self.transport.is_closing():
            return
        if self._last is not None:
            self._write(self._last)
        self.transport.close()

    def _write(self, refusal: Refusal) -> None:
        request_id = seen.new_id()
        body = refusal.body(request_id)
        lines = {
            "content-type": "application/json",
            "content-length": str(len(body)),
            "x-request-id": request_id,
            "x-model-version": self.guard.served.version.version,
            **refusal.headers,
            "connection": "close",
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        self.transport.write(STATUS_LINE[refusal.status] + head.encode() + b"\r\n" + body)
        seen.refusals.labels(refusal.rule).inc()
        if self._has_room:  # else the log would grow by thousands of lines that say one thing
            fields = {"status": refusal.status, "rule": refusal.rule, "client": self._address}
            seen.log("request", request_id=request_id, **fields)


def _refusal(error: httptools.HttpParserError) -> Refusal:
    """What the parser, or one of its callbacks, has against a request."""
    cause = error.__context__
    if isinstance(cause, Refusal):
        return cause
    if isinstance(error, httptools.HttpParserCallbackError):
        log.error("a request met a fault", exc_info=cause)
        return FAULT
    reason = str(error)
    if reason.startswith(UNREADABLE_VERSIONS):
        return framing.unsupported_version()
    if isinstance(error, httptools.HttpParserInvalidMethodError):
        return malformed("http", NOT_HTTP)
    return malformed("http", f"{NOT_HTTP}: {reason}")
