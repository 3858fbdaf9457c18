"""What holds for every kind of column: one suite over the table KINDS."""

import io
import json
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from mlflow.types import DataType

from pipeline.datasets.kinds import TABLE_KINDS
from pipeline.errors import ContractError
from pipeline.export.random_rows import RANDOM_CELLS
from pipeline.inference.mlflow_flavor import signature
from pipeline.inference.predictor import Predictor, Trained
from pipeline.schema import kinds
from pipeline.schema.columns import Column
from pipeline.schema.contract import Contract
from pipeline.schema.kinds import KINDS, kind_of
from pipeline.schema.rules import Rules, check, read_cells
from pipeline.server.http_error import HTTPError
from pipeline.server.request_json import CSV, JSON, PARQUET, Reader


class Example(NamedTuple):
    """A column of the kind, some valid cells, the doubles that they become, and other forms."""

    column: Column
    cells: list[Any]
    doubles: list[float]
    texts: list[str]
    same: list[pd.Series]
    invalid_texts: list[str]
    invalid_arrow: list[pa.Array]


EXAMPLES = {
    "number": Example(
        column=Column(range=(-50, 200), missing=-1, unit="kg", meaning="how heavy"),
        cells=[30, 40.5, 0, -50],
        doubles=[30, 40.5, 0, -50],
        texts=["30", "4.05e1", "0", "-50.0"],
        same=[
            pd.Series([np.int8(30), np.float32(40.5), Fraction(0), -50], dtype=object),
            pd.Series([*map(Decimal, ("30", "40.5", "0E+3", "-5E+1"))]),
            *(
                pd.Series([30, 40.5, 0, -50], dtype=dtype)
                for dtype in ("Float64", "float32", "float64[pyarrow]", "category")
            ),
        ],
        invalid_texts=["a", "030", "+1", ".5", "5.", "0x1", "1_0", "nan", "inf", " 1", "true"],
        invalid_arrow=[
            pa.array(cells) for cells in (["30"], [True], [datetime(2020, 1, 1)], [Decimal("1.5")])
        ],
    ),
}


@pytest.fixture(params=KINDS)
def example(request):
    return EXAMPLES[request.param]


@pytest.fixture
def kind(example):
    return kind_of(example.column)


@pytest.fixture
def reader(example):
    """Of requests for a model with one column of the kind that may be left out."""
    column = example.column.model_copy(update={"optional": True})
    return make_reader({"x": column})


def make_reader(columns):
    contract = Contract(columns=columns, target="y", classes=(0, 1), positive=1)
    reference = np.zeros(len(columns))
    trained = Trained(0.5, reference, reference)
    return Reader(Predictor(contract, lambda X: X, trained), 100)


def as_parquet(cells):
    buffer = io.BytesIO()
    pq.write_table(pa.table({"x": cells}), buffer)
    return buffer.getvalue()


def as_csv(texts):
    return "\n".join(["x", *texts, ""]).encode()


def refusal(reader, body, media_type):
    with pytest.raises(HTTPError) as error:
        reader.read(body, media_type)
    return error.value.rule, error.value.message


def test_tables_of_the_kinds_have_the_same_keys():
    assert KINDS.keys() == TABLE_KINDS.keys() == RANDOM_CELLS.keys() == EXAMPLES.keys()
    assert Column().kind in KINDS


# Valid cells.


def test_cells_become_the_same_doubles_from_every_form(example, reader):
    frames = [pd.DataFrame({"x": cells}) for cells in (example.cells, *example.same)]
    forms = {
        "dataframe_records": [{"x": cell} for cell in example.cells],
        "dataframe_split": {"columns": ["x"], "data": [[cell] for cell in example.cells]},
        "inputs": {"x": example.cells},
    }
    bodies = [
        *((JSON, json.dumps({name: form}).encode()) for name, form in forms.items()),
        (CSV, as_csv(example.texts)),
        (PARQUET, as_parquet(pa.array(example.cells))),
    ]

    for frame in frames:
        assert check({"x": example.column}, frame)["x"].tolist() == example.doubles
    for media_type, body in bodies:
        assert reader.read(body, media_type).X[:, 0].tolist() == example.doubles


@pytest.mark.parametrize(
    ("gap", "dtype"),
    [
        *((gap, object) for gap in (None, np.nan, pd.NA, pd.NaT)),
        *((None, dtype) for dtype in ("float64", "Int64", "double[pyarrow]", "category")),
    ],
)
def test_missing_value_of_any_table_becomes_nan(example, gap, dtype):
    frame = pd.DataFrame({"x": pd.Series([gap], dtype=dtype)})

    assert np.isnan(check({"x": example.column}, frame)["x"]).all()


@pytest.mark.parametrize(
    ("media_type", "body"),
    [
        *(
            (JSON, form)
            for form in (b'{"instances": [{"x": null}, {}]}', b'{"inputs": {"x": [null, null]}}')
        ),
        (CSV, as_csv(["", ""])),
        *((PARQUET, as_parquet(pa.nulls(2, type_))) for type_ in (pa.null(), pa.float32())),
    ],
)
def test_missing_value_of_any_request_becomes_nan(reader, media_type, body):
    assert np.isnan(reader.read(body, media_type).X).tolist() == [[True], [True]]


def test_no_rows_become_no_doubles(example, reader):
    assert check({"x": example.column}, pd.DataFrame({"x": []})).shape == (0, 1)
    assert reader.read(as_csv([]), CSV).X.shape == (0, 1)


def test_random_cells_are_valid(example):
    rng = np.random.default_rng(0)
    values = np.array(example.doubles)

    cells = RANDOM_CELLS[example.column.kind](rng, example.column, values)

    assert len(set(cells.tolist())) > 1
    np.testing.assert_array_equal(Rules({"x": example.column}).apply(cells[:, None])[:, 0], cells)


def test_plain_types_are_read_by_float_as_by_the_kind(example, kind):
    plain = [cell for cell in example.cells if type(cell) in kind.plain_types]

    assert [float(cell) for cell in plain] == [kind.read_cell(cell) for cell in plain]
    assert not {type(cell) for cell in kind.invalid_cells} & kind.plain_types


def test_texts_of_a_table_are_read_where_they_are_of_the_kind(example):
    table_kind = TABLE_KINDS[example.column.kind]

    read = table_kind.read(pd.Series([*example.texts, "no such cell"], dtype="str"))

    assert read.tolist() == [*example.doubles, "no such cell"]
    assert table_kind.has_any(read)
    assert not table_kind.has_any(read[-1:])


def test_mark_becomes_nan_though_it_may_be_out_of_the_range(example):
    marked = check({"x": example.column}, pd.DataFrame({"x": [example.column.missing]}))

    assert np.isnan(marked["x"]).all()


# Invalid cells.


def test_invalid_cells_are_refused_in_every_form(example, kind, reader):
    for cell in kind.invalid_cells:
        sentence = f"row 1, x: must be {kind.noun}"
        with pytest.raises(ContractError) as error:
            check({"x": example.column}, pd.DataFrame({"x": [cell]}), with_values=False)
        assert (error.value.rule, str(error.value)) == ("type", sentence)
        for form in ({"dataframe_records": [{"x": cell}]}, {"inputs": {"x": [cell]}}):
            assert refusal(reader, json.dumps(form).encode(), JSON) == ("type", sentence)


def test_invalid_texts_and_arrow_columns_are_refused(example, kind, reader):
    sentence = f"row 2, x: must be {kind.noun}"
    for text in example.invalid_texts:
        assert refusal(reader, as_csv([example.texts[0], text]), CSV) == ("type", sentence)
    nan = pa.array([None, np.nan])  # unlike null, it is no missing value
    assert refusal(reader, as_parquet(nan), PARQUET) == ("type", sentence)
    for cells in example.invalid_arrow:
        sentence = f"column 'x' must be of {kind.arrow_types}"
        assert refusal(reader, as_parquet(cells), PARQUET) == ("type", sentence)


def test_cells_out_of_the_range_are_refused(example, kind):
    rules = Rules({"x": example.column})
    cells = list(kind.out_of_range(example.column))

    assert cells
    for cell in cells:
        assert rules.few([cell]) is None
        with pytest.raises(ContractError) as error:
            rules.apply(np.array([[cell]]))
        assert error.value.rule == "range"


def test_first_invalid_cells_are_named_and_no_more_are_read(example, kind):
    cells = [kind.invalid_cells[0]] * 50

    vector, faults = read_cells("x", example.column, cells)

    assert [fault.row for fault in faults] == list(range(1, 12))
    assert np.isnan(vector).all()


# What is said of a column.


def test_column_is_described_for_programs_and_for_people(example, kind):
    column = example.column

    schema = kind.json_schema(column)
    holds, valid, mark = kind.describe(column)

    assert schema["type"] == [kind.json_type, "null"]
    assert column.meaning in schema["description"]
    assert holds == f"{column.meaning}, {column.unit}"
    assert valid
    assert mark == kind.digits(column.missing)


@pytest.mark.parametrize(
    ("settings", "schema", "valid"),
    [
        ({}, {}, "any number"),
        ({"range": (0, None)}, {"minimum": 0}, "at least 0"),
        ({"range": (None, 5)}, {"maximum": 5}, "at most 5"),
        (
            {"range": (1, 5), "missing": 0},
            {"anyOf": [{"type": "number", "minimum": 1, "maximum": 5}, {"enum": [0, None]}]},
            "1 to 5",
        ),
    ],
)
def test_range_of_numbers_is_described(settings, schema, valid):
    column = Column(**settings)

    described = KINDS["number"].json_schema(column)

    assert {k: v for k, v in described.items() if k not in ("type", "description")} == schema
    assert KINDS["number"].describe(column)[1] == valid


def test_mlflows_type_takes_the_doubles_of_a_column(example, kind):
    contract = Contract(columns={"x": example.column}, target="y", classes=(0, 1), positive=1)

    (spec,) = signature(contract, 0.5).inputs.inputs

    assert spec.type == DataType[kind.mlflow_type]
    assert spec.type.to_numpy() == np.float64


def test_another_kind_is_one_more_row_of_the_table(monkeypatch):
    """Here of columns that hold yes or no, as `true` and `false`."""

    class Answer(Column):
        kind = property(lambda _: "answer")

    def read(cell):
        return {None: np.nan, True: 1.0, False: 0.0}[cell]

    answer = replace(
        KINDS["number"],
        noun="true or false",
        json_type="boolean",
        plain_types=frozenset(),
        read_cell=lambda cell: read(cell) if cell is None or type(cell) is bool else float("x"),
    )
    monkeypatch.setattr(kinds, "KINDS", {**KINDS, "answer": answer})
    reader = make_reader({"weight": Column(), "is_new": Answer()})

    def body(**row):
        return json.dumps({"dataframe_records": [row]}).encode()

    assert reader.read(body(weight=3, is_new=True), JSON).X.tolist() == [[3, 1]]
    assert refusal(reader, body(weight=True, is_new=3), JSON) == (
        "type",
        "row 1, is_new: must be true or false\nrow 1, weight: must be a number",
    )
