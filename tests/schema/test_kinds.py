"""What holds for every kind of column: one suite over the table KINDS."""

import io
import json
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from mlflow.types import DataType
from sklearn.preprocessing import FunctionTransformer

from pipeline.datasets.kinds import TABLE_KINDS
from pipeline.errors import ContractError
from pipeline.export.random_rows import RANDOM_CELLS
from pipeline.inference.mlflow_flavor import signature
from pipeline.inference.predictor import Predictor, Trained
from pipeline.models.cells import READERS, with_cells
from pipeline.models.encoders import ROLES
from pipeline.schema import json_schema
from pipeline.schema.coded import OTHER
from pipeline.schema.columns import (
    AnyColumn,
    BooleanColumn,
    CategoryColumn,
    DateColumn,
    IntegerColumn,
    NumberColumn,
    OrdinalColumn,
    TextColumn,
)
from pipeline.schema.contract import Contract
from pipeline.schema.kinds import KINDS, kind_of
from pipeline.schema.rules import Rules, check, read_cells
from pipeline.server.http_error import HTTPError
from pipeline.server.request_json import CSV, JSON, PARQUET, Reader


class Example(NamedTuple):
    """A column of the kind, some valid cells, the doubles that they become, and other forms.

    Of a column of texts, `doubles` are the texts.
    """

    column: AnyColumn
    cells: list[Any]
    doubles: list[Any]
    texts: list[str]
    same: list[pd.Series]
    invalid_texts: list[str]
    invalid_arrow: list[pa.Array]
    gaps: list[pa.Array]  # two missing values


DAYS = [np.datetime64(day) for day in ("1970-01-02", "1969-12-31T12:00", "1970-01-03")]
LEVELS = pa.array(["high"]).dictionary_encode()
EXAMPLES = {
    "number": Example(
        column=NumberColumn(range=(-50, 200), missing=(-1, "?"), unit="kg", meaning="how heavy"),
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
        gaps=[pa.nulls(2, pa.float32())],
    ),
    "integer": Example(
        column=IntegerColumn(range=(0, 9), missing=-1, unit="pieces", meaning="how many"),
        cells=[3, 4.0, 0, 9],
        doubles=[3, 4, 0, 9],
        texts=["3", "4.0", "0", "0.9e1"],
        same=[pd.Series([3, 4, 0, 9], dtype=dtype) for dtype in ("int8", "Int64", object)],
        invalid_texts=["a", "0.5", "3.1", "true"],
        invalid_arrow=[pa.array(["3"])],
        gaps=[pa.nulls(2, pa.int8())],
    ),
    "boolean": Example(
        column=BooleanColumn(meaning="whether it is new", missing="?"),
        cells=[True, False, True],
        doubles=[1, 0, 1],
        texts=["true", "false", "True"],
        same=[
            pd.Series([True, False, True], dtype=dtype)
            for dtype in ("bool", "boolean", "bool[pyarrow]", object)
        ],
        invalid_texts=["1", "yes", "tRue"],
        invalid_arrow=[pa.array([1]), pa.array(["true"])],
        gaps=[pa.nulls(2, pa.bool_())],
    ),
    "category": Example(
        column=CategoryColumn(levels=("01", "NA", "x"), missing=("?", -9), meaning="what it is"),
        cells=["x", "01", "NA", "new"],
        doubles=[2, 0, 1, -1],
        texts=["x", "01", "NA", "new"],
        same=[
            pd.Series(["x", "01", "NA", "new"], dtype=dtype)
            for dtype in ("str", "category", object, "string[pyarrow]")
        ],
        invalid_texts=[],
        invalid_arrow=[pa.array([True]), pa.array([0.5])],
        gaps=[pa.nulls(2, pa.string()), pa.nulls(2, LEVELS.type)],
    ),
    "ordinal": Example(
        column=OrdinalColumn(levels=("low", "mid", "high"), meaning="how much"),
        cells=["high", "low", "mid"],
        doubles=[2, 0, 1],
        texts=["high", "low", "mid"],
        same=[pd.Series(["high", "low", "mid"], dtype=dtype) for dtype in ("str", "category")],
        invalid_texts=["High", "3"],
        invalid_arrow=[pa.array([True])],
        gaps=[pa.nulls(2, pa.large_string())],
    ),
    "date": Example(
        column=DateColumn(range=("1969-12-31", "2030-01-01"), missing="never", meaning="since"),
        cells=["1970-01-02", "1969-12-31T12:00:00", "1970-01-03T02:00:00+02:00"],
        doubles=[1, -0.5, 2],
        texts=["1970-01-02", "1969-12-31 12:00", "1970-01-03T00:00:00Z"],
        same=[
            pd.Series(
                pd.to_datetime(["1970-01-02", "1969-12-31 12:00", "1970-01-03"], format="ISO8601")
            ),
            pd.Series(
                [date(1970, 1, 2), datetime(1969, 12, 31, 12), np.datetime64("1970-01-03")],
                dtype=object,
            ),
        ],
        invalid_texts=["31.12.2020", "2020-13-01", "3"],
        invalid_arrow=[pa.array([1]), pa.array([True])],
        gaps=[pa.nulls(2, pa.date32()), pa.nulls(2, pa.timestamp("us", "UTC"))],
    ),
    "text": Example(
        column=TextColumn(max_length=20, missing=("?", -9), meaning="what they say"),
        cells=["NA: größe 日本", "  so, well", "12", "x" * 20],
        doubles=["NA: größe 日本", "so, well", "12", "x" * 20],
        texts=["NA: größe 日本", '"so, well"', "12", "x" * 20],
        same=[
            pd.Series(["NA: größe 日本", "so, well", "12", "x" * 20], dtype=dtype)
            for dtype in ("str", "category", object, "string[pyarrow]")
        ],
        invalid_texts=["x" * 21],
        invalid_arrow=[pa.array([1]), pa.array([True])],
        gaps=[pa.nulls(2, pa.string()), pa.array(["", " "]), pa.nulls(2, LEVELS.type)],
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


def as_parquet_of(frame):
    buffer = io.BytesIO()
    frame.to_parquet(buffer)
    return buffer.getvalue()


def as_csv(texts):
    return "\n".join(["x", *texts, ""]).encode()


def refusal(reader, body, media_type):
    with pytest.raises(HTTPError) as error:
        reader.read(body, media_type)
    return error.value.rule, error.value.message


def test_tables_of_the_kinds_have_the_same_keys():
    tables = (TABLE_KINDS, ROLES, READERS, EXAMPLES)

    assert all(table.keys() == KINDS.keys() for table in tables)
    assert RANDOM_CELLS.keys() == {name for name, kind in KINDS.items() if not kind.is_text}
    assert all(example.column.kind == kind for kind, example in EXAMPLES.items())


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
        (PARQUET, as_parquet(pa.array(example.same[-2]))),
    ]

    for frame in frames:
        assert check({"x": example.column}, frame)["x"].tolist() == example.doubles
    for media_type, body in bodies:
        assert reader.read(body, media_type).X[:, 0].tolist() == example.doubles


@pytest.mark.parametrize("gap", [None, np.nan, pd.NA, pd.NaT])
def test_missing_value_of_any_table_becomes_nan(example, gap):
    dtypes = {object, *(cells.dtype for cells in example.same if gap is None)}

    for dtype in dtypes - {np.dtype("int8"), np.dtype("bool")}:
        frame = pd.DataFrame({"x": pd.Series([gap], dtype=dtype)})
        assert check({"x": example.column}, frame)["x"].isna().all()


def test_missing_value_of_any_request_becomes_nan(example, reader):
    bodies = [
        (JSON, b'{"instances": [{"x": null}, {}]}'),
        (JSON, b'{"inputs": {"x": [null, null]}}'),
        (CSV, as_csv(["", ""])),
        *((PARQUET, as_parquet(gaps)) for gaps in (pa.nulls(2), *example.gaps)),
    ]

    for media_type, body in bodies:
        assert pd.isna(reader.read(body, media_type).X).tolist() == [[True], [True]]


def test_text_of_several_lines_is_one_cell_in_every_form():
    reader = make_reader({"x": TextColumn(), "n": NumberColumn()})
    text, row = 'one: "two"\n,three\\', [['one: "two"\n,three\\', 1.0]]
    frame = pd.DataFrame({"x": [text], "n": [1]})
    bodies = [
        (JSON, json.dumps({"dataframe_records": [{"x": f" {text}\n", "n": 1}]}).encode()),
        (
            JSON,
            json.dumps({"dataframe_split": {"columns": ["n", "x"], "data": [[1, text]]}}).encode(),
        ),
        (CSV, frame.to_csv(index=False).encode()),
        (PARQUET, as_parquet_of(frame)),
        (PARQUET, as_parquet_of(frame.assign(x=[text + "\n" * 3]))),
    ]

    for media_type, body in bodies:
        assert reader.read(body, media_type).X.tolist() == row
    assert refusal(reader, as_parquet_of(frame.assign(x=["y" * 10**7])), PARQUET)[0] == "rows"


def test_no_rows_become_no_doubles(example, reader):
    assert check({"x": example.column}, pd.DataFrame({"x": []})).shape == (0, 1)
    assert reader.read(as_csv([]), CSV).X.shape == (0, 1)


@pytest.mark.parametrize("name", RANDOM_CELLS)
def test_random_cells_are_valid(name):
    rng, example = np.random.default_rng(0), EXAMPLES[name]
    values = np.array(example.doubles)

    cells = RANDOM_CELLS[example.column.kind](rng, example.column, values)

    assert len(set(cells.tolist())) > 1
    np.testing.assert_array_equal(Rules({"x": example.column}).apply(cells[:, None])[:, 0], cells)


def test_plain_types_are_read_by_float_as_by_the_kind(example, kind):
    plain = [cell for cell in example.cells if type(cell) in kind.plain_types]
    read = kind.reader(example.column)

    assert [float(cell) for cell in plain] == [read(cell) for cell in plain]
    assert not {type(cell) for cell in kind.invalid_cells(example.column)} & kind.plain_types - {
        float  # of a fraction, which the rules look at
    }


def test_cells_of_json_are_read_back(example, kind):
    read = kind.reader(example.column)

    cells = [kind.cell(example.column, double) for double in example.doubles]

    assert [read(json.loads(json.dumps(cell))) for cell in cells] == example.doubles
    assert kind.cell(example.column, np.nan) is None


def test_texts_of_a_table_are_read_where_they_are_of_the_kind(example):
    table_kind = TABLE_KINDS[example.column.kind]

    texts = [f" {text} ".replace('"', "") for text in example.texts]

    read = table_kind.read(pd.Series(texts, dtype="str"), example.column)

    assert check({"x": example.column}, pd.DataFrame({"x": read}))["x"].tolist() == example.doubles
    assert table_kind.has_any(read)


@pytest.mark.parametrize("name", ["number", "integer", "boolean", "date"])
def test_text_of_a_table_that_is_not_of_the_kind_is_named(name):
    column, texts = EXAMPLES[name].column, EXAMPLES[name].texts

    read = TABLE_KINDS[name].read(pd.Series([*texts, "no such cell"], dtype="str"), column)

    with pytest.raises(ContractError, match=r"row \d, x: must be .*got 'no such cell'"):
        check({"x": column}, pd.DataFrame({"x": read}))
    assert not TABLE_KINDS[name].has_any(read[-1:])


def test_mark_becomes_nan_though_it_may_be_out_of_the_range(example):
    column = example.column.model_copy(update={"missing": example.column.missing or "?"})

    marked = check({"x": column}, pd.DataFrame({"x": list(column.marks)}, dtype=object))

    assert len(marked)
    assert marked["x"].isna().all()


def test_sklearn_pipeline_reads_the_cells_of_a_frame_as_the_contract_does(example):
    frame = pd.DataFrame({"x": example.same[0]})
    contract = Contract(columns={"x": example.column}, target="y", classes=(0, 1), positive=1)
    model = SimpleNamespace(predict_proba=lambda X: X)

    pipeline = with_cells(model, contract, frame)

    encoder = pipeline.steps[0][1] if pipeline is not model else FunctionTransformer()
    assert encoder.transform(frame)["x"].tolist() == example.doubles


# Invalid cells.


def test_invalid_cells_are_refused_in_every_form(example, kind, reader):
    for cell in kind.invalid_cells(example.column):
        sentence = f"row 1, x: must be {kind.noun(example.column)}"
        with pytest.raises(ContractError) as error:
            check({"x": example.column}, pd.DataFrame({"x": [cell]}), with_values=False)
        assert (error.value.rule, str(error.value)) == ("type", sentence)
        for form in ({"dataframe_records": [{"x": cell}]}, {"inputs": {"x": [cell]}}):
            assert refusal(reader, json.dumps(form).encode(), JSON) == ("type", sentence)


def test_invalid_texts_and_arrow_columns_are_refused(example, kind, reader):
    sentence = f"row 2, x: must be {kind.noun(example.column)}"
    for text in example.invalid_texts:
        body = as_csv([example.texts[0], f'"{text}"'])
        assert refusal(reader, body, CSV) == ("type", sentence)
    for cells in example.invalid_arrow:
        sentence = f"column 'x' must be of {kind.arrow_types}"
        assert refusal(reader, as_parquet(cells), PARQUET) == ("type", sentence)


def test_nan_of_parquet_is_no_missing_number():
    reader = make_reader({"x": NumberColumn()})

    nan = as_parquet(pa.array([None, np.nan]))

    assert refusal(reader, nan, PARQUET) == ("type", "row 2, x: must be a number")


def test_cells_out_of_the_range_are_refused(example, kind, reader):
    column = example.column.model_copy(
        update={"unseen": "refuse"} if example.column.kind == "category" else {}
    )
    reader = make_reader({"x": column})

    for cell in kind.out_of_range(column):
        body = json.dumps({"dataframe_records": [{"x": cell}]}).encode()
        assert refusal(reader, body, JSON)[0] in {"range", "type"}
        with pytest.raises(ContractError, match="row 1, x: must"):
            check({"x": column}, pd.DataFrame({"x": [cell]}))
    assert list(kind.out_of_range(column)) or example.column.kind == "boolean"


def test_first_invalid_cells_are_named_and_no_more_are_read(example, kind):
    cells = [next(kind.invalid_cells(example.column))] * 50

    vector, faults = read_cells("x", example.column, cells)

    assert [fault.row for fault in faults] == list(range(1, 12))
    assert pd.isna(vector).all()


# What is said of a column.


def test_column_is_described_for_programs_and_for_people(example, kind):
    column = example.column

    schema = kind.json_schema(column)

    assert "null" in json_schema.types(schema)
    assert column.meaning in schema["description"]
    assert column.meaning in kind.holds(column)
    assert kind.valid(column)


@pytest.mark.parametrize(
    ("settings", "schema", "valid"),
    [
        ({}, {}, "any number"),
        ({"range": (0, None)}, {"minimum": 0}, "at least 0"),
        ({"range": (None, 5)}, {"maximum": 5}, "at most 5"),
        (
            {"range": (1, 5), "missing": 0},
            {
                "anyOf": [
                    {"type": "number", "minimum": 1, "maximum": 5},
                    {"type": "number", "minimum": 0, "maximum": 0},
                    {"type": "null"},
                ]
            },
            "1 to 5",
        ),
    ],
)
def test_range_of_numbers_is_described(settings, schema, valid):
    column = NumberColumn(**settings)

    described = KINDS["number"].json_schema(column)

    assert {k: v for k, v in described.items() if k not in ("type", "description")} == schema
    assert KINDS["number"].valid(column) == valid


def test_mlflows_type_takes_the_doubles_of_a_column(example, kind):
    contract = Contract(columns={"x": example.column}, target="y", classes=(0, 1), positive=1)

    (spec,) = signature(contract, 0.5).inputs.inputs

    assert spec.type == DataType[kind.mlflow_type(example.column)]
    assert spec.type in (DataType.double, DataType.string)  # null passes with no other


def test_columns_of_all_kinds_are_read_together():
    columns = {name: example.column for name, example in EXAMPLES.items()}
    row = {name: example.cells[0] for name, example in EXAMPLES.items()}
    doubles = [[example.doubles[0] for example in EXAMPLES.values()]]
    reader = make_reader(columns)

    records = json.dumps({"dataframe_records": [row]}).encode()
    split = json.dumps({"dataframe_split": {"columns": list(row), "data": [list(row.values())]}})

    assert reader.read(records, JSON).X.tolist() == doubles
    assert reader.read(split.encode(), JSON).X.tolist() == doubles
    assert check(columns, pd.DataFrame([row])).to_numpy().tolist() == doubles


@pytest.mark.parametrize(("level", "cells"), [("7", ["7", 7]), (7, [7, "7", 7.0])])
def test_integer_that_codes_a_category_may_be_written_as_a_text(level, cells):
    column = CategoryColumn(levels=("a", level) if isinstance(level, str) else (3, level))
    read = KINDS["category"].reader(column)

    assert [read(cell) for cell in cells] == [1] * len(cells)
    with pytest.raises(ValueError, match="none of the valid"):
        read(True)


def test_null_that_mlflow_writes_as_a_text_is_missing_where_it_is_no_level():
    """As its form `inputs` does with columns of texts."""
    read = {name: kind_of(e.column).reader(e.column) for name, e in EXAMPLES.items()}
    of_none = KINDS["category"].reader(CategoryColumn(levels=("None", "Some")))

    for name in ("boolean", "category", "ordinal", "date", "text"):
        assert np.isnan(read[name]("None"))
    assert of_none("None") == 0


@pytest.mark.parametrize("levels", [("a", "b"), (1, 5)])
def test_value_that_stands_for_others_is_read_as_one(levels):
    """An example may hold one: of integers, a text would be refused."""
    column, kind = CategoryColumn(levels=levels), KINDS["category"]
    assert kind.reader(column)(kind.cell(column, OTHER)) == OTHER
