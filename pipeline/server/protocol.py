"""uvicorn's HTTP protocol with bounds on what comes before a request reaches the application."""

import logging
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from pipeline.server import request_head, telemetry
from pipeline.server.guard import FIELDS, Guard
from pipeline.server.http_error import INTERNAL_ERROR, HTTPError, unavailable

CHECK_SECONDS = 0.5  # between two checks of a connection's times
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
        self._connections = self.guard.connections
        self._has_room = self.guard.connections.make_room()

    def connection_made(self, transport: Any) -> None:
        """Starts the checks of the connection's times."""
        super().connection_made(transport)
        self._peer = self.client[0] if self.client else ""
        self._address = self._peer  # of the client whose request comes in, once its head is here
        self._head_size = 0  # bytes since a request or a part of its body began, at most
        self._segment_size = 0  # bytes of what came last
        self._in_head = True  # and not in a body
        self._waiting_since: float | None = self.loop.time()  # for the client to send
        self._unread_since: float | None = None  # what we sent
        self._is_slow = False  # its body is counted among those on their way
        self._is_last = False  # what comes in now is not read
        self._last_error: HTTPError | None = None  # the answer after all others, then the end
        self._check = self.loop.call_later(CHECK_SECONDS, self._check_times)
        if self._has_room:
            self._connections.idle(self)
        else:
            self._refuse(unavailable("connections", "there are too many connections; try again"))

    def connection_lost(self, exc: Exception | None) -> None:
        """Stops the checks."""
        self._check.cancel()
        self._end_upload()
        self._connections.busy(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Reads a segment; refuses headers that are none, or grow beyond their limit."""
        if self._is_last:
            return
        self._unset_keepalive_if_required()
        if self._waiting_since is None:
            self._waiting_since = self.loop.time()
        self._segment_size = len(data)
        self._head_size += self._segment_size
        rest = self._parse(data)
        if rest is not None:
            self._parse_without_upgrade(rest)
        if self._head_size > self.limits.header_bytes and self._waiting_since is not None:
            self._refuse(self._headers_too_large())

    def on_message_begin(self) -> None:
        """Begins a request."""
        super().on_message_begin()
        self._in_head = True
        self._head_size = self._segment_size
        self._waiting_since = self.loop.time()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Takes one more header, or a trailer."""
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Starts the application, unless the head is too large or not in order."""
        limit = self.limits.header_bytes
        if self._head_size > limit or not self._segment_size:  # or more came along with it
            size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
            if size > limit:
                raise self._headers_too_large()
        method, version = self.parser.get_method(), self.parser.get_http_version()
        if method != b"CONNECT" and self.parser.should_upgrade():
            return  # it is read once more
        fields = dict(self.headers)
        self.url = request_head.check(method, version, self.url, self.headers, fields)
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
        self._connections.busy(self)
        super().on_headers_complete()
        self._in_head = False
        self._head_size = 0
        self.headers = []  # not those of the request: trailers, which nobody asked for

    def on_body(self, body: bytes) -> None:
        """Hands a part of the body on."""
        self._head_size = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Ends a request that is here as a whole."""
        if self._in_head:  # it asks for an upgrade
            return
        self._in_head = True  # of the next
        self._waiting_since = None
        self._segment_size = 0
        if self._is_slow:
            self._end_upload()
        self._address = self._peer
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Lets the next request have its turn, or ends the connection."""
        if not self.pipeline:
            self._connections.idle(self)
            if self._is_last:
                self._end()
        super().on_response_complete()

    def close_idle(self) -> None:
        """Gives way to another connection."""
        self._is_last = True
        self.transport.close()

    def pause_writing(self) -> None:
        """Notes that the client does not take what it is sent."""
        super().pause_writing()
        self._unread_since = self.loop.time()

    def resume_writing(self) -> None:
        """Notes that the client reads again."""
        super().resume_writing()
        self._unread_since = None

    def _parse(self, data: bytes | memoryview) -> memoryview | None:
        """Returns what follows on a head that asks for another protocol, else None."""
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            return memoryview(data)[upgrade.args[0] :]
        except httptools.HttpParserError as error:
            self._refuse(_http_error(error))
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
        """Returns the head for a new parser: the old one may be done with the connection."""
        version = self.parser.get_http_version().encode()
        lines = [b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, version)]
        lines += [b"%b: %b" % header for header in self.headers if header[0] != b"upgrade"]
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
        return memoryview(b"\r\n".join([*lines, b"", b""]))

    def _check_times(self) -> None:
        now, limit = self.loop.time(), self.limits.receive_seconds
        if self.transport.is_closing() and self._unread_since is None:
            self._unread_since = now
        if self._unread_since is not None and now - self._unread_since > limit:
            telemetry.refusals.labels("slow_reader").inc()
            self.transport.abort()
            return
        if self._waiting_since is not None:
            self._check_arrival(now, self._waiting_since)
        self._check = self.loop.call_later(CHECK_SECONDS, self._check_times)

    def _check_arrival(self, now: float, since: float) -> None:
        limit = self.limits.receive_seconds
        if self.flow.read_paused:  # it is us who do not read
            self._waiting_since = now
        elif now - since > limit:
            message = f"the request took over {limit:g} seconds to arrive; send it faster"
            self._refuse(HTTPError(408, "receive_seconds", message))
        elif not (self._in_head or self._is_slow) and now - since > CHECK_SECONDS:
            try:
                self.guard.uploads.begin(self._address)
                self._is_slow = True
            except HTTPError as error:
                self._refuse(error)

    def _end_upload(self) -> None:
        if self._is_slow:
            self.guard.uploads.end(self._address)
        self._is_slow = False

    def _headers_too_large(self) -> HTTPError:
        limit = self.limits.header_bytes
        message = f"the headers are larger than {limit} bytes; send shorter ones"
        return HTTPError(431, "header_bytes", message)

    def _refuse(self, error: HTTPError) -> None:
        """Reads no more; answers when all before is answered, and ends the connection."""
        if self._is_last:
            return
        self._is_last, self._waiting_since = True, None
        cycle = self.cycle
        if self._in_head:  # of a request that the application does not get
            self._last_error = error
        elif not cycle.response_started:
            self._last_error = error
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
        if self._last_error is not None:
            self._write(self._last_error)
        self.transport.close()

    def _write(self, error: HTTPError) -> None:
        request_id = telemetry.new_request_id()
        body = error.body(request_id)
        headers = {
            "content-type": "application/json",
            "content-length": str(len(body)),
            "x-request-id": request_id,
            "x-model-version": self.guard.model.version.version,
            **error.headers,
            "connection": "close",
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self.transport.write(STATUS_LINE[error.status] + head.encode() + b"\r\n" + body)
        telemetry.refusals.labels(error.rule).inc()
        if self._has_room:  # else the log would grow by thousands of lines that say one thing
            fields = {"status": error.status, "rule": error.rule, "client": self._address}
            telemetry.log("request", request_id=request_id, **fields)


def _http_error(error: httptools.HttpParserError) -> HTTPError:
    """Returns the error of a request in which the parser, or a callback, found a fault."""
    cause = error.__context__
    if isinstance(cause, HTTPError):
        return cause
    if isinstance(error, httptools.HttpParserCallbackError):
        log.error("a request met a fault", exc_info=cause)
        return INTERNAL_ERROR
    reason = str(error)
    if reason.startswith(UNREADABLE_VERSIONS):
        return request_head.unsupported_version()
    is_method = isinstance(error, httptools.HttpParserInvalidMethodError)
    return HTTPError(400, "http", NOT_HTTP if is_method else f"{NOT_HTTP}: {reason}")
