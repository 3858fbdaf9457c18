"""The model that the server answers with: verified, loaded from a copy of its own, warmed up."""

import asyncio
import json
import math
from contextlib import suppress
from pathlib import Path
from typing import Any

from pipeline.errors import ModelError, PipelineError
from pipeline.inference import model_folder
from pipeline.inference.model_folder import EXAMPLE, EXAMPLE_ANSWER
from pipeline.results import Version
from pipeline.server.content_coding import PLAIN, Codings
from pipeline.server.http_error import HTTPError, unavailable
from pipeline.server.log_lines import LoggedRequest
from pipeline.server.model_copy import ModelCopy
from pipeline.server.request_json import JSON, PARQUET, Reader
from pipeline.server.response import QUICK_BYTES, Response, SlowRequestError, respond
from pipeline.server.worker_process import WorkerProcess

TOLERANCE = 1e-6  # between the probabilities of two machines
WARM_UP_SECONDS = 120.0
CHECK_SECONDS = 0.1  # between two checks of what is in flight


class LoadedModel:
    """A version of a model that can answer."""

    def __init__(self, version: Version, source: Path, max_rows: int) -> None:
        """Copies what the manifest lists from `source` and loads it. Raises ModelError."""
        self.version = version
        self.copy = ModelCopy(version, source)
        identity = {"model": version.name, "version": version.version}
        try:
            self.predictor = model_folder.load(self.folder, identity, unpickle=False)
        except BaseException as error:
            self.copy.close()
            if isinstance(error, PipelineError) or not isinstance(error, Exception):
                raise
            raise ModelError(f"{self.title} does not load: {type(error).__name__}") from error
        self.reader = Reader(self.predictor, max_rows)
        self.worker = WorkerProcess(self.copy.whole, max_rows, identity)
        self.header = version.version.encode()
        self.in_flight = 0

    def answer_at_once(
        self,
        body: bytes,
        media_type: str,
        codings: Codings = PLAIN,
        logged: LoggedRequest | None = None,
    ) -> Response | None:
        """Returns the answer, or None if it takes the worker process. Raises HTTPError."""
        if not self.predictor.is_compiled or len(body) > QUICK_BYTES or media_type == PARQUET:
            return None  # what parses Parquet is not made for foes: it may end its process
        try:
            return respond(self.reader, body, media_type, True, codings, logged)
        except SlowRequestError:
            return None

    async def answer(
        self,
        body: bytes,
        media_type: str,
        seconds: float,
        codings: Codings = PLAIN,
        logged: LoggedRequest | None = None,
    ) -> Response:
        """Returns the answer, if need be of the worker process. Raises HTTPError."""
        response = self.answer_at_once(body, media_type, codings, logged)
        if response is not None:
            return response
        self.in_flight += 1
        try:
            return await self.worker.answer(body, media_type, seconds, codings, logged)
        finally:
            self.in_flight -= 1

    def check_health(self) -> None:
        """Raises HTTPError while a part of the requests cannot be answered."""
        if self.worker.failure is not None:
            raise unavailable("batch", "not every request can be answered now; try again")

    async def warm_up(self) -> None:
        """Answers the logged example.

        Closes the model and raises ModelError if that is not the logged answer.
        """
        try:
            await self._check_example()
        except BaseException:
            self.close()
            raise

    async def _check_example(self) -> None:
        if not (self.folder / EXAMPLE_ANSWER).exists():
            raise ModelError(f"{self.title} has no {EXAMPLE_ANSWER}; train and promote it again")
        expected = json.loads((self.folder / EXAMPLE_ANSWER).read_bytes())
        try:
            body = (self.folder / EXAMPLE).read_bytes()
            response = await self.answer(body, JSON, WARM_UP_SECONDS)
        except HTTPError as error:
            if error.status == 504:
                raise ModelError(
                    f"{self.title} does not answer its own example in {WARM_UP_SECONDS:g} seconds; "
                    "start it again when this machine is less busy"
                ) from None
            raise ModelError(f"{self.title} refuses its own example: {error.message}") from None
        if not equal(json.loads(response.body), expected):
            raise ModelError(
                f"{self.title} answers its own example otherwise than when it was trained; "
                "train and promote it again on a machine like this one"
            )

    @property
    def folder(self) -> Path:
        """The folder of its files; after it was closed, where they were."""
        return self.copy.folder

    @property
    def title(self) -> str:
        """The name and version, for messages."""
        return f"{self.version.name} version {self.version.version}"

    async def retire(self, seconds: float) -> None:
        """Closes when the last request that it took has its answer, or after that time."""
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    while self.in_flight:
                        await asyncio.sleep(CHECK_SECONDS)
        finally:
            self.close()

    def close(self) -> None:
        """Ends the worker process and deletes the copy."""
        self.worker.retire()
        self.copy.close()


def equal(answer: Any, expected: Any) -> bool:
    """Returns whether two answers are the same: numbers to within 1e-6, all else exactly."""
    if isinstance(expected, float) and isinstance(answer, (int, float)):
        return math.isclose(answer, expected, abs_tol=TOLERANCE)
    if type(answer) is not type(expected):
        return False
    if isinstance(expected, dict):
        return answer.keys() == expected.keys() and all(
            equal(answer[key], value) for key, value in expected.items()
        )
    if isinstance(expected, list):
        return len(answer) == len(expected) and all(map(equal, answer, expected))
    return bool(answer == expected)
