"""Whether a model, loaded as the server loads it, answers as the pipeline that was fitted."""

import asyncio
import json
import math
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.columns import Column
from pipeline.contract import to_matrix
from pipeline.errors import ContractError
from pipeline.results import Version
from pipeline.scorer import EXAMPLE, Params, Scorer, records
from pipeline.server.payload import JSON
from pipeline.server.refusal import Refusal
from pipeline.server.served import Served, equal
from pipeline.serving import request

SECONDS = 60.0  # for one answer
MOST_ROWS = 1000
FORM = "dataframe_records"
Row = dict[str, Any]
Outcome = Any  # the body of an answer, or the rule that the request breaks
Ask = Callable[[bytes], Awaitable[Outcome]]


def prove(version: Version, source: Path, original: Scorer, rows: pd.DataFrame) -> tuple[int, str]:
    """How many requests it was asked, and in which it differs (nothing if in none).

    `rows` are valid ones to start from. Raises ModelError when the files in `source` are not
    what the version's manifest lists, or do not load.
    """
    served = Served(version, source, MOST_ROWS)
    try:
        bodies = requests(served.folder, original, rows)

        async def ask(body: bytes) -> Outcome:
            try:
                return json.loads((await served.answer(body, JSON, SECONDS)).body)
            except Refusal as refusal:
                return refusal.rule

        return len(bodies), asyncio.run(difference(bodies, partial(expect, original), ask))
    finally:
        served.close()


async def difference(bodies: list[bytes], expect: Callable[[bytes], Outcome], ask: Ask) -> str:
    """The first request that is not answered as expected, if there is one."""
    for body in bodies:
        expected, found = expect(body), await ask(body)
        if not equal(found, expected):
            asked = body.decode()[:300]
            return f"{asked} gives {_short(found)}, and in the process {_short(expected)}"
    return ""


def requests(folder: Path, original: Scorer, rows: pd.DataFrame) -> list[bytes]:
    """The logged example, rows with gaps, and rows that break each rule of each column."""
    row = json.loads(request(rows))[FORM][0]
    others = [*_with_gaps(original, row), *_bad(original, row)]
    example = folder / EXAMPLE
    logged = [example.read_bytes()] if example.exists() else []
    return [
        *logged,
        request(rows).encode(),
        *(json.dumps({FORM: [each]}).encode() for each in others),
    ]


def expect(original: Scorer, body: bytes) -> Outcome:
    """What the pipeline in this process makes of a request."""
    frame = pd.DataFrame(json.loads(body)[FORM])
    try:
        X = to_matrix(original.rules, frame)
        return {"predictions": records(original.answers(X, Params()))}
    except ContractError as error:
        return error.rule


def _with_gaps(original: Scorer, row: Row) -> Iterator[Row]:
    """Each value missing alone, by null, by its mark, and by its absence; and all of them."""
    for name, column in original.contract.columns.items():
        yield {**row, name: None}
        if column.missing is not None:
            yield {**row, name: column.missing}
        yield {key: value for key, value in row.items() if key != name}  # bad, if not optional
    yield dict.fromkeys(row)


def _bad(original: Scorer, row: Row) -> Iterator[Row]:
    for name, column in original.contract.columns.items():
        yield {**row, name: "a text"}
        yield {**row, name: True}
        for number in _outside(column):
            yield {**row, name: number}
    yield {**row, "no column of this name": 1.0}


def _outside(column: Column) -> Iterator[float]:
    low, high = column.range
    for bound, away in ((low, -math.inf), (high, math.inf)):
        if bound is not None and math.nextafter(bound, away) != column.missing:
            yield math.nextafter(bound, away)


def _short(outcome: Outcome) -> str:
    return f"the refusal {outcome!r}" if isinstance(outcome, str) else json.dumps(outcome)[:300]
