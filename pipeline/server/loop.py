"""The event loop of a server."""

from typing import Any

import uvloop


class Loop(uvloop.Loop):
    """uvloop's, with a bound on how long a client may take over TLS.

    uvicorn does not hand it on, and uvloop's own are 60 seconds to begin and 30 to end.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds

    async def create_server(self, *arguments: Any, **options: Any) -> Any:
        """As uvloop's."""
        if options.get("ssl") is not None:
            options["ssl_handshake_timeout"] = options["ssl_shutdown_timeout"] = self._seconds
        return await super().create_server(*arguments, **options)
