"""The OpenAPI description of `/invocations`, with the model's columns, types and ranges."""

from collections.abc import Mapping
from itertools import chain
from typing import Any

from pipeline.schema.columns import Column
from pipeline.schema.kinds import kind_of
from pipeline.server.loaded_model import LoadedModel

COLUMN_FORMS = ("inputs", "instances")  # forms that may hold columns instead of rows
ERROR_STATUSES = (400, 401, 408, 413, 415, 421, 429, 431, 503, 504)
Schema = dict[str, Any]


def describe(model: LoadedModel) -> dict[str, Any]:
    """Returns an OpenAPI 3.1 document."""
    columns = model.predictor.contract.columns
    reference = model.predictor.reference.tolist()
    example = {
        name: kind_of(column).cell(column, value)
        for (name, column), value in zip(columns.items(), reference, strict=True)
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": model.version.name, "version": model.version.version},
        "paths": {"/invocations": {"post": _operation(example)}},
        "components": {
            "schemas": _schemas(model, example),
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            },
        },
        "security": [{"bearer": []}, {"header": []}, {}],
    }


def _operation(example: dict[str, Any]) -> dict[str, Any]:
    error = {"application/json": {"schema": _reference("Error")}}
    return {
        "summary": "A label and a probability per row",
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
            "200": {
                "description": "One answer per row, in order",
                "content": {"application/json": {"schema": _reference("Answer")}},
            },
            **{str(code): {"description": "Refused", "content": error} for code in ERROR_STATUSES},
        },
    }


def _schemas(model: LoadedModel, example: dict[str, Any]) -> dict[str, Schema]:
    columns, threshold = model.predictor.contract.columns, model.predictor.threshold
    required = [name for name, column in columns.items() if not column.optional]
    cells = {name: kind_of(column).json_schema(column) for name, column in columns.items()}
    row, by_column = _reference("Row"), _reference("Columns")
    rows = _array(row)
    answer = _object(
        **{column.name: column.json_schema for column in model.predictor.target.columns}
    )
    params: dict[str, Schema] = {
        "version": {"type": ["boolean", "null"]},
        "explain": {"type": ["boolean", "null"]},
    }
    if threshold is not None:
        bounds = {"minimum": 0, "maximum": 1, "default": threshold}
        params["threshold"] = {"type": ["number", "null"], **bounds}
    return {
        "Row": {**_closed(cells, required), "example": example},
        "Request": {
            "oneOf": [
                _form("dataframe_records", rows),
                _form("dataframe_split", _split(columns, required)),
                *(_form(name, {"anyOf": [rows, by_column, row]}) for name in COLUMN_FORMS),
            ]
        },
        # A list of cells per column, all of one length.
        "Columns": _closed({name: _array(cell) for name, cell in cells.items()}, required),
        "Params": {"type": "object", "properties": params, "additionalProperties": False},
        "Answer": _object(predictions=_array(answer)),
        "Error": _object(
            error_code={"type": "string"}, message={"type": "string"}, request_id={"type": "string"}
        ),
    }


def _form(name: str, value: Schema) -> Schema:
    params = {"anyOf": [_reference("Params"), {"type": "null"}]}
    return _closed({name: value, "params": params}, [name])


def _split(columns: Mapping[str, Column], required: list[str]) -> Schema:
    """Returns the schema of names in any order, each once, and rows of as many cells."""
    schemas = [kind_of(column).json_schema(column) for column in columns.values()]
    cells = _array({"type": sorted({"null", *chain(*(schema["type"] for schema in schemas))})})
    row = {**cells, "minItems": len(required), "maxItems": len(columns)}
    names = {
        **_array({"enum": list(columns)}),
        "uniqueItems": True,
        "allOf": [{"contains": {"const": name}} for name in required],
    }
    index = {"type": ["array", "null"], "description": "as many entries as rows; they are not read"}
    properties = {"columns": names, "data": _array(row), "index": index}
    return _closed(properties, ["columns", "data"])


def _reference(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _array(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _object(**properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _closed(properties: Mapping[str, Schema], required: list[str]) -> Schema:
    """Returns the schema of an object with no other properties than those."""
    return {**_object(**properties), "required": required, "additionalProperties": False}
