"""What the server says of its model, and whether it is so."""

import copy
import json
import math
import re
from html import unescape
from types import SimpleNamespace

import numpy as np
import pytest
from fastapi import FastAPI

from pipeline.inference import manifest
from pipeline.inference.predictor import FLAGS, Params, Predictor, Trained
from pipeline.schema.columns import NumberColumn
from pipeline.schema.contract import Contract
from pipeline.server import openapi, pages
from pipeline.server.guard import METHODS
from pipeline.server.request_json import JSON
from pipeline.server.snippets import snippets
from tests.support.asgi import ask
from tests.support.pima import CONTRACT, NAMES

TYPES = {"object", "array", "number", "string", "boolean", "integer", "null"}


def make_model(columns, classes=(0, 1), reference=None):
    """As `LoadedModel`, as far as the description goes."""
    contract = Contract(columns=columns, target="y", classes=classes, positive=classes[1])
    medians = np.ones(len(columns)) if reference is None else np.array(reference)
    return SimpleNamespace(
        version=SimpleNamespace(name="visits", version="7"),
        predictor=Predictor(contract, lambda X: X, Trained(0.5, medians, np.abs(medians)), {}),
    )


def schemas(model):
    return openapi.describe(model)["components"]["schemas"]


def get(model, path, docs=True, **headers):
    application = FastAPI()
    pages.add(application, model, docs)
    return ask(application, method="GET", path=path, headers=headers)


def parts(tree):
    """Every object in a tree of JSON."""
    if isinstance(tree, dict):
        yield tree
    for part in tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ():
        yield from parts(part)


# The model.


def test_model_is_described_by_name_metrics_and_contract(pima):
    page = get(pima, "/model").json

    assert page == {
        "name": "visits",
        "version": "7",
        "run_id": "r1",
        "manifest_sha256": manifest.digest(pima.version.manifest),
        "compiled": True,
        "threshold": 0.4,
        "metrics": {"cv/log_loss": 0.5},
        "contract": CONTRACT.model_dump(mode="json"),
    }
    assert page["contract"]["columns"]["Glucose"]["range"] == [20, 600]


def test_model_of_three_classes_has_no_threshold(three):
    page = get(three, "/model").json
    assert page["threshold"] is None
    assert page["contract"]["classes"] == ["a", "b", "c"]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_metric_that_is_no_number_is_null(pima, value):
    """Such as the area under the curve of a test part without positives."""
    model = copy.copy(pima)
    metrics = {"test/roc_auc": value, "test/accuracy": 0.8}
    model.version = SimpleNamespace(**{**vars(pima.version), "metrics": metrics})
    assert get(model, "/model").json["metrics"] == {"test/roc_auc": None, "test/accuracy": 0.8}


# The description of the endpoint.


def test_description_is_one_of_openapi_3_1(model):
    document = get(model, "/openapi.json").json

    assert document == json.loads(json.dumps(openapi.describe(model), allow_nan=False))
    assert document["openapi"].startswith("3.1.")
    assert document["info"] == {"title": "visits", "version": "7"}
    assert set(document) <= {"openapi", "info", "paths", "components", "security"}
    assert {path: list(page) for path, page in document["paths"].items()} == {
        path: [method.lower()] for path, method in METHODS.items()
    }
    operations = [operation for page in document["paths"].values() for operation in page.values()]
    assert len({operation["operationId"] for operation in operations}) == len(METHODS)
    for operation in operations:
        assert all(answer["description"] for answer in operation["responses"].values())
    statuses = {200, 400, 401, 408, 413, 415, 421, 429, 431, 500, 503, 504}
    assert {int(code) for code in operations[0]["responses"]} == statuses
    schemes = document["components"]["securitySchemes"]
    assert all(name in schemes for choice in document["security"] for name in choice)


def test_every_schema_of_the_description_holds_together(model):
    document = openapi.describe(model)

    for part in parts(schemas(model)):
        types = part.get("type", [])
        if isinstance(types, str):
            types = [types]
        if isinstance(types, list):  # else it is a column of that name
            assert set(types) <= TYPES
        if "required" in part and "properties" in part:
            assert set(part["required"]) <= set(part["properties"])
        if {"minimum", "maximum"} <= set(part):
            assert part["minimum"] <= part["maximum"]
    used = {part["$ref"] for part in parts(document) if "$ref" in part}
    assert used == {f"#/components/schemas/{name}" for name in schemas(model)}


def test_row_has_every_column_with_meaning_unit_range_and_mark(pima):
    row = schemas(pima)["Row"]

    assert list(row["properties"]) == row["required"] == NAMES
    assert row["additionalProperties"] is False
    assert row["properties"]["Age"] == {
        "type": ["number", "null"],
        "description": "age, years",
        "minimum": 18,
        "maximum": 120,
    }
    assert row["properties"]["Insulin"] == {
        "description": "serum insulin after 2 h, µU/mL (0: missing)",
        "anyOf": [
            {"type": "number", "minimum": 1, "maximum": 1500},
            {"type": "number", "minimum": 0, "maximum": 0},
            {"type": "null"},
        ],
    }


def test_optional_column_is_not_required(three):
    row = schemas(three)["Row"]
    assert list(row["properties"]) == ["height", "gap", "noise", "flag"]
    assert row["required"] == ["height", "noise", "flag"]


def test_threshold_is_described_where_there_is_one(pima, three):
    assert list(schemas(three)["Params"]["properties"]) == ["version", "explain"]
    threshold = schemas(pima)["Params"]["properties"]["threshold"]
    assert {"minimum": 0, "maximum": 1}.items() <= threshold.items()
    assert "0.4" in threshold["description"]


def test_names_of_the_classes_are_described_where_there_are_some():
    model = make_model({"x": NumberColumn()})
    model.predictor.trained = model.predictor.trained._replace(class_names=("healthy", "ill"))
    assert list(schemas(model)["Params"]["properties"]) == [*FLAGS, "labels", "threshold"]
    prediction = schemas(model)["Prediction"]
    assert prediction["properties"]["label_name"]["enum"] == ["healthy", "ill"]
    assert prediction["required"] == ["label", "probability"]


@pytest.mark.parametrize(
    ("classes", "kind"), [((0, 1), "integer"), (("n", "y"), "string"), ((False, True), "boolean")]
)
def test_label_is_of_the_targets_type_and_one_of_its_classes(classes, kind):
    prediction = schemas(make_model({"x": NumberColumn()}, classes))["Prediction"]
    label = prediction["properties"]["label"]
    assert label == {"type": kind, "enum": list(classes)}


# The description against the endpoint.


def test_example_of_the_description_is_answered_as_described(model):
    operation = openapi.describe(model)["paths"]["/invocations"]["post"]
    body = operation["requestBody"]["content"][JSON]["example"]
    answer = json.loads(model.answer_at_once(json.dumps(body).encode(), JSON).body)
    (row,) = answer["predictions"]
    schema = schemas(model)["Prediction"]
    assert list(row) == schema["required"]
    assert row["label"] in schema["properties"]["label"]["enum"]


def test_example_may_have_gaps():
    """A column's median is none where a mark is all that it holds."""
    model = make_model({"x": NumberColumn(), "y": NumberColumn()}, reference=[math.nan, 2.0])
    assert schemas(model)["Row"]["example"] == {"x": None, "y": 2.0}


def test_every_described_form_and_param_is_taken(model):
    row = schemas(model)["Row"]["example"]
    split = {"columns": list(row), "data": [list(row.values())], "index": [0]}
    values = {"threshold": 0.3, "version": True, "explain": True}
    params = {name: values[name] for name in schemas(model)["Params"]["properties"]}

    for request in schemas(model)["Request"]["oneOf"]:
        form = schemas(model)[request["$ref"].rpartition("/")[2]]
        (name,) = form["required"]
        assert set(form["properties"]) == {name, "params"}
        table = split if name == "dataframe_split" else [row]
        body = json.dumps({name: table, "params": params}).encode()
        assert model.reader.read(body, JSON).params == Params(**params)


# The page for people.


def test_docs_name_each_column_with_its_range_and_marks_and_fetch_nothing(pima):
    done = get(pima, "/docs")
    page = done.body.decode()

    assert done.headers["content-type"].startswith("text/html")
    assert "openapi.json" in page
    assert "visits version 7" in page
    for name, column in pima.predictor.contract.columns.items():
        low, high = column.range
        missing = "null" if column.missing is None else f"null or {column.missing:g}"
        cells = f"<td>{name}</td><td>[^<]+</td><td>{low:g} to {high:g}</td><td>{missing}</td>"
        assert re.search(cells, page)
    text = re.sub(r"<pre>.*?</pre>", "", page, flags=re.DOTALL)
    assert re.findall(r"<script|src=|@import|https?:|url\(", text.lower()) == []


@pytest.mark.parametrize("with_key", [False, True])
def test_docs_show_the_call_of_the_example_at_the_address_of_the_page(pima, with_key):
    """With a key where the page was asked for with one: a browser's address bar has none."""
    headers = {"host": "api.example:8080", **({"x-api-key": "SECRET"} if with_key else {})}
    page = unescape(get(pima, "/docs", **headers).body.decode())
    body = {"dataframe_records": [schemas(pima)["Row"]["example"]]}
    for code in snippets("http://api.example:8080/invocations", body, with_key).values():
        assert code in page
        assert ("KEY" in code) is with_key
    assert "SECRET" not in page


def test_docs_show_names_of_columns_as_text(pima, monkeypatch):
    columns = {"<script>": NumberColumn(meaning="a & b", range=(None, 1), optional=True)}
    contract = pima.predictor.contract.model_copy(update={"columns": columns})
    monkeypatch.setattr(pima.predictor, "contract", contract)
    monkeypatch.setattr(pima.predictor, "reference", np.zeros(1))
    row = "<td>&lt;script&gt;</td><td>a &amp; b</td><td>at most 1</td><td>null or left out</td>"
    assert row in get(pima, "/docs").body.decode()


@pytest.mark.parametrize("path", ["/docs", "/openapi.json"])
def test_docs_may_be_left_out(pima, path):
    assert get(pima, path, docs=False).status == 404
    assert get(pima, "/model", docs=False).status == 200


@pytest.mark.parametrize("path", ["/redoc", "/docs/oauth2-redirect"])
def test_fastapis_untyped_pages_are_gone(pima, path):
    assert get(pima, path).status == 404


def test_metrics_are_in_prometheus_text_format(pima):
    done = get(pima, "/metrics")
    assert done.headers["content-type"].startswith("text/plain")
    for name in ("serve_requests", "serve_request_seconds", "serve_refusals"):
        assert f"# TYPE {name}".encode() in done.body
