"""Lines of the request log: one flat object of JSON for each row of a request that was answered."""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
import orjson

from pipeline.inference.predictor import Predictor
from pipeline.schema.columns import Column
from pipeline.schema.kinds import kind_of
from pipeline.schema.matrix import Matrix

ABOUT = ("request_id", "row", "time", "version")  # `row` counts from 1 in its request
ANSWER_PREFIX = "predicted_"  # so no answer is taken for the target
ABOUT_PREFIX = "log_"  # of a name that a column of the model has


class LoggedRequest(NamedTuple):
    """A request that is to be logged: when it came, and which columns (None for all)."""

    request_id: str
    time: float  # seconds since 1970
    columns: tuple[str, ...] | None


class LoggedRows(NamedTuple):
    """The rows of such a request as the contract read them (NaN is missing), with the answers."""

    predictor: Predictor
    request: LoggedRequest
    X: Matrix
    answers: Mapping[str, Sequence[Any]]


def lines(several: Sequence[LoggedRows]) -> bytes:
    """One line per row of all requests: together they take half the time."""
    groups = groupby(several, lambda one: (one.predictor, one.request.columns))
    return b"".join(_lines(_layout(*layout), list(group)) for layout, group in groups)


def _lines(layout: "_Layout", requests: Sequence[LoggedRows]) -> bytes:
    X = requests[0].X if len(requests) == 1 else np.concatenate([one.X for one in requests])
    ids: list[str] = []
    numbers: list[int] = []
    times: list[float] = []
    for one in requests:
        count = len(one.X)
        ids += [one.request.request_id] * count
        numbers += range(1, count + 1)
        times += [one.request.time] * count
    cells = [write(X[:, place].tolist()) for place, write in layout.cells.items()]
    answers = [
        [value for one in requests for value in one.answers[name]] for name in layout.answers
    ]
    versions = [layout.version] * len(ids)
    return as_lines(layout.names, [ids, numbers, times, versions, *cells, *answers])


def as_lines(names: Sequence[str], columns: Sequence[list[Any]]) -> bytes:
    """A flat object on a line for each row; of each column all cells are written at once."""
    keys = (orjson.dumps(name).replace(b"%", b"%%") for name in names)
    line = b"{" + b",".join(key + b":%b" for key in keys) + b"}\n"
    return b"".join(map(line.__mod__, zip(*map(_written, columns), strict=True)))


def _written(cells: list[Any]) -> list[bytes]:
    """Each cell as JSON."""
    parts = orjson.dumps(cells)[1:-1].split(b",")
    return parts if len(parts) == len(cells) else [orjson.dumps(cell) for cell in cells]


class _Layout(NamedTuple):
    """The keys of a line, how cells are written by their columns' places, the answers' names."""

    names: tuple[str, ...]
    cells: Mapping[int, Callable[[list[Any]], list[Any]]]
    answers: list[str]
    version: str | None


@lru_cache(4)
def _layout(predictor: Predictor, chosen: tuple[str, ...] | None) -> _Layout:
    contract = predictor.contract
    taken = {*contract.columns, contract.target}
    places = {
        place: name
        for place, name in enumerate(contract.columns)
        if chosen is None or name in chosen
    }
    answers = [answer.name for answer in predictor.target.columns]
    names = (
        *(_free(name, ABOUT_PREFIX, taken) for name in ABOUT),
        *places.values(),
        *(_free(ANSWER_PREFIX + name, ANSWER_PREFIX, taken) for name in answers),
    )
    cells = {place: partial(_values, contract.columns[name]) for place, name in places.items()}
    return _Layout(names, cells, answers, predictor.model_version.get("version"))


def _free(name: str, prefix: str, taken: set[str]) -> str:
    while name in taken:
        name = prefix + name
    return name


def _values(column: Column, codes: list[Any]) -> list[Any]:
    """What the codes stand for, None for a missing value; numbers, the most, without a call."""
    kind = kind_of(column)
    if column.kind == "number":
        return codes  # orjson writes NaN as null
    return [kind.cell(column, code) for code in codes]
