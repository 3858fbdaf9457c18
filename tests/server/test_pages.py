"""What the server tells of its model, and whether it is so."""

import copy
import json
import math
import re
from types import SimpleNamespace

import numpy as np
import pytest
from fastapi import FastAPI

from pipeline.inference import manifest
from pipeline.inference.predictor import Params, Predictor, Trained
from pipeline.schema.columns import Column
from pipeline.schema.contract import Contract
from pipeline.server import openapi, pages
from pipeline.server.http_error import HTTPError
from tests.support.asgi import ask
from tests.support.pima import CONTRACT, NAMES

JSON = "application/json"
TYPES = {"object", "array", "number", "string", "boolean", "integer", "null"}


def make_served(columns, classes=(0, 1), positive=1, threshold=0.5, reference=None):
    """As `LoadedModel`, as far as it tells of itself."""
    contract = Contract(columns=columns, target="y", classes=classes, positive=positive)
    usual = np.ones(len(columns)) if reference is None else np.array(reference)
    return SimpleNamespace(
        version=SimpleNamespace(name="visits", version="7", run_id="r", metrics={}, manifest={}),
        predictor=Predictor(contract, lambda X: X, Trained(threshold, usual, np.abs(usual)), {}),
        title="visits version 7",
    )


def get(served, path, docs=True):
    application = FastAPI()
    pages.add(application, served, docs)
    return ask(application, method="GET", path=path)


def parts(tree):
    """Every object in a tree of JSON."""
    if isinstance(tree, dict):
        yield tree
    for part in tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ():
        yield from parts(part)


# What is told of the model.


def test_model_is_told_with_its_name_metrics_and_contract(pima):
    told = get(pima, "/model").json

    assert told == {
        "name": "visits",
        "version": "7",
        "run_id": "r1",
        "manifest_sha256": manifest.digest(pima.version.manifest),
        "compiled": True,
        "threshold": 0.4,
        "metrics": {"cv/log_loss": 0.5},
        "contract": CONTRACT.model_dump(mode="json"),
    }
    assert told["contract"]["columns"]["Glucose"]["range"] == [20, 600]


def test_model_of_three_classes_is_told_without_threshold(three):
    told = get(three, "/model").json

    assert told["threshold"] is None
    assert told["contract"]["classes"] == ["a", "b", "c"]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_metric_that_is_no_number_is_told_as_null(pima, value):
    """Such as the area under the curve of a test part without positives."""
    served = copy.copy(pima)
    served.version = SimpleNamespace(
        **{**vars(pima.version), "metrics": {"test/roc_auc": value, "test/accuracy": 0.8}}
    )

    assert get(served, "/model").json["metrics"] == {"test/roc_auc": None, "test/accuracy": 0.8}


# The description of the endpoint.


@pytest.fixture(params=["pima", "three"])
def served(request):
    return request.getfixturevalue(request.param)


def test_description_is_one_of_openapi_3_1(served):
    told = get(served, "/openapi.json").json

    assert told == json.loads(json.dumps(openapi.describe(served), allow_nan=False))
    assert told["openapi"].startswith("3.1.")
    assert told["info"] == {"title": "visits", "version": "7"}
    assert set(told) <= {"openapi", "info", "paths", "components", "security"}
    for path, methods in told["paths"].items():
        assert path.startswith("/")
        for operation in methods.values():
            assert operation["requestBody"]["content"]
            assert all(answer["description"] for answer in operation["responses"].values())
            assert all(100 <= int(code) < 600 for code in operation["responses"])
    schemes = told["components"]["securitySchemes"]
    assert all(name in schemes for choice in told["security"] for name in choice)


def test_every_schema_of_the_description_holds_together(served):
    told = openapi.describe(served)
    schemas = told["components"]["schemas"]

    for part in parts(told):
        if "$ref" in part:
            assert part["$ref"].removeprefix("#/components/schemas/") in schemas
    for part in parts(schemas):
        types = part.get("type", [])
        if isinstance(types, str):
            types = [types]
        if isinstance(types, list):  # else it is a column of that name
            assert set(types) <= TYPES
        if "required" in part and "properties" in part:
            assert set(part["required"]) <= set(part["properties"])
        if {"minimum", "maximum"} <= set(part):
            assert part["minimum"] <= part["maximum"]
    used = {part["$ref"].rpartition("/")[2] for part in parts(told) if "$ref" in part}
    assert used == set(schemas)


def test_row_has_every_column_with_meaning_unit_range_and_mark(pima):
    row = openapi.describe(pima)["components"]["schemas"]["Row"]

    assert list(row["properties"]) == row["required"] == NAMES
    assert row["additionalProperties"] is False
    assert row["properties"]["Age"] == {
        "type": ["number", "null"],
        "description": "age, years",
        "minimum": 18,
        "maximum": 120,
    }
    assert row["properties"]["Insulin"] == {
        "type": ["number", "null"],
        "description": "serum insulin after 2 h, µU/mL (0: missing)",
        "anyOf": [{"type": "number", "minimum": 1, "maximum": 1500}, {"enum": [0, None]}],
    }


@pytest.mark.parametrize(
    ("column", "schema"),
    [
        (Column(), {}),
        (Column(range=(0, None)), {"minimum": 0}),
        (Column(range=(None, 0)), {"maximum": 0}),
        (Column(range=(-1, 1)), {"minimum": -1, "maximum": 1}),
        (Column(missing=-9), {"anyOf": [{"type": "number"}, {"enum": [-9, None]}]}),
        (
            Column(range=(0, None), missing=-9),
            {"anyOf": [{"type": "number", "minimum": 0}, {"enum": [-9, None]}]},
        ),
    ],
)
def test_range_of_a_column_is_told_as_far_as_it_goes(column, schema):
    row = openapi.describe(make_served({"x": column}))["components"]["schemas"]["Row"]

    told = row["properties"]["x"]
    assert told.pop("type") == ["number", "null"]
    told.pop("description")
    assert told == schema


def test_optional_column_is_not_required(three):
    row = openapi.describe(three)["components"]["schemas"]["Row"]

    assert list(row["properties"]) == ["height", "gap", "noise", "flag"]
    assert row["required"] == ["height", "noise", "flag"]


def test_threshold_is_told_where_there_is_one(pima, three):
    def params(served):
        return openapi.describe(served)["components"]["schemas"]["Params"]["properties"]

    assert list(params(three)) == ["version", "explain"]
    assert params(pima)["threshold"] == {
        "type": ["number", "null"],
        "minimum": 0,
        "maximum": 1,
        "default": 0.4,
    }


@pytest.mark.parametrize(
    ("classes", "kind"), [((0, 1), "integer"), (("n", "y"), "string"), ((False, True), "boolean")]
)
def test_label_is_of_the_targets_type_and_one_of_its_classes(classes, kind):
    served = make_served({"x": Column()}, classes, classes[1])

    answer = openapi.describe(served)["components"]["schemas"]["Answer"]

    label = answer["properties"]["predictions"]["items"]["properties"]["label"]
    assert label == {"type": kind, "enum": list(classes)}


# The description against the endpoint.


def test_example_of_the_description_is_answered_as_described(served):
    told = openapi.describe(served)
    body = told["paths"]["/invocations"]["post"]["requestBody"]["content"][JSON]["example"]

    found = json.loads(served.answer_at_once(json.dumps(body).encode(), JSON).body)

    described = told["components"]["schemas"]["Answer"]["properties"]["predictions"]["items"]
    for row in found["predictions"]:
        assert list(row) == described["required"] == list(described["properties"])
        assert row["label"] in described["properties"]["label"]["enum"]


def test_example_may_have_gaps():
    """A column's median is none where a mark is all that it holds."""
    served = make_served({"x": Column(), "y": Column()}, reference=[math.nan, 2.0])

    row = openapi.describe(served)["components"]["schemas"]["Row"]

    assert row["example"] == {"x": None, "y": 2.0}


def test_every_described_form_and_param_is_taken(served):
    schemas = openapi.describe(served)["components"]["schemas"]
    row = schemas["Row"]["example"]
    tables = {"columns": list(row), "data": [list(row.values())], "index": [0]}
    values = {"threshold": 0.3, "version": True, "explain": True}
    params = {name: values[name] for name in schemas["Params"]["properties"]}

    for form in schemas["Request"]["oneOf"]:
        (name,) = form["required"]
        assert set(form["properties"]) == {name, "params"}
        told = tables if name == "dataframe_split" else [row]
        body = json.dumps({name: told, "params": params}).encode()
        assert served.reader.read(body, JSON).params == Params(**params)


def test_what_the_description_forbids_is_refused(served):
    schemas = openapi.describe(served)["components"]["schemas"]
    row = schemas["Row"]["example"]

    def is_refused(**changes):
        with pytest.raises(HTTPError):
            served.reader.read(json.dumps({"inputs": [{**row, **changes}]}).encode(), JSON)
        return True

    assert is_refused(more=1)
    for name, column in schemas["Row"]["properties"].items():
        assert is_refused(**{name: "1"})
        bounds = {**column, **column.get("anyOf", [{}])[0]}
        assert "minimum" not in bounds or is_refused(**{name: bounds["minimum"] - 0.5})
        assert "maximum" not in bounds or is_refused(**{name: bounds["maximum"] + 0.5})


def test_every_status_of_a_refusal_is_described(pima):
    described = openapi.describe(pima)["paths"]["/invocations"]["post"]["responses"]

    told = {int(code) for code in described}
    assert {200, 400, 401, 408, 413, 415, 421, 429, 431, 503, 504} <= told


# Pages.


def test_docs_are_shown_for_the_description(pima):
    done = get(pima, "/docs")

    assert done.headers["content-type"].startswith("text/html")
    assert b"openapi.json" in done.body
    assert b"visits version 7" in done.body


def test_docs_tell_each_column_with_its_range_and_marks(pima):
    told = get(pima, "/docs").body.decode()

    for name, column in pima.predictor.contract.columns.items():
        low, high = column.range
        missing = "null" if column.missing is None else f"null or {column.missing:g}"
        assert re.search(
            f"<td>{name}</td><td>[^<]+</td><td>{low:g} to {high:g}</td><td>{missing}</td>", told
        )


def test_docs_fetch_nothing_and_run_nothing(pima):
    told = get(pima, "/docs").body.decode().lower()

    assert re.findall(r"<script|src=|@import|https?:|url\(", told) == []


def test_docs_show_names_of_columns_as_text(pima, monkeypatch):
    columns = {"<script>": Column(meaning="a & b", range=(None, 1), optional=True)}
    contract = pima.predictor.contract.model_copy(update={"columns": columns})
    monkeypatch.setattr(pima.predictor, "contract", contract)
    monkeypatch.setattr(pima.predictor, "reference", np.zeros(1))

    told = get(pima, "/docs").body.decode()

    row = "<td>&lt;script&gt;</td><td>a &amp; b</td><td>at most 1</td><td>null or left out</td>"
    assert row in told


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
    for name in ("serve_requests_total", "serve_request_seconds", "serve_refusals_total"):
        assert f"# TYPE {name.removesuffix('_total')}".encode() in done.body
