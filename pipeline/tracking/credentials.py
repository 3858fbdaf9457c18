"""The user and the password in the tracking server's address, out of sight.

MLflow prints the address with each run that ends. It imports nothing, so that it costs nothing.
"""

from collections.abc import MutableMapping
from urllib.parse import unquote, urlsplit

ADDRESS = "MLFLOW_TRACKING_URI"
USER, PASSWORD = "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"


def hide(environment: MutableMapping[str, str]) -> None:
    """Moves them from the address of an HTTP server to the variables that MLflow has for them."""
    parts = urlsplit(environment.get(ADDRESS, ""))
    if parts.scheme not in ("http", "https") or "@" not in parts.netloc:
        return
    environment[ADDRESS] = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    if parts.username and parts.password:  # a user alone would not be sent either
        environment[USER] = unquote(parts.username)
        environment[PASSWORD] = unquote(parts.password)
