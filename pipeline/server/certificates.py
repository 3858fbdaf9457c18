"""TLS certificates, which are read again when their files change."""

import ssl
from typing import Any

from uvicorn.config import create_ssl_context

from pipeline.errors import ConfigError
from pipeline.server import telemetry as seen
from pipeline.server.changes import Changes

FILES = ("ssl_certfile", "ssl_keyfile", "ssl_ca_certs")  # uvicorn's names
Wrong = (OSError, ValueError)  # ssl.SSLError is an OSError


class LiveContext(ssl.SSLContext):
    """Begins each connection with the context that is current then; open ones keep theirs."""

    current: ssl.SSLContext

    def wrap_bio(self, *arguments: Any, **options: Any) -> ssl.SSLObject:
        """As asyncio and uvloop call it for each connection."""
        return self.current.wrap_bio(*arguments, **options)


class Certificates:
    """The context of uvicorn's options for TLS, and one after each change of their files."""

    def __init__(self, options: dict[str, Any]) -> None:
        self._options = options
        self._files = {name: options[name] for name in FILES if options[name]}
        self._changes = Changes(list(self._files.values()))
        self._context: LiveContext | None = None

    def __bool__(self) -> bool:
        return "ssl_certfile" in self._files

    def check(self) -> None:
        """Raises ConfigError for files that cannot be used."""
        try:
            if self:
                self._read()
        except Wrong as error:
            given = ", ".join(
                f"UVICORN_{name.upper()}={path}" for name, path in self._files.items()
            )
            raise ConfigError(
                f"{given} cannot be used: {_reason(error)}; "
                "they should be files in PEM, and the key the certificate's"
            ) from None

    def context(self, *_: Any) -> ssl.SSLContext:
        """A factory of contexts, as uvicorn calls it once in each process."""
        self._changes = Changes(list(self._files.values()))
        self._context = LiveContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.current = self._read()
        return self._context

    def refresh(self, is_forced: bool = False) -> None:
        """Reads the files again, if they changed. Those that are not right change nothing."""
        if self._context is None or not (self._changes.are_new() or is_forced):
            return
        try:
            self._context.current = self._read()
        except Wrong as error:
            given = ", ".join(self._files.values())
            message = f"{given}: {_reason(error)}; the certificates that were read before stay"
            seen.log("certificates_refused", message=message)
        else:
            seen.log("certificates_read")

    def _read(self) -> ssl.SSLContext:
        return create_ssl_context(
            certfile=self._options["ssl_certfile"],
            keyfile=self._options["ssl_keyfile"],
            password=self._options["ssl_keyfile_password"],
            ssl_version=self._options["ssl_version"],
            cert_reqs=self._options["ssl_cert_reqs"],
            ca_certs=self._options["ssl_ca_certs"],
            ciphers=self._options["ssl_ciphers"],
        )


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
