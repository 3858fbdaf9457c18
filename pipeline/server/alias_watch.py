"""Looks at the alias of the champion, with a registry that may be away or hang."""

import asyncio
import os
from concurrent.futures import Future
from typing import Any

from pipeline.errors import ModelError
from pipeline.server import detached
from pipeline.server import telemetry as seen
from pipeline.tracking import registry

LOOK_SECONDS = 5.0  # until a registry counts as not reached
FETCH_SECONDS = 30  # for one answer of the registry, when a version is fetched
MOST_HANGING = 8  # looks that have not returned: each holds a thread, perhaps a connection
TIMEOUT = "MLFLOW_HTTP_REQUEST_TIMEOUT"
RETRIES = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"


class Alias:
    """The champion of a registered model, again and again."""

    def __init__(self, model: str) -> None:
        self.model = model
        self._lost: set[str] = set()  # what failed the last time: to look, to fetch
        self._hanging: list[Future[Any]] = []
        self._fetch_timeout = os.environ.get(TIMEOUT, str(FETCH_SECONDS))
        # A look that fails comes again soon: MLflow need not try it for minutes.
        os.environ[RETRIES] = "0"
        self._be_patient(False)

    async def look(self) -> str | None:
        """The champion's version; None where there is none, or the registry is not reached."""
        self._hanging = [future for future in self._hanging if not future.done()]
        if len(self._hanging) >= MOST_HANGING:
            return None
        future = detached.start(registry.champion_version, self.model)
        self._hanging.append(future)
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                version = await asyncio.wrap_future(future)
                number = None if version is None else str(int(version))
        except Exception as error:  # whatever a registry raises, or answers
            self._lose("look", error)
            return None
        self._reach("look")
        return number

    def _lose(self, what: str, error: Exception) -> None:
        """Logs that the registry is not reached, once until it is again."""
        if what not in self._lost:
            seen.log("registry_lost", message=type(error).__name__)
        self._lost.add(what)

    def _reach(self, what: str) -> None:
        if what in self._lost:
            seen.log("registry_reached")
        self._lost.discard(what)

    async def fetch(self, function: Any, *arguments: Any) -> Any:
        """The result of a call that fetches from the registry, which may take longer.

        None if the registry is not reached. Raises ModelError for what it raises of the model.
        """
        self._be_patient(True)
        try:
            result = await detached.call(function, *arguments)
        except ModelError:
            raise
        except Exception as error:  # whatever a registry raises
            self._lose("fetch", error)
            return None
        finally:
            self._be_patient(False)
        self._reach("fetch")
        return result

    def _be_patient(self, is_fetching: bool) -> None:
        """MLflow reads this at each request; there is one server in the process."""
        os.environ[TIMEOUT] = self._fetch_timeout if is_fetching else str(round(LOOK_SECONDS))
