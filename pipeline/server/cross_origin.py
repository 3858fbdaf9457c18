"""Cross-origin requests: scripts of web pages that a browser lets ask this server (CORS)."""

from collections.abc import Sequence

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

REQUEST_HEADERS = (
    *("Authorization", "X-API-Key", "X-Request-ID"),
    *("Content-Type", "Content-Encoding"),
)
RESPONSE_HEADERS = ("X-Model-Version", "X-Request-ID", "Retry-After")


def allow(application: ASGIApp, origins: Sequence[str]) -> ASGIApp:
    """Lets pages of these origins ask; without any, the application as it is.

    A browser asks beforehand without a key: that is answered here, before the guard.
    """
    if not origins:
        return application
    return CORSMiddleware(
        application,
        allow_origins=origins,
        allow_methods=("GET", "POST"),
        allow_headers=REQUEST_HEADERS,
        expose_headers=RESPONSE_HEADERS,
    )
