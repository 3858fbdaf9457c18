"""The OpenAPI description of the server, in the forms of which generators make clients."""

from collections.abc import Mapping
from typing import Any

from pipeline.inference.predictor import LABEL_NAME, Predictor, flags_of
from pipeline.schema import json_schema
from pipeline.schema.json_schema import Schema
from pipeline.schema.kinds import kind_of
from pipeline.server.loaded_model import LoadedModel

ERROR_STATUSES = (400, 401, 408, 413, 415, 421, 429, 431, 500, 503, 504)
PAGE_ERRORS: dict[str, tuple[int, ...]] = {
    "/ping": (),
    "/health": (503,),
}  # no key is asked for; of other pages:
PAGE_ERROR_STATUSES = (401, 421, 429)
STRING: Schema = {"type": "string"}
NUMBER: Schema = {"type": "number"}
HEADERS = {
    "X-Model-Version": {"description": "the version that answered", "schema": STRING},
    "X-Request-ID": {"description": "that of the request, or a new one", "schema": STRING},
}
PAGES: dict[
    str, tuple[str, str, str, Schema | str]
] = {  # path -> operationId, what it answers, media type, schema
    "/ping": ("ping", "The server is alive", "text/plain", STRING),
    "/health": ("health", "Every request can be answered", "text/plain", STRING),
    "/version": ("mlflowVersion", "The version of MLflow", "text/plain", STRING),
    "/model": ("model", "The model that answers", "application/json", "Model"),
    "/metrics": ("metrics", "Metrics in Prometheus's text format", "text/plain", STRING),
    "/docs": ("docs", "This description for people", "text/html", STRING),
    "/openapi.json": ("openapi", "This description", "application/json", {"type": "object"}),
}


def describe(model: LoadedModel) -> dict[str, Any]:
    """Returns an OpenAPI 3.1 document."""
    example = example_row(model)
    return {
        "openapi": "3.1.0",
        "info": {"title": model.version.name, "version": model.version.version},
        "paths": {
            "/invocations": {"post": _predict(example)},
            **{path: {"get": _page(path, *page)} for path, page in PAGES.items()},
        },
        "components": {
            "schemas": _schemas(model, example),
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            },
        },
        "security": [{"bearer": []}, {"header": []}, {}],
    }


def example_row(model: LoadedModel) -> dict[str, Any]:
    """Returns a usual row as JSON: of numbers the medians of the training part."""
    columns, reference = model.predictor.contract.columns, model.predictor.reference.tolist()
    return {
        name: kind_of(column).cell(column, value)
        for (name, column), value in zip(columns.items(), reference, strict=True)
    }


def _predict(example: dict[str, Any]) -> dict[str, Any]:
    return {
        "operationId": "predict",
        "summary": "One prediction per row",
        "description": "The body may come as gzip (Content-Encoding); an answer of 4 KiB or more "
        "goes as gzip to those who take it (Accept-Encoding).",
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": _reference("Request"),
                    "example": {"dataframe_records": [example]},
                },
                "text/csv": {"schema": {"type": "string", "minLength": 1}},
                "application/vnd.apache.parquet": {"schema": {"type": "string"}},
            },
        },
        "responses": {
            "200": _response("One prediction per row, in order", _reference("Answer")),
            **_errors(ERROR_STATUSES),
        },
    }


def _page(
    path: str, operation_id: str, summary: str, media_type: str, schema: Schema | str
) -> dict[str, Any]:
    content = _reference(schema) if isinstance(schema, str) else schema
    errors = PAGE_ERRORS.get(path, PAGE_ERROR_STATUSES)
    page = {
        "operationId": operation_id,
        "summary": summary,
        "responses": {"200": _response(summary, content, media_type), **_errors(errors)},
    }
    return {**page, "security": []} if path in PAGE_ERRORS else page


def _response(
    description: str, schema: Schema, media_type: str = "application/json"
) -> dict[str, Any]:
    content = {media_type: {"schema": schema}}
    return {"description": description, "headers": HEADERS, "content": content}


def _errors(statuses: tuple[int, ...]) -> dict[str, Any]:
    return {str(status): _response("Refused", _reference("Error")) for status in statuses}


def _schemas(model: LoadedModel, example: dict[str, Any]) -> dict[str, Schema]:
    columns = model.predictor.contract.columns
    required = [name for name, column in columns.items() if not column.optional]
    cells = {name: kind_of(column).json_schema(column) for name, column in columns.items()}
    rows, any_form = _array(_reference("Row")), _reference("AnyForm")
    return {
        "Request": {"oneOf": [_reference(name) for name in REQUESTS]},
        "RecordsRequest": _form("dataframe_records", rows),
        "SplitRequest": _form("dataframe_split", _reference("Split")),
        "InputsRequest": _form("inputs", any_form),
        "InstancesRequest": _form("instances", any_form),
        "AnyForm": {"anyOf": [rows, _reference("Columns"), _reference("Row")]},
        "Row": {**_closed(cells, required), "example": example},
        # A list of cells per column, all of one length.
        "Columns": _closed({name: _array(cell) for name, cell in cells.items()}, required),
        "Split": _split(cells, required),
        "Params": _params(model.predictor),
        **_answer(model),
        "Model": _model(),
        "Error": _object(error_code=STRING, message=STRING, request_id=STRING),
    }


REQUESTS = ("RecordsRequest", "SplitRequest", "InputsRequest", "InstancesRequest")


def _form(name: str, value: Schema) -> Schema:
    params = {"anyOf": [_reference("Params"), {"type": "null"}]}
    return _closed({name: value, "params": params}, [name])


def _split(cells: Mapping[str, Schema], required: list[str]) -> Schema:
    """Returns the schema of names in any order, each once, and rows of as many cells."""
    types = set().union(*map(json_schema.types, cells.values()), {"null"})
    row = _array({"type": sorted(types)})
    names = {
        **_array(json_schema.enum(list(cells))),
        "uniqueItems": True,
        "allOf": [{"contains": {"const": name}} for name in required],
    }
    index = {
        "type": ["array", "null"],
        "items": {},
        "description": "as many entries as rows; they are not read",
    }
    row |= {"minItems": len(required), "maxItems": len(cells)}
    return _closed({"columns": names, "data": _array(row), "index": index}, ["columns", "data"])


def _params(predictor: Predictor) -> Schema:
    setting = predictor.target.setting
    truth: Schema = {"type": ["boolean", "null"]}
    params = dict.fromkeys(flags_of(predictor.trained.class_names), truth)
    if setting is not None:
        params[setting.name] = setting.json_schema
    return _closed(params, [])


def _answer(model: LoadedModel) -> dict[str, Schema]:
    """Returns the schemas of an answer: of what its task predicts, and what a request asks for."""
    predictor = model.predictor
    prediction = {column.name: column.json_schema for column in predictor.target.columns}
    base = {**NUMBER, "description": "with params.explain: of a row of usual values"}
    more = {"base": base, "contributions": _reference("Contributions")}
    if names := predictor.trained.class_names:
        called = {"description": "with params.labels: what people call the label"}
        more[LABEL_NAME] = {**json_schema.enum(names), **called}
    name = {**STRING, "description": "with params.version: the registered model"}
    version = {**STRING, "description": "with params.version"}
    answer = {"predictions": _array(_reference("Prediction")), "model": name, "version": version}
    return {
        "Answer": {**_object(**answer), "required": ["predictions"]},
        "Prediction": {**_object(**prediction, **more), "required": list(prediction)},
        "Contributions": _object(**dict.fromkeys(predictor.contract.columns, NUMBER)),
    }


def _model() -> Schema:
    texts = dict.fromkeys(("name", "version", "run_id", "manifest_sha256"), STRING)
    number = {"type": ["number", "null"]}
    return _object(
        **texts,
        compiled={"type": "boolean"},
        threshold=number,
        metrics={"type": "object", "additionalProperties": number},
        contract={"type": "object"},
    )


def _reference(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _array(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _object(**properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _closed(properties: Mapping[str, Schema], required: list[str]) -> Schema:
    """Returns the schema of an object with no other properties than those."""
    return {**_object(**properties), "required": required, "additionalProperties": False}
