"""The process of the shadow: it asks the version what the champion was asked, and compares both.

Whatever the version does there, the server goes on. It is the least urgent of all processes.
"""

import gzip
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import orjson

from pipeline.errors import PipelineError
from pipeline.evaluation import answer_pairs
from pipeline.evaluation.answer_pairs import ABOUT, FIRST, SECOND, Answers
from pipeline.inference import model_folder
from pipeline.server import telemetry
from pipeline.server.content_coding import Codings, unpack
from pipeline.server.http_error import HTTPError
from pipeline.server.log_lines import as_lines
from pipeline.server.request_json import Reader
from pipeline.server.worker_process import prepare

NICENESS = 10  # the worker processes of the champion come first


class ShadowRequest(NamedTuple):
    """A request that the champion has answered: its bytes, and those of the answer."""

    request_id: str
    time: float  # seconds since 1970
    champion: str  # its version
    media_type: str
    codings: Codings
    body: bytes
    answer: bytes
    is_gzip: bool  # the answer
    rows: int


@dataclass
class Comparison:
    """Requests as the shadow answers them: lines for the log, and counts of rows."""

    lines: bytes = b""
    rows: int = 0
    failed: int = 0  # rows that the shadow refused, or that it failed on
    labels_differ: int = 0
    buckets: list[int] = field(default_factory=lambda: [0] * (len(telemetry.DIFFERENCES) + 1))
    total: float = 0.0  # of the differences in the buckets
    failure: str | None = None

    def fail(self, request: ShadowRequest, failure: str) -> None:
        """Counts the request's rows."""
        self.failed += request.rows
        self.failure = failure


def compare(reader: Reader, requests: Sequence[ShadowRequest]) -> Comparison:
    """Asks the shadow's reader, with the request's own threshold or coverage."""
    comparison = Comparison()
    for request in requests:
        try:
            answers = _answers(reader, request)
        except HTTPError as error:
            comparison.fail(request, f"it refuses what the champion answered: {error.message}")
        except PipelineError as error:
            comparison.fail(request, str(error))
        except Exception as error:  # whatever its estimator raises
            comparison.fail(request, f"{type(error).__name__}: {error}")
        else:
            _add(comparison, reader, request, *answers)
    return comparison


def _answers(reader: Reader, request: ShadowRequest) -> tuple[Answers, Answers]:
    """The champion's, as they were sent, and the shadow's."""
    body, most_bytes = request.body, request.codings.most_bytes
    if most_bytes is not None:
        body = unpack(body, most_bytes) or b""
    answer = gzip.decompress(request.answer) if request.is_gzip else request.answer
    X, params = reader.read(body, request.media_type)
    rows = orjson.loads(answer)["predictions"]
    names = [column.name for column in reader.predictor.target.columns]
    first = {name: [row[name] for row in rows] for name in names}
    plain = replace(params, explain=False, version=False, labels=False)
    return first, reader.predictor.answers(X, plain)


def _add(
    comparison: Comparison,
    reader: Reader,
    request: ShadowRequest,
    first: Answers,
    second: Answers,
) -> None:
    differences = answer_pairs.between(reader.predictor.contract.task.name, first, second)
    scaled = differences.scaled[np.isfinite(differences.scaled)]
    places = np.searchsorted(telemetry.DIFFERENCES, scaled)
    counts = np.bincount(places, minlength=len(comparison.buckets)).tolist()
    comparison.buckets = [a + b for a, b in zip(comparison.buckets, counts, strict=True)]
    comparison.total += float(scaled.sum())
    comparison.rows += request.rows
    comparison.labels_differ += sum(differences.columns.get(answer_pairs.LABELS_DIFFER, ()))
    comparison.lines += _lines(
        request,
        reader.predictor.model_version["version"],
        {
            **{f"{FIRST}_{name}": values for name, values in first.items()},
            **{f"{SECOND}_{name}": values for name, values in second.items()},
            **differences.columns,
        },
    )


def _lines(request: ShadowRequest, version: str, columns: Mapping[str, list[Any]]) -> bytes:
    about = (request.request_id, 0, request.time, request.champion, version)
    cells = [[value] * request.rows for value in about]
    cells[1] = list(range(1, request.rows + 1))
    return as_lines((*ABOUT, *columns), [*cells, *columns.values()])


def run(connection: Connection, folder: Path, max_rows: int, identity: dict[str, str]) -> None:
    """Compares until the server ends, which closes the connection."""
    prepare(NICENESS)
    reader = Reader(model_folder.load(folder, identity), max_rows)
    connection.send(None)  # ready
    with suppress(EOFError, BrokenPipeError):
        while True:
            connection.send(compare(reader, connection.recv()))
