"""TLS: certificates that are read again when their files change, and bounds on handshakes."""

import ssl
from typing import Any

import uvloop
from uvicorn.config import create_ssl_context

from pipeline.errors import ConfigError
from pipeline.server import telemetry
from pipeline.server.file_watch import FileWatch

FILES = ("ssl_certfile", "ssl_keyfile", "ssl_ca_certs")
OPTIONS = (  # uvicorn's, in the order of the arguments of create_ssl_context
    *("ssl_certfile", "ssl_keyfile", "ssl_keyfile_password", "ssl_version", "ssl_cert_reqs"),
    *("ssl_ca_certs", "ssl_ciphers"),
)
Unreadable = (OSError, ValueError)  # ssl.SSLError is an OSError


class TLSTimeoutLoop(uvloop.Loop):
    """An event loop with a bound on how long a client may take over TLS, in seconds.

    uvicorn does not hand it on, and uvloop's own are 60 seconds to begin and 30 to end.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds

    async def create_server(self, *arguments: Any, **options: Any) -> Any:
        """Creates a server as uvloop does, with the bound."""
        if options.get("ssl") is not None:
            options["ssl_handshake_timeout"] = options["ssl_shutdown_timeout"] = self._seconds
        return await super().create_server(*arguments, **options)


class LiveContext(ssl.SSLContext):
    """A context that begins each connection with `current`; open connections keep theirs."""

    current: ssl.SSLContext

    def wrap_bio(self, *arguments: Any, **options: Any) -> ssl.SSLObject:
        """Wraps a connection, as asyncio and uvloop call it for each."""
        return self.current.wrap_bio(*arguments, **options)


class Certificates:
    """The context of uvicorn's options for TLS, and one after each change of their files."""

    def __init__(self, options: dict[str, Any]) -> None:
        self._options = options
        self._files = {name: options[name] for name in FILES if options[name]}
        self._watch = FileWatch(list(self._files.values()))
        self._context: LiveContext | None = None

    def __bool__(self) -> bool:
        return "ssl_certfile" in self._files

    def check(self) -> None:
        """Raises ConfigError for files that cannot be used."""
        try:
            if self:
                self._read()
        except Unreadable as error:
            variables = ", ".join(
                f"UVICORN_{name.upper()}={path}" for name, path in self._files.items()
            )
            raise ConfigError(
                f"{variables} cannot be used: {_reason(error)}; "
                "they should be files in PEM, and the key the certificate's"
            ) from None

    def context(self, *_: Any) -> ssl.SSLContext:
        """Makes the context of this process, as uvicorn calls it once in each."""
        self._watch = FileWatch(list(self._files.values()))
        self._context = LiveContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.current = self._read()
        return self._context

    def refresh(self, is_forced: bool = False) -> None:
        """Reads the files again, if they changed. Files that cannot be used change nothing."""
        if self._context is None or not (self._watch.has_changed() or is_forced):
            return
        try:
            self._context.current = self._read()
        except Unreadable as error:
            paths = ", ".join(self._files.values())
            message = f"{paths}: {_reason(error)}; the certificates that were read before stay"
            telemetry.log("certificates_refused", message=message)
        else:
            telemetry.log("certificates_read")

    def _read(self) -> ssl.SSLContext:
        return create_ssl_context(*(self._options[name] for name in OPTIONS))


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
