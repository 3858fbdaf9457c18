"""uvicorn's HTTP protocol with bounds on what comes before a request reaches the application."""

from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from pipeline.server import seen
from pipeline.server.guard import Guard
from pipeline.server.refusal import Refusal, malformed

LOOK = 0.5  # seconds between two looks at a connection


class GuardedProtocol(HttpToolsProtocol):
    """Bounds the size of the headers, and the time that a client takes to send or to read.

    The guard is in the state of the application's lifespan.
    """

    def connection_made(self, transport: Any) -> None:
        """Starts to look after the connection."""
        super().connection_made(transport)
        self.guard: Guard = self.app_state["guard"]
        self.limits = self.guard.limits
        self._head = 0  # bytes of headers so far, at most
        self._chunk = 0  # bytes in hand
        self._in_head = True
        self._reads = True  # whether the client takes what it is sent
        self._since: float | None = self.loop.time()  # we wait for the client
        self._watch = self.loop.call_later(LOOK, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stops looking."""
        self._watch.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Ends the connection when the headers grow beyond their limit."""
        if self._since is None:
            self._since = self.loop.time()
        self._chunk = len(data)
        if self._in_head:
            self._head += self._chunk
        super().data_received(data)
        if self._in_head and self._head > self.limits.header_bytes:
            self._refuse(self._headers_too_large())

    def on_message_begin(self) -> None:
        """A request starts."""
        super().on_message_begin()
        self._in_head = True
        self._head = self._chunk
        self._since = self.loop.time()

    def on_headers_complete(self) -> None:
        """The application starts, unless the headers are too large."""
        if self._head > self.limits.header_bytes:  # or a body came along with them
            size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
            if size > self.limits.header_bytes:
                self._refuse(self._headers_too_large())
                raise httptools.HttpParserError("headers are too large")  # and no more is read
        self._in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The request is here as a whole."""
        self._since = None
        super().on_message_complete()

    def pause_writing(self) -> None:
        """The client does not take what it is sent."""
        super().pause_writing()
        self._reads, self._since = False, self.loop.time()

    def resume_writing(self) -> None:
        """It does again."""
        super().resume_writing()
        self._reads, self._since = True, None

    def send_400_response(self, msg: str) -> None:
        """For what is no HTTP."""
        self._refuse(malformed("http", "the request is not HTTP/1.1"))

    def _look(self) -> None:
        if self.transport.is_closing():
            return
        limit = self.limits.receive_seconds
        if self._since is not None and self.loop.time() - self._since > limit:
            if not self._reads:
                seen.refusals.labels("slow_reader").inc()
                self.transport.abort()
                return
            message = f"the request took over {limit:g} seconds to arrive; send it faster"
            self._refuse(Refusal(408, "DEADLINE_EXCEEDED", "receive_seconds", message))
            return
        self._watch = self.loop.call_later(LOOK, self._look)

    def _headers_too_large(self) -> Refusal:
        most = self.limits.header_bytes
        message = f"the headers are larger than {most} bytes; send shorter ones"
        return Refusal(431, "REQUEST_LIMIT_EXCEEDED", "header_bytes", message)

    def _refuse(self, refusal: Refusal) -> None:
        """Answers, if the request has no answer yet and it is its turn, and ends the connection."""
        if self.transport.is_closing():
            return
        cycle = self.cycle
        if self._in_head:
            is_its_turn = cycle is None or cycle.response_complete
        else:
            is_its_turn = not cycle.response_started
        if is_its_turn:
            request_id = seen.new_id()
            body = refusal.body(request_id)
            lines = {
                "content-type": "application/json",
                "content-length": str(len(body)),
                "x-request-id": request_id,
                "x-model-version": self.guard.served.version.version,
                "connection": "close",
            }
            head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
            self.transport.write(STATUS_LINE[refusal.status] + head.encode() + b"\r\n" + body)
            seen.refusals.labels(refusal.rule).inc()
            seen.log("request", request_id=request_id, status=refusal.status, rule=refusal.rule)
        self.transport.close()
