"""Polls the alias of the champion, at a registry that may be away or hang."""

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from pipeline.errors import ModelError
from pipeline.server import background_call, telemetry
from pipeline.tracking import registry

POLL_SECONDS = 5.0  # until a registry counts as not reached
FETCH_SECONDS = 30  # for one answer of the registry, when a version is fetched
MAX_HANGING = 8  # polls that have not returned: each holds a thread, perhaps a connection
TIMEOUT = "MLFLOW_HTTP_REQUEST_TIMEOUT"
RETRIES = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"


class AliasWatch:
    """Polls for the champion of a registered model."""

    def __init__(self, model: str) -> None:
        self.model = model
        self._failed: set[str] = set()  # what failed the last time: to poll, to fetch
        self._hanging: list[Future[Any]] = []
        self._fetch_timeout = os.environ.get(TIMEOUT, str(FETCH_SECONDS))
        # A poll that fails comes again soon: MLflow need not try it for minutes.
        os.environ[RETRIES] = "0"
        self._set_timeout(str(round(POLL_SECONDS)))

    async def poll(self) -> str | None:
        """Returns the champion's version; None if there is none, or no registry is reached."""
        self._hanging = [future for future in self._hanging if not future.done()]
        if len(self._hanging) >= MAX_HANGING:
            return None
        future = background_call.start(registry.champion_version, self.model)
        self._hanging.append(future)
        try:
            async with asyncio.timeout(POLL_SECONDS):
                version = await asyncio.wrap_future(future)
                number = None if version is None else str(int(version))
        except Exception as error:  # whatever a registry raises, or answers
            self._lose("poll", error)
            return None
        self._reach("poll")
        return number

    async def fetch(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Returns the result of a call that fetches from the registry, which may take longer.

        None if the registry is not reached. Raises ModelError for what it raises of the model.
        """
        self._set_timeout(self._fetch_timeout)
        try:
            result = await background_call.call(function, *arguments)
        except ModelError:
            raise
        except Exception as error:  # whatever a registry raises
            self._lose("fetch", error)
            return None
        finally:
            self._set_timeout(str(round(POLL_SECONDS)))
        self._reach("fetch")
        return result

    def _lose(self, action: str, error: Exception) -> None:
        """Logs that the registry is not reached, once until it is again."""
        if action not in self._failed:
            telemetry.log("registry_lost", message=type(error).__name__)
        self._failed.add(action)

    def _reach(self, action: str) -> None:
        if action in self._failed:
            telemetry.log("registry_reached")
        self._failed.discard(action)

    def _set_timeout(self, seconds: str) -> None:
        """Sets what MLflow reads at each request; there is one server in the process."""
        os.environ[TIMEOUT] = seconds
