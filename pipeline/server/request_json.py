"""From the bytes of a request to a checked matrix, with no rule bent.

A well-formed JSON body goes through orjson straight into one matrix. Whatever does not fit is
looked at a second time, slowly, to say which row and which column break which rule.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np
import orjson

from pipeline.errors import ContractError
from pipeline.inference.predictor import Params, Scorer
from pipeline.schema.contract import MOST_FAULTS, Fault, Matrix, check_names, not_a_number
from pipeline.server.refusal import Refusal, invalid, malformed, too_large

JSON, CSV, PARQUET = "application/json", "text/csv", "application/vnd.apache.parquet"
KINDS = (JSON, CSV, PARQUET)
FORMS = ("dataframe_records", "dataframe_split", "inputs", "instances")
CELLS = {int, float, type(None)}  # and no subclass of them: True is no number
FEW = 128  # cells of which each is looked at by itself
PLAIN = Params()
SPLIT_KEYS = {"columns", "data", "index"}


class Request(NamedTuple):
    """What is asked: checked rows (rows x columns, NaN where a value is missing) and params."""

    X: Matrix
    params: Params


@lru_cache(128)
def content_kind(header: bytes) -> str:
    """The media type of a Content-Type header. Raises Refusal (415)."""
    kind, *options = (part.strip().lower() for part in header.decode("latin-1").split(";"))
    charsets = [option for option in options if option]
    if kind not in KINDS:
        what = "is missing" if not header else "is none of these"
        raise Refusal(
            415,
            "UNSUPPORTED_MEDIA_TYPE",
            "content_type",
            f"the header Content-Type {what}; send {', '.join(KINDS)}",
        )
    if any(re.fullmatch(r'charset="?utf-8"?', option) is None for option in charsets):
        raise Refusal(
            415,
            "UNSUPPORTED_MEDIA_TYPE",
            "content_type",
            "the header Content-Type may say charset=utf-8 and nothing else",
        )
    return kind


class Reader:
    """Reads requests for one model, of at most `most_rows` rows."""

    def __init__(self, scorer: Scorer, most_rows: int) -> None:
        self.scorer = scorer
        self.most_rows = most_rows
        self.rules = scorer.rules
        self.columns = scorer.contract.columns
        self.names = list(self.columns)
        self._row = _getter(self.names)
        self._width = len(self.names)
        self._colons = sum(name.count(":") for name in self.names)

    def read(self, body: bytes, kind: str) -> Request:
        """Raises Refusal."""
        try:
            if kind == JSON:
                return self._read_json(body)
            from pipeline.server import (
                request_arrow as tables,  # with Arrow: those who send JSON do without
            )

            table = tables.read_csv if kind == CSV else tables.read_parquet
            X, faults = table(body, self.columns, self.most_rows)
            return Request(self.rules.apply(X, faults), PLAIN)
        except ContractError as error:
            raise invalid(error.rule, str(error)) from None

    def _read_json(self, body: bytes) -> Request:
        try:
            tree = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise _not_json(error) from None
        if type(tree) is not dict:
            raise malformed("form", f"the body must be an object with one of {', '.join(FORMS)}")
        params = tree.pop("params", None)
        if len(tree) != 1 or (form := next(iter(tree))) not in FORMS:
            raise _wrong_keys(tree)
        told = tree[form]
        X = self._quick(form, told, params, body)
        if X is None:
            _check_twice(body)
            X = self.rules.apply(*self._slow(form, told))
        if params is None:
            return Request(X, PLAIN)
        if type(params) is not dict:
            raise invalid("params", "params must be an object")
        return Request(X, self.scorer.params(params))

    def _quick(self, form: str, told: Any, params: Any, body: bytes) -> Matrix | None:
        """The checked cells, if all is as it should be; else None, for a closer look.

        A key that is there twice is lost in parsing, but not its colon: where no text holds a
        backslash, each colon of the body is of a key, or of a column's name.
        """
        if form == "dataframe_split":
            return self._quick_split(told, params, body)
        if type(told) is not list:
            return None
        width = self._width
        try:
            rows = list(map(self._row, told))
        except (KeyError, TypeError):
            return None
        colons = _keys(params, 1) + len(rows) * (width + self._colons)
        if not set(map(len, told)) <= {width} or body.count(b":") != colons or b"\\" in body:
            return None
        return self._matrix(rows)

    def _quick_split(self, told: Any, params: Any, body: bytes) -> Matrix | None:
        if type(told) is not dict or told.keys() != {"columns", "data"}:
            return None
        if told["columns"] != self.names or type(told["data"]) is not list:
            return None
        if body.count(b":") != _keys(params, 3) + self._colons or b"\\" in body:
            return None
        rows = told["data"]
        if not set(map(type, rows)) <= {list} or not set(map(len, rows)) <= {self._width}:
            return None
        return self._matrix(rows)

    def _matrix(self, rows: Sequence[Sequence[Any]]) -> Matrix | None:
        check_count(len(rows), self.most_rows)
        cells = list(chain.from_iterable(rows))
        if not set(map(type, cells)) <= CELLS:
            return None
        if len(cells) <= FEW:
            checked = self.rules.few(cells)
            if checked is None:
                return None
            return np.array(checked, dtype=np.float64).reshape(len(rows), self._width)
        return self.rules.apply(np.array(cells, dtype=np.float64).reshape(len(rows), self._width))

    def _slow(self, form: str, told: Any) -> tuple[Matrix, list[Fault]]:
        """The cells, NaN where one is absent or no number, with a fault for each of those."""
        if form == "dataframe_split":
            return self._of_split(told)
        if form != "dataframe_records" and type(told) is dict:
            return self._of_columns(form, told)
        if type(told) is not list or not all(type(row) is dict for row in told):
            raise malformed("form", f"{form} must be a list of objects, one per row")
        check_count(len(told), self.most_rows)
        for number, row in enumerate(told, 1):
            if row.keys() != self.columns.keys():
                self._check_row(number, list(row))
        return self._cells([[row.get(name) for name in self.names] for row in told])

    def _check_row(self, number: int, names: list[str]) -> None:
        try:
            check_names(self.columns, names, with_names=False)
        except ContractError as error:
            raise ContractError(f"row {number}: {error}", error.rule) from None

    def _of_split(self, told: Any) -> tuple[Matrix, list[Fault]]:
        if type(told) is not dict or not {"columns", "data"} <= told.keys() <= SPLIT_KEYS:
            raise malformed(
                "form", "dataframe_split must hold columns and data, and may hold index"
            )
        columns, data, index = told["columns"], told["data"], told.get("index")
        if type(columns) is not list or not all(type(name) is str for name in columns):
            raise malformed("form", "dataframe_split.columns must be a list of names")
        if type(data) is not list or not all(type(row) is list for row in data):
            raise malformed("form", "dataframe_split.data must be a list of lists, one per row")
        check_count(len(data), self.most_rows)
        check_names(self.columns, columns, with_names=False)
        for number, row in enumerate(data, 1):
            if len(row) != len(columns):
                raise invalid(
                    "ragged", f"row {number} has {len(row)} cells for {len(columns)} columns"
                )
        if index is not None and (type(index) is not list or len(index) != len(data)):
            raise invalid("index", "dataframe_split.index must be a list with one entry per row")
        places = {name: place for place, name in enumerate(columns)}
        order = [places.get(name) for name in self.names]
        rows = [[None if at is None else row[at] for at in order] for row in data]
        return self._cells(rows)

    def _of_columns(self, form: str, told: Mapping[str, Any]) -> tuple[Matrix, list[Fault]]:
        check_names(self.columns, list(told), with_names=False)
        lists = [type(value) is list for value in told.values()]
        if not all(lists) and any(lists):
            raise malformed("form", f"{form} must hold a list per column, or one value per column")
        columns = told if all(lists) else {name: [value] for name, value in told.items()}
        lengths = {len(values) for values in columns.values()}
        if len(lengths) > 1:
            raise invalid("ragged", f"the columns in {form} must be of one length")
        rows = max(lengths, default=0)
        check_count(rows, self.most_rows)
        absent = [None] * rows
        each = [columns.get(name, absent) for name in self.names]
        return self._cells(list(zip(*each, strict=True)))

    def _cells(self, rows: Sequence[Sequence[Any]]) -> tuple[Matrix, list[Fault]]:
        X = np.full((len(rows), self._width), np.nan)
        faults: list[Fault] = []
        for number, row in enumerate(rows, 1):
            for place, cell in enumerate(row):
                if type(cell) in CELLS:
                    X[number - 1, place] = np.nan if cell is None else cell
                elif len(faults) <= MOST_FAULTS:
                    faults.append(not_a_number(number, self.names[place]))
        return X, faults


def _keys(params: Any, others: int) -> int:
    """How many keys a body has outside its rows."""
    return others if params is None else others + 1 + (len(params) if type(params) is dict else 0)


def check_count(rows: int, most: int) -> None:
    """Raises Refusal (413)."""
    if rows > most:
        raise too_large("rows", f"the request has {rows} rows; at most {most} are allowed")


def _getter(names: Sequence[str]) -> Callable[[Any], tuple[Any, ...]]:
    if len(names) > 1:
        return itemgetter(*names)
    only = names[0]
    return lambda row: (row[only],)


def _not_json(error: orjson.JSONDecodeError) -> Refusal:
    """Where, but not what: orjson's message holds no data of the body."""
    return malformed("json", f"the body is not valid JSON: {error}")


def _wrong_keys(tree: Mapping[str, Any]) -> Refusal:
    forms = [form for form in FORMS if form in tree]
    found = f"it has {', '.join(forms)}" if forms else "it has none of them"
    more = len(tree) - len(forms)
    others = f" and {more} other key{'s' * (more > 1)}" if more else ""
    return malformed(
        "form",
        f"the body must hold one of {', '.join(FORMS)}, and may hold params; {found}{others}",
    )


def _check_twice(body: bytes) -> None:
    """Raises Refusal when an object has a key twice; orjson has found the body well-formed."""

    def once(pairs: list[tuple[str, Any]]) -> None:
        if len({key for key, _ in pairs}) < len(pairs):
            raise malformed("duplicate_key", "an object of the body has a key twice")

    try:
        # All that is of interest is the keys: numbers stay texts, however long they are.
        json.loads(body, object_pairs_hook=once, parse_int=str, parse_float=str)
    except RecursionError:
        raise malformed("json", "the body is nested too deeply") from None
