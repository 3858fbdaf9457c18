"""What a request may look like, and what becomes of one that may not be."""

import random

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from pipeline.config.serve import Limits
from pipeline.inference.predictor import Params, Predictor, Trained
from pipeline.schema.columns import NumberColumn
from pipeline.server.http_error import HTTPError
from pipeline.server.request_json import Reader, media_type
from pipeline.server.response import respond
from tests.support.malformed import CSV, JSON, MALFORMED, PARQUET, SENTINELS
from tests.support.pima import (
    CONTRACT,
    HEADER,
    LINE,
    NAMES,
    PATIENT,
    VALUES,
    csv,
    line,
    parquet,
    records,
    row,
    text,
)

LONGEST_MESSAGE = 1500
MOST_ROWS = Limits().rows
NAN = float("nan")


def make_reader(columns=None, max_rows=MOST_ROWS) -> Reader:
    contract = CONTRACT if columns is None else CONTRACT.model_copy(update={"columns": columns})
    trained = Trained(0.5, *np.ones((2, len(contract.columns))))
    predictor = Predictor(contract, lambda X: np.tile([0.3, 0.7], (len(X), 1)), trained, {})
    return Reader(predictor, max_rows)


@pytest.fixture(scope="module")
def reader():
    return make_reader()


def outcome(reader, body, kind=JSON):
    """The matrix and the params, or status, rule and message; any other error is a fault."""
    try:
        request = reader.read(body, kind)
    except HTTPError as error:
        return (error.status, error.rule, error.message)
    return (request.X.shape, request.X.tobytes(), request.params)


def read(reader, body, kind=JSON):
    return reader.read(body if isinstance(body, bytes) else body.encode(), kind)


# Refused.


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name[:80]) for case in MALFORMED])
def test_malformed_request_is_refused_without_an_echo(reader, case):
    with pytest.raises(HTTPError) as caught:
        respond(reader, case.body, media_type(case.kind.encode()), is_quick=False)
    error = caught.value
    assert error.status == case.status
    assert error.rule in case.rule.split("|")
    assert [word for word in case.words if word not in error.message] == []
    assert [sentinel for sentinel in SENTINELS if sentinel in error.message] == []
    assert len(error.message) < LONGEST_MESSAGE


@pytest.mark.parametrize("kind", [JSON, CSV, PARQUET])
def test_body_with_bytes_astray_is_read_or_refused_and_nothing_else(reader, kind):
    """Bytes are put in, taken out and replaced at random, with a seed."""
    rng = random.Random(0)
    bodies = {
        JSON: [
            records(row(), row()).encode(),
            text({"params": {"threshold": 0.3}, "inputs": [PATIENT]}).encode(),
            text({"dataframe_split": {"columns": NAMES, "data": [VALUES], "index": [0]}}).encode(),
            text({"instances": {name: [value] for name, value in PATIENT.items()}}).encode(),
        ],
        CSV: [csv(LINE, LINE), csv(line(BMI='"33.6"'), header=HEADER.replace("BMI", '"BMI"'))],
        PARQUET: [parquet(), parquet(rows=50)],
    }[kind]
    pieces = [bytes([byte]) for byte in b'":,{}[\\\n\r\0\xff\x801']
    pieces += [b"null", b"1e400", b"\\u0041", b"\xef\xbb\xbf", b'"Age":1,', b"SECRET"]
    refused = 0
    for _ in range(1000):
        body = rng.choice(bodies)
        for _ in range(rng.choice([1, 1, 2, 4])):
            at, out = rng.randrange(len(body)), rng.choice([0, 1, 1, 3])
            body = body[:at] + rng.choice(pieces) + body[at + out :]
        refused += outcome(reader, body, kind)[0] == 400

    assert 0 < refused < 1000


# Read: every form gives the same matrix.


COLUMNS = {name: [value, value] for name, value in PATIENT.items()}
REVERSED = dict(reversed(PATIENT.items()))
TWO_ROWS = records(row(), row())


def split(names=NAMES, values=VALUES, **more):
    return text({"dataframe_split": {**more, "columns": names, "data": [values] * 2}})


GOOD = {
    JSON: {
        "records": TWO_ROWS,
        "records in another order": text({"dataframe_records": [REVERSED, PATIENT]}),
        "a list of inputs": text({"inputs": [PATIENT] * 2}),
        "a list of instances": text({"instances": [PATIENT] * 2}),
        "columns of inputs": text({"inputs": COLUMNS}),
        "columns of instances": text({"instances": dict(reversed(COLUMNS.items()))}),
        "a split table": split(),
        "a split table with an index": split(index=["a", None]),
        "a split table with no index": split(index=None),
        "a split table in another order": split(NAMES[::-1], VALUES[::-1]),
        "no white space": TWO_ROWS.replace(" ", ""),
        "much white space": TWO_ROWS.replace(" ", " \r\n\t "),
        "params of null": f'{{"params": null, {TWO_ROWS[1:]}',
        "params of none": f'{{"params": {{}}, {TWO_ROWS[1:]}',
        "params at the end": f'{TWO_ROWS[:-1]}, "params": {{}}}}',
        "escaped keys": records(row().replace("Age", r"\u0041ge"), row()),
        "an escaped form": TWO_ROWS.replace("records", r"r\u0065cords"),
        "other numbers": records(row(Age="5e1", BMI="3.36E+1", Glucose="148.0"), row()),
        "more digits than a double has": records(row(BMI="33.6000000000000000001"), row()),
    },
    CSV: {
        "lines": csv(LINE, LINE),
        "another order": csv(*[",".join(LINE.split(",")[::-1])] * 2, header=",".join(NAMES[::-1])),
        "carriage returns": csv(LINE, LINE, end="\r\n"),
        "no end": csv(LINE, LINE)[:-1],
        "a byte order mark": b"\xef\xbb\xbf" + csv(LINE, LINE),
        "quotes": csv(LINE, line(BMI='"33.6"'), header=HEADER.replace("Age", '"Age"')),
        "empty lines": csv("", LINE, "", LINE, ""),
        "other numbers": csv(LINE, line(Age="5e1", Glucose="1.48E+2", BMI="33.600")),
    },
    PARQUET: {
        "a table": parquet(),
        "another order": parquet(pa.table(dict(reversed(COLUMNS.items())))),
        "small integers": parquet(Age=pa.array([50, 50], pa.int8())),
        "small floats": parquet(Glucose=pa.array([148, 148], pa.float16())),
        "categories that are numbers": parquet(Age=pa.array([50, 50]).dictionary_encode()),
    },
}


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in GOOD for name in GOOD[kind]])
def test_every_form_gives_the_same_matrix(reader, kind, name):
    request = read(reader, GOOD[kind][name], kind)
    np.testing.assert_array_equal(request.X, np.array([VALUES, VALUES], dtype=float))
    assert request.X.dtype == np.float64
    assert request.params == Params()


@pytest.mark.parametrize("rows", [1, 2, 16, 17, 500])
@pytest.mark.parametrize("cell", [1, 1.0, None])
def test_cells_of_one_kind_alone_are_doubles_too(cell, rows):
    """NumPy would make integers or objects of them, which no graph takes."""
    columns = {f"c{place}": NumberColumn(missing=0) for place in range(8)}
    body = text({"inputs": [dict.fromkeys(columns, cell)] * rows})
    X = read(make_reader(columns), body).X
    assert X.dtype == np.float64
    np.testing.assert_array_equal(X, np.full((rows, 8), NAN if cell is None else 1.0))


@pytest.mark.parametrize("form", ["inputs", "instances"])
def test_one_value_per_column_is_one_row(reader, form):
    np.testing.assert_array_equal(read(reader, text({form: PATIENT})).X, [VALUES])


def test_parquet_of_pandas_comes_with_its_index(reader, tmp_path):
    pd.DataFrame(COLUMNS, index=[5, 9]).to_parquet(tmp_path / "a.parquet")
    request = reader.read((tmp_path / "a.parquet").read_bytes(), PARQUET)
    np.testing.assert_array_equal(request.X, [VALUES, VALUES])


def test_line_ends_of_old_macs_are_read_or_refused(reader):
    old = outcome(reader, csv(LINE, LINE, end="\r"), CSV)
    assert old[0] == 400 or old == outcome(reader, csv(LINE, LINE), CSV)


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"threshold": 0.3}, Params(threshold=0.3)),
        ({"threshold": 0, "version": True}, Params(threshold=0, version=True)),
        ({"explain": True}, Params(explain=True)),
    ],
)
@pytest.mark.parametrize(
    ("form", "table"),
    [
        ("inputs", [PATIENT]),
        ("instances", PATIENT),
        ("dataframe_split", {"columns": NAMES, "data": [VALUES]}),
    ],
)
def test_params_come_with_every_form_of_json(reader, form, table, params, expected):
    request = read(reader, text({"params": params, form: table}))
    assert request.params == expected
    assert request.X.shape == (1, 8)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (JSON, '{"dataframe_records": []}'),
        (JSON, '{"inputs": []}'),
        (JSON, text({"inputs": {name: [] for name in NAMES}})),
        (JSON, text({"dataframe_split": {"columns": NAMES, "data": []}})),
        (JSON, text({"dataframe_split": {"columns": NAMES[::-1], "data": [], "index": []}})),
        (CSV, HEADER + "\n"),
        (PARQUET, parquet(pa.table({name: pa.array([], pa.float64()) for name in NAMES}))),
    ],
)
def test_no_rows_are_read_as_none(reader, kind, body):
    assert read(reader, body, kind).X.shape == (0, 8)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (JSON, records(*[row()] * 3).encode()),
        (JSON, text({"inputs": {name: [value] * 3 for name, value in PATIENT.items()}}).encode()),
        (JSON, text({"dataframe_split": {"columns": NAMES, "data": [VALUES] * 3}}).encode()),
        (CSV, csv(*[LINE] * 3)),
        (CSV, csv(*[LINE] * 3)[:-1]),
        (CSV, csv(line(BMI='"33.6"'), *[LINE] * 2)),
        (PARQUET, parquet(rows=3)),
    ],
)
def test_as_many_rows_are_read_as_may_be_and_not_one_more(kind, body):
    assert make_reader(max_rows=3).read(body, kind).X.shape == (3, 8)
    status, rule, message = outcome(make_reader(max_rows=2), body, kind)
    assert (status, rule) == (413, "rows")
    assert "2" in message


# What stands for a missing value.


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (JSON, records(row(Glucose="null"))),
        (JSON, records(row(Glucose="0"))),
        (JSON, records(row(Glucose="-0.0"))),
        (JSON, text({"inputs": {**PATIENT, "Glucose": None}})),
        (JSON, text({"dataframe_split": {"columns": NAMES, "data": [[6, None, *VALUES[2:]]]}})),
        (JSON, text({"dataframe_split": {"columns": NAMES, "data": [[6, 0, *VALUES[2:]]]}})),
        (CSV, csv(line(Glucose=""))),
        (CSV, csv(line(Glucose="0"))),
        (PARQUET, parquet(rows=1, Glucose=[0])),
        (PARQUET, parquet(rows=1, Glucose=pa.array([None], pa.int64()))),
        (PARQUET, parquet(rows=1, Glucose=pa.nulls(1))),
    ],
)
def test_null_mark_and_empty_cell_mean_missing(reader, kind, body):
    request = read(reader, body, kind)
    np.testing.assert_array_equal(request.X, [[6, NAN, *VALUES[2:]]])


OPTIONAL = {
    "a": NumberColumn(range=(0, 9)),
    "b": NumberColumn(optional=True),
    "c": NumberColumn(optional=True),
}


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (JSON, b'{"inputs": [{"a": 1}, {"c": 3, "a": 2}]}'),
        (JSON, b'{"inputs": [{"a": 1, "b": null}, {"c": 3, "a": 2, "b": null}]}'),
        (JSON, b'{"dataframe_split": {"columns": ["c", "a"], "data": [[null, 1], [3, 2]]}}'),
        (JSON, b'{"inputs": {"a": [1, 2], "c": [null, 3]}}'),
        (CSV, b"a,c\n1,\n2,3\n"),
        (PARQUET, parquet(pa.table({"c": [None, 3], "a": [1, 2]}))),
    ],
)
def test_absent_optional_column_means_missing(kind, body):
    request = make_reader(OPTIONAL).read(body, kind)
    np.testing.assert_array_equal(request.X, [[1, NAN, NAN], [2, NAN, 3]])


# Columns of any name and number.


@pytest.mark.parametrize("name", ["x", "od280/od315: x", ":", '"', "\\", "µ", "a,b", " ", "params"])
def test_column_may_have_any_name_and_be_the_only_one(name):
    reader = make_reader({name: NumberColumn(range=(0, 9))})
    quoted = '"' + name.replace('"', '""') + '"'
    bodies = {
        JSON: [
            text({"dataframe_records": [{name: 1}, {name: None}]}),
            text({"inputs": {name: [1, None]}}),
            text({"dataframe_split": {"columns": [name], "data": [[1], [None]]}}),
            text({"params": {"version": False}, "instances": [{name: 1}, {name: None}]}),
        ],
        CSV: [f"{quoted}\n1\n\n", f'{quoted}\n1\n""\n'],
        PARQUET: [parquet(pa.table({name: [1, None]}))],
    }

    for kind, each in bodies.items():
        for body in each:
            np.testing.assert_array_equal(read(reader, body, kind).X, [[1], [NAN]])


@pytest.mark.parametrize("rows", ['["od: x"]', '"od: x"', "[[1]]", "[null]", "[3]"])
def test_lone_column_takes_rows_and_nothing_else(rows):
    reader = make_reader({"od: x": NumberColumn()})
    assert outcome(reader, f'{{"dataframe_records": {rows}}}'.encode())[:2] == (400, "form")


@pytest.mark.parametrize(
    "body",
    [
        b'{"inputs": [{"od: x": 1, "od: x": 2}]}',
        b'{"inputs": [{"od: x": 1}], "inputs": [{"od: x": 1}]}',
        b'{"params": {"version": true, "version": true}, "inputs": [{"od: x": 1}]}',
        # An escaped colon does not look like one: with two of them, the sum is right again.
        rb'{"inputs": [{"od\u003a x": 1, "od\u003a x": 2}]}',
        rb'{"dataframe_split": {"columns": ["od\u003a x"], "columns": ["od: x"], "data": [[1]]}}',
        rb'{"dataframe_split": {"columns": ["od: x"], "columns": ["od\u003a x"], "data": [[1]]}}',
    ],
)
def test_key_that_is_there_twice_is_refused_among_names_with_colons(body):
    assert outcome(make_reader({"od: x": NumberColumn()}), body)[:2] == (400, "duplicate_key")


# The quick look and the close one.


def some_request(rng) -> bytes:
    """Mostly well-formed; one in a few has a fault somewhere."""

    def cell():
        usual = [rng.randint(0, 60), round(rng.uniform(0, 60), 3), None]
        odd = [True, "7", [], 10**25, -1, {"a": 1}]
        return rng.choice(odd) if rng.random() < 0.01 else rng.choice(usual)

    names = list(ODD_NAMES)
    rows = [{name: cell() for name in names} for _ in range(rng.choice([0, 1, 1, 2, 5]))]
    for one in rows:
        if rng.random() < 0.1:
            one.pop(rng.choice(names))
        if rng.random() < 0.03:
            one["z"] = 1
    table = {"columns": rng.choice([names, names[::-1]]), "data": [[cell() for _ in names]] * 2}
    if rng.random() < 0.3:
        table["index"] = [0, 1]
    forms = {
        "dataframe_records": rows,
        "inputs": rows,
        "instances": {name: [cell(), cell()] for name in names},
        "dataframe_split": table,
    }
    form = rng.choice(list(forms))
    body = {form: forms[form]}
    if rng.random() < 0.5:
        choices = [None, {}, {"version": True}, {"threshold": 0.5, "explain": False}, {"z": 1}, []]
        body["params"] = rng.choice(choices)
    written = text(body)
    if rng.random() < 0.1:
        written = written.replace('"a"', r'"\u0061"', 1)
    if rng.random() < 0.1:
        written = written.replace('"a": ', '"a": 1, "a": ', 1)
    if rng.random() < 0.05:
        written = written.replace("{", '{"params": {}, ', 1)
    return written.encode()


ODD_NAMES = {
    "a": NumberColumn(range=(0, 50)),
    "b: c": NumberColumn(missing=0),
    "d": NumberColumn(optional=True, range=(-5, None)),
}


def test_quick_look_and_close_look_come_to_the_same(monkeypatch):
    rng = random.Random(0)
    bodies = [some_request(rng) for _ in range(2000)]
    reader = make_reader(ODD_NAMES, max_rows=4)
    looks = []
    quick = Reader._quick
    monkeypatch.setattr(Reader, "_quick", lambda *a: looks.append(quick(*a)) or looks[-1])
    outcomes = [outcome(reader, body) for body in bodies]
    monkeypatch.setattr(Reader, "_quick", lambda *_: None)

    for body, expected in zip(bodies, outcomes, strict=True):
        assert outcome(reader, body) == expected, body
    # The requests are of all kinds.
    assert sum(look is not None for look in looks) > 300
    rules = {each[1] for each in outcomes if each[0] in (400, 413)}
    assert rules >= {"columns", "type", "range", "rows", "params", "duplicate_key"}
    assert sum(each[0] not in (400, 413) for each in outcomes) > 600


def test_well_formed_body_needs_no_close_look(monkeypatch):
    """Else it would take many times as long."""
    monkeypatch.delattr(Reader, "_slow")
    reader = make_reader()

    for body in (
        records(row(), row()),
        text({"params": {"version": True, "threshold": 0.1}, "inputs": [PATIENT]}),
        text({"dataframe_split": {"columns": NAMES, "data": [VALUES]}, "params": {}}),
    ):
        assert reader.read(body.encode(), JSON).X.shape[1] == 8


def test_close_look_refuses_what_might_beat_the_quick_one(reader):
    """A text with a colon makes up for a key: neither look may take it for one."""
    body = records(row().replace('"Age": 50', '"BMI": 3').replace("33.6", '":"'))
    assert outcome(reader, body.encode())[:2] == (400, "duplicate_key")


# Content-Type.


@pytest.mark.parametrize(
    ("header", "kind"),
    [
        *((name, JSON) for name in (JSON, "Application/JSON", " application/json ")),
        *(
            (f"application/json;{options}", JSON)
            for options in (
                *("", " charset=utf-8", "charset=UTF-8", ' charset="utf-8"', " ; charset=utf-8"),
            )
        ),
        *((name, CSV) for name in ("text/csv", "text/csv; charset=utf-8")),
        ("application/vnd.apache.parquet", PARQUET),
    ],
)
def test_content_type_is_read_in_any_case_with_utf_8(header, kind):
    assert media_type(header.encode()) == kind


@pytest.mark.parametrize(
    "header", [b"application/json; charset=\xff", b"\xff\x00", b"text/\xc3\xa9"]
)
def test_content_type_that_is_no_ascii_is_refused(header):
    with pytest.raises(HTTPError) as caught:
        media_type(header)
    assert caught.value.status == 415


def test_contract_with_as_many_columns_as_may_be_is_read():
    columns = {f"c{place}": NumberColumn() for place in range(500)}
    body = text({"inputs": [dict.fromkeys(columns, 1.5)] * 2})
    assert read(make_reader(columns), body).X.sum() == 1500
