"""The model that the server answers with: verified, loaded from a copy of its own, warmed up."""

import asyncio
import json
import math
from pathlib import Path
from typing import Any

from pipeline.errors import ModelError, PipelineError
from pipeline.inference import predictor as scorer
from pipeline.inference.predictor import EXAMPLE, EXAMPLE_ANSWER
from pipeline.results import Version
from pipeline.server.answer import QUICK_BYTES, Answer, Heavy, answer
from pipeline.server.model_copy import ModelCopy
from pipeline.server.refusal import Refusal, busy
from pipeline.server.request_json import JSON, PARQUET, Reader
from pipeline.server.worker_process import Batch

TOLERANCE = 1e-6  # between the probabilities of two machines
WARM_UP_SECONDS = 120.0
LOOK_AGAIN = 0.1  # seconds between two looks at what is in flight


class Served:
    """A version of a model that can answer."""

    def __init__(self, version: Version, source: Path, most_rows: int) -> None:
        """Copies what the manifest lists from `source` and loads it. Raises ModelError."""
        self.version = version
        self.copy = ModelCopy(version, source)
        identity = {"model": version.name, "version": version.version}
        try:
            self.scorer = scorer.load(self.folder, identity, unpickle=False)
        except PipelineError:
            self.copy.close()
            raise
        except BaseException as error:
            self.copy.close()
            if not isinstance(error, Exception):
                raise
            raise ModelError(f"{self.shown} does not load: {type(error).__name__}") from error
        self.reader = Reader(self.scorer, most_rows)
        self.batch = Batch(self.copy.whole, most_rows, identity)
        self.header = version.version.encode()
        self.in_flight = 0

    def answer_at_once(self, body: bytes, kind: str) -> Answer | None:
        """The answer, or None where it takes the process beside. Raises Refusal."""
        if not self.scorer.is_compiled or len(body) > QUICK_BYTES or kind == PARQUET:
            return None  # what parses Parquet is not made for foes: it may end its process
        try:
            return answer(self.reader, body, kind, is_quick=True)
        except Heavy:
            return None

    async def answer(self, body: bytes, kind: str, seconds: float) -> Answer:
        """The answer, if need be of the process beside. Raises Refusal."""
        found = self.answer_at_once(body, kind)
        if found is not None:
            return found
        self.in_flight += 1
        try:
            return await self.batch.answer(body, kind, seconds)
        finally:
            self.in_flight -= 1

    def check_health(self) -> None:
        """Raises Refusal while a part of the requests cannot be answered."""
        if self.batch.failure is not None:
            raise busy("batch", "not every request can be answered now; try again")

    async def warm_up(self) -> None:
        """Answers the logged example. Raises ModelError when it is not the logged answer."""
        if not (self.folder / EXAMPLE_ANSWER).exists():
            raise ModelError(f"{self.shown} has no {EXAMPLE_ANSWER}; train and promote it again")
        expected = json.loads((self.folder / EXAMPLE_ANSWER).read_bytes())
        try:
            body = (self.folder / EXAMPLE).read_bytes()
            found = await self.answer(body, JSON, WARM_UP_SECONDS)
        except Refusal as refusal:
            raise ModelError(f"{self.shown} refuses its own example: {refusal.message}") from None
        if not equal(json.loads(found.body), expected):
            raise ModelError(
                f"{self.shown} answers its own example otherwise than when it was trained; "
                "train and promote it again on a machine like this one"
            )

    @property
    def folder(self) -> Path:
        """Where its files are; after it was closed, where they were."""
        return self.copy.folder

    @property
    def shown(self) -> str:
        """For people."""
        return f"{self.version.name} version {self.version.version}"

    async def retire(self, seconds: float) -> None:
        """Closes when the last request that it took has its answer, or after that time."""
        try:
            async with asyncio.timeout(seconds):
                while self.in_flight:
                    await asyncio.sleep(LOOK_AGAIN)
        except TimeoutError:
            pass
        finally:
            self.close()

    def close(self) -> None:
        """Ends its process and deletes its copy."""
        self.batch.retire()
        self.copy.close()


def equal(found: Any, expected: Any) -> bool:
    """Whether two answers are the same: numbers to within 1e-6, all else exactly."""
    if isinstance(expected, float) and isinstance(found, (int, float)):
        return math.isclose(found, expected, abs_tol=TOLERANCE)
    if isinstance(expected, dict):
        return (
            isinstance(found, dict)
            and found.keys() == expected.keys()
            and all(equal(found[key], value) for key, value in expected.items())
        )
    if isinstance(expected, list):
        return (
            isinstance(found, list)
            and len(found) == len(expected)
            and all(map(equal, found, expected))
        )
    return bool(type(found) is type(expected) and found == expected)
