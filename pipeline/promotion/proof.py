"""Whether a model, loaded as both doors load it, answers as the pipeline that was fitted."""

import csv
import io
import json
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from mlflow.pyfunc import PyFuncModel, scoring_server
from numpy.typing import NDArray

from pipeline import event_loop
from pipeline.errors import ContractError
from pipeline.inference import model_folder
from pipeline.inference.mlflow_flavor import ServedModel
from pipeline.inference.model_folder import EXAMPLE, request
from pipeline.inference.predictor import Params, Predictor, records
from pipeline.results import Version
from pipeline.schema.columns import Column
from pipeline.schema.kinds import kind_of
from pipeline.schema.rules import to_matrix
from pipeline.server.http_error import HTTPError
from pipeline.server.loaded_model import LoadedModel, equal
from pipeline.server.request_json import CSV, JSON

SECONDS = 60.0  # for one answer
MOST_ROWS = 1000
MOST_COLUMNS = 40
FORM = "dataframe_records"
REFUSED = "refused"  # whatever the rule
BAD_REQUEST = 400
Row = dict[str, Any]
Answer = Any  # the body of an answer, or the rule that the request breaks


class Request(NamedTuple):
    """A body of some media type, and the rows that it holds."""

    rows: Sequence[Row]
    body: bytes
    kind: str


Ask = Callable[[Request], Awaitable[Answer]]


def prove(
    version: Version, source: Path, original: Predictor, rows: pd.DataFrame
) -> tuple[int, str]:
    """How many requests the doors were asked, and in which one differs (nothing if in none).

    `rows` are valid ones to start from. Raises ModelError when the files in `source` are not
    what the version's manifest lists, or do not load.
    """
    served = LoadedModel(version, source, MOST_ROWS)
    try:
        sent = requests(served.folder, original, rows)

        async def ask(one: Request) -> Answer:
            try:
                return json.loads((await served.answer(one.body, one.kind, SECONDS)).body)
            except HTTPError as error:
                return error.rule

        apart = event_loop.run(difference(sent, partial(expect, original), ask))
        if apart:
            return len(sent), apart
        plain = plain_requests(original, rows)
        apart = event_loop.run(difference(plain, _refusals_alike(original), _plain_door(served)))
        return len(sent) + len(plain), apart and f"by MLflow's own command, {apart}"
    finally:
        served.close()


async def difference(
    requests: Sequence[Request], expect: Callable[[Sequence[Row]], Answer], ask: Ask
) -> str:
    """The first request that is not answered as expected, if there is one."""
    for one in requests:
        expected, answer = expect(one.rows), await ask(one)
        if not equal(answer, expected):
            body = one.body.decode()[:300]
            return f"{body} gives {_short(answer)}, and in the process {_short(expected)}"
    return ""


def requests(folder: Path, original: Predictor, rows: pd.DataFrame) -> list[Request]:
    """The logged example, rows with gaps, and rows that break each rule of columns."""
    (row,) = _rows(rows.iloc[:1])
    example = folder / EXAMPLE
    logged = [example.read_bytes()] if example.exists() else []
    return [
        *(Request(json.loads(body)[FORM], body, JSON) for body in logged),
        *_forms(rows),
        *_csv(rows),
        *(_of_rows([one]) for one in (*_with_gaps(original, row), *_bad(original, row))),
    ]


def plain_requests(original: Predictor, rows: pd.DataFrame) -> list[Request]:
    """The rows in each form, rows with gaps, and rows beyond a range.

    Few, however many columns there are: MLflow holds a request against the signature as a whole.
    """
    columns = original.contract.columns
    (row,) = _rows(rows.iloc[:1])
    marks = {
        name: mark
        for name, column in columns.items()
        for mark in column.marks  # a text among numbers is refused by MLflow itself
        if isinstance(mark, str) == (kind_of(column).mlflow_type(column) == "string")
    }
    beyond = {
        name: next(kind_of(column).out_of_range(column), value)
        for (name, value), column in zip(row.items(), columns.values(), strict=True)
    }
    needed = {name: value for name, value in row.items() if not columns[name].optional}
    return [
        *_forms(rows),
        *_csv(rows[_are_same_in_pandas(rows)]),
        *(_of_rows([one]) for one in (dict.fromkeys(row), row | marks, needed, beyond)),
    ]


def _forms(rows: pd.DataFrame) -> Iterator[Request]:
    """The same rows as records, split and by column."""
    table = rows.astype(object).where(rows.notna(), None)
    split = {"columns": list(table.columns), "data": table.to_numpy().tolist()}
    by_column = {name: values.tolist() for name, values in table.items()}
    there = _rows(rows)
    yield _of_rows(there)
    yield Request(there, json.dumps({"dataframe_split": split}).encode(), JSON)
    yield Request(there, json.dumps({"inputs": by_column}).encode(), JSON)


def _csv(rows: pd.DataFrame) -> list[Request]:
    """The rows as CSV, if there are any."""
    header = rows.head(0).to_csv(index=False, quoting=csv.QUOTE_ALL)
    lines = header + rows.to_csv(index=False, header=False)
    return [Request(_rows(rows), lines.encode(), CSV)] if len(rows) else []


def _are_same_in_pandas(rows: pd.DataFrame) -> NDArray[np.bool_]:
    """Which rows MLflow's own door, which reads CSV by pandas, reads as they are: not `NA`."""
    lines = io.StringIO(rows.to_csv(index=False, header=False))
    read = pd.read_csv(lines, header=None, dtype=str, skip_blank_lines=False)
    same: NDArray[np.bool_] = (read.isna().to_numpy() == rows.isna().to_numpy()).all(axis=1)
    return same


def _rows(table: pd.DataFrame) -> list[Row]:
    rows: list[Row] = json.loads(request(table))[FORM]
    return rows


def _of_rows(rows: Sequence[Row]) -> Request:
    return Request(rows, json.dumps({FORM: rows}).encode(), JSON)


def expect(original: Predictor, rows: Sequence[Row]) -> Answer:
    """What the pipeline in this process makes of rows."""
    try:
        X = to_matrix(original.rules, pd.DataFrame(rows))
        return {"predictions": records(original.answers(X, Params()))}
    except ContractError as error:
        return error.rule


def refused(answer: Answer) -> Answer:
    """The answer of a door that answers a refusal with its status alone, without the rule."""
    return REFUSED if isinstance(answer, str) else answer


def _refusals_alike(original: Predictor) -> Callable[[Sequence[Row]], Answer]:
    return lambda rows: refused(expect(original, rows))


def _plain_door(served: LoadedModel) -> Ask:
    """What `mlflow models serve` does with a request, its check of the signature included."""
    metadata = Model.load(str(served.folder))
    loaded = served.predictor if served.predictor.is_compiled else model_folder.load(served.folder)
    model = PyFuncModel(metadata, ServedModel(loaded))
    schema = metadata.get_input_schema()

    async def ask(one: Request) -> Answer:
        try:
            answer = scoring_server.invocations(one.body.decode(), one.kind, model, schema)
        except MlflowException as error:
            if error.get_http_status_code() == BAD_REQUEST and not error.json_kwargs:
                return REFUSED
            return {"error": error.message}
        return json.loads(answer.response)

    return ask


def _asked(columns: Mapping[str, Column]) -> dict[str, Column]:
    """The columns of which each rule is asked: all, or forty from the first to the last.

    A rule is the same piece of code in each column.
    """
    step = max(1, len(columns) // MOST_COLUMNS)
    return dict(list(columns.items())[::step])


def _with_gaps(original: Predictor, row: Row) -> Iterator[Row]:
    """Values missing alone, by null, by their marks, and by their absence; and all of them."""
    for name, column in _asked(original.contract.columns).items():
        yield {**row, name: None}
        for mark in column.marks:
            yield {**row, name: mark}
        yield {key: value for key, value in row.items() if key != name}  # bad, if not optional
    yield dict.fromkeys(row)


def _bad(original: Predictor, row: Row) -> Iterator[Row]:
    for name, column in _asked(original.contract.columns).items():
        kind = kind_of(column)
        for cell in (*kind.invalid_cells(column), *kind.out_of_range(column)):
            yield {**row, name: cell}
    yield {**row, "no column of this name": 1.0}


def _short(answer: Answer) -> str:
    return f"the refusal {answer!r}" if isinstance(answer, str) else json.dumps(answer)[:300]
