"""Reads the bytes of a request into a checked matrix, with no rule bent.

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
from pipeline.inference.predictor import Params, Predictor
from pipeline.schema.faults import Fault
from pipeline.schema.matrix import Matrix
from pipeline.schema.rules import check_names, read_cells, read_columns
from pipeline.server.http_error import HTTPError, invalid_parameter

JSON, CSV, PARQUET = "application/json", "text/csv", "application/vnd.apache.parquet"
MEDIA_TYPES = (JSON, CSV, PARQUET)
FORMS = ("dataframe_records", "dataframe_split", "inputs", "instances")
FEW_CELLS = 128  # cells of which each is looked at by itself
DEFAULT_PARAMS = Params()
SPLIT_KEYS = {"columns", "data", "index"}


class Request(NamedTuple):
    """Checked rows (rows x columns, NaN where a value is missing) and the params of a request."""

    X: Matrix
    params: Params


@lru_cache(128)
def media_type(header: bytes) -> str:
    """Returns the media type of a Content-Type header. Raises HTTPError (415)."""
    name, *options = (part.strip().lower() for part in header.decode("latin-1").split(";"))
    if name not in MEDIA_TYPES:
        fault = "is none of these" if header else "is missing"
        message = f"the header Content-Type {fault}; send {', '.join(MEDIA_TYPES)}"
        raise HTTPError(415, "content_type", message)
    if any(re.fullmatch(r'(charset="?utf-8"?)?', option) is None for option in options):
        message = "the header Content-Type may say charset=utf-8 and nothing else"
        raise HTTPError(415, "content_type", message)
    return name


class Reader:
    """Reads requests for one model, of at most `max_rows` rows."""

    def __init__(self, predictor: Predictor, max_rows: int) -> None:
        self.predictor = predictor
        self.max_rows = max_rows
        self.rules = predictor.rules
        self.columns = predictor.contract.columns
        self.names = list(self.columns)
        self._row = _getter(self.names)
        self._width = len(self.names)
        self._colons = sum(name.count(":") for name in self.names)

    def read(self, body: bytes, media_type: str) -> Request:
        """Reads the body of a request. Raises HTTPError."""
        try:
            if media_type == JSON:
                return self._read_json(body)
            # Late, with Arrow: those who send JSON do without.
            from pipeline.server.request_arrow import read_csv, read_parquet

            read = read_csv if media_type == CSV else read_parquet
            X, faults = read(body, self.columns, self.max_rows)
            return Request(self.rules.apply(X, faults), DEFAULT_PARAMS)
        except ContractError as error:
            raise invalid_parameter(error.rule, str(error)) from None

    def _read_json(self, body: bytes) -> Request:
        try:
            tree = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            # Where, but not what: orjson's message holds no data of the body.
            raise HTTPError(400, "json", f"the body is not valid JSON: {error}") from None
        if type(tree) is not dict:
            raise _wrong_form(f"the body must be an object with one of {', '.join(FORMS)}")
        params = tree.pop("params", None)
        if len(tree) != 1 or (form := next(iter(tree))) not in FORMS:
            raise _wrong_keys(tree)
        table = tree[form]
        X = self._quick(form, table, params, body)
        if X is None:
            _check_duplicate_keys(body)
            X = self.rules.apply(*self._slow(form, table))
        if params is None:
            return Request(X, DEFAULT_PARAMS)
        if type(params) is not dict:
            raise invalid_parameter("params", "params must be an object")
        return Request(X, self.predictor.params(params))

    def _quick(self, form: str, table: Any, params: Any, body: bytes) -> Matrix | None:
        """Returns the checked cells, if all is as it should be; else None, for a closer look.

        A key that is there twice is lost in parsing, but not its colon: where no text holds a
        backslash, each colon of the body is of a key, or of a column's name.
        """
        if form == "dataframe_split":
            return self._quick_split(table, params, body)
        if type(table) is not list:
            return None
        width = self._width
        try:
            rows = list(map(self._row, table))
        except (KeyError, TypeError):
            return None
        colons = _count_keys(params, 1) + len(rows) * (width + self._colons)
        if not set(map(len, table)) <= {width} or body.count(b":") != colons or b"\\" in body:
            return None
        return self._matrix(rows)

    def _quick_split(self, table: Any, params: Any, body: bytes) -> Matrix | None:
        if type(table) is not dict or table.keys() != {"columns", "data"}:
            return None
        if table["columns"] != self.names or type(table["data"]) is not list:
            return None
        if body.count(b":") != _count_keys(params, 3) + self._colons or b"\\" in body:
            return None
        rows = table["data"]
        if not set(map(type, rows)) <= {list} or not set(map(len, rows)) <= {self._width}:
            return None
        return self._matrix(rows)

    def _matrix(self, rows: Sequence[Sequence[Any]]) -> Matrix | None:
        _check_count(len(rows), self.max_rows)
        if not self.rules.are_plain:
            return self._mixed_matrix(rows)
        cells = list(chain.from_iterable(rows))
        if not set(map(type, cells)) <= self.rules.plain_types:
            return None
        if len(cells) <= FEW_CELLS:
            checked = self.rules.few(cells)
            if checked is None:
                return None
            return np.array(checked, dtype=np.float64).reshape(len(rows), self._width)
        return self.rules.apply(np.array(cells, dtype=np.float64).reshape(len(rows), self._width))

    def _mixed_matrix(self, rows: Sequence[Sequence[Any]]) -> Matrix | None:
        """As `_matrix`, for columns of more kinds: each cell by its column's reader."""
        readers = self.rules.readers
        try:
            cells = [[read(cell) for read, cell in zip(readers, row, strict=True)] for row in rows]
        except ValueError:
            return None
        return self.rules.apply(np.array(cells, dtype=self.rules.dtype).reshape(-1, self._width))

    def _slow(self, form: str, table: Any) -> tuple[Matrix, list[Fault]]:
        """Returns the cells, NaN if one is absent or no number, with a fault for each of those."""
        if form == "dataframe_split":
            return self._split_cells(table)
        if form != "dataframe_records" and type(table) is dict:
            return self._column_cells(form, table)
        if type(table) is not list or not all(type(row) is dict for row in table):
            raise _wrong_form(f"{form} must be a list of objects, one per row")
        _check_count(len(table), self.max_rows)
        for number, row in enumerate(table, 1):
            if row.keys() != self.columns.keys():
                self._check_row(number, list(row))
        columns = {name: [row.get(name) for row in table] for name in self.names}
        return self._cells(columns, len(table))

    def _check_row(self, number: int, names: list[str]) -> None:
        try:
            check_names(self.columns, names, with_names=False)
        except ContractError as error:
            raise ContractError(f"row {number}: {error}", error.rule) from None

    def _split_cells(self, table: Any) -> tuple[Matrix, list[Fault]]:
        if type(table) is not dict or not {"columns", "data"} <= table.keys() <= SPLIT_KEYS:
            raise _wrong_form("dataframe_split must hold columns and data, and may hold index")
        columns, data, index = table["columns"], table["data"], table.get("index")
        if type(columns) is not list or not all(type(name) is str for name in columns):
            raise _wrong_form("dataframe_split.columns must be a list of names")
        if type(data) is not list or not all(type(row) is list for row in data):
            raise _wrong_form("dataframe_split.data must be a list of lists, one per row")
        _check_count(len(data), self.max_rows)
        check_names(self.columns, columns, with_names=False)
        for number, row in enumerate(data, 1):
            if len(row) != len(columns):
                raise invalid_parameter(
                    "ragged", f"row {number} has {len(row)} cells for {len(columns)} columns"
                )
        if index is not None and (type(index) is not list or len(index) != len(data)):
            raise invalid_parameter(
                "index", "dataframe_split.index must be a list with one entry per row"
            )
        cells = {name: [row[place] for row in data] for place, name in enumerate(columns)}
        return self._cells(cells, len(data))

    def _column_cells(self, form: str, table: Mapping[str, Any]) -> tuple[Matrix, list[Fault]]:
        check_names(self.columns, list(table), with_names=False)
        lists = [type(value) is list for value in table.values()]
        if not all(lists) and any(lists):
            raise _wrong_form(f"{form} must hold a list per column, or one value per column")
        columns = table if all(lists) else {name: [value] for name, value in table.items()}
        lengths = {len(values) for values in columns.values()}
        if len(lengths) > 1:
            raise invalid_parameter("ragged", f"the columns in {form} must be of one length")
        rows = max(lengths, default=0)
        _check_count(rows, self.max_rows)
        return self._cells(columns, rows)

    def _cells(self, columns: Mapping[str, Sequence[Any]], rows: int) -> tuple[Matrix, list[Fault]]:
        return read_columns(self.columns, columns, rows, read_cells)


def _count_keys(params: Any, others: int) -> int:
    """Returns how many keys a body has outside its rows."""
    return others if params is None else others + 1 + (len(params) if type(params) is dict else 0)


def _check_count(rows: int, limit: int) -> None:
    """Raises HTTPError (413) for more rows than the limit."""
    if rows > limit:
        raise HTTPError(413, "rows", f"the request has {rows} rows; at most {limit} are allowed")


def _getter(names: Sequence[str]) -> Callable[[Any], tuple[Any, ...]]:
    if len(names) > 1:
        return itemgetter(*names)
    only = names[0]
    return lambda row: (row[only],)


def _wrong_keys(tree: Mapping[str, Any]) -> HTTPError:
    forms = [form for form in FORMS if form in tree]
    others = len(tree) - len(forms)
    keys = f"it has {', '.join(forms) or 'none of them'}"
    if others:
        keys += f" and {others} other key{'s' * (others > 1)}"
    return _wrong_form(f"the body must hold one of {', '.join(FORMS)}, and may hold params; {keys}")


def _wrong_form(message: str) -> HTTPError:
    return HTTPError(400, "form", message)


def _check_duplicate_keys(body: bytes) -> None:
    """Raises HTTPError when an object has a key twice; orjson has found the body well-formed."""

    def check(pairs: list[tuple[str, Any]]) -> None:
        if len({key for key, _ in pairs}) < len(pairs):
            raise HTTPError(400, "duplicate_key", "an object of the body has a key twice")

    try:
        # All that is of interest is the keys: numbers stay texts, however long they are.
        json.loads(body, object_pairs_hook=check, parse_int=str, parse_float=str)
    except RecursionError:
        raise HTTPError(400, "json", "the body is nested too deeply") from None
