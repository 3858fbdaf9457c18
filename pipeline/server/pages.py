"""What the server tells of its model: `/model`, `/openapi.json`, `/docs` and `/metrics`."""

import math
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from pipeline.inference import manifest
from pipeline.schema.columns import Column
from pipeline.server import docs
from pipeline.server import telemetry as seen
from pipeline.server.loaded_model import Served

GENERIC = ("/docs", "/docs/oauth2-redirect", "/redoc", "/openapi.json")  # FastAPI's, untyped
BY_COLUMN = ("inputs", "instances")  # forms that may hold columns instead of rows
KINDS = {bool: "boolean", int: "integer", str: "string"}


def add(application: FastAPI, served: Served, with_docs: bool) -> None:
    """Adds the pages to MLflow's scoring application, in place of FastAPI's untyped ones."""

    async def model(_: Request) -> Response:
        return JSONResponse(describe(served))

    async def metrics(_: Request) -> Response:
        return Response(seen.metrics(), media_type=CONTENT_TYPE_LATEST)

    async def schema(_: Request) -> Response:
        return JSONResponse(openapi(served))

    async def page(_: Request) -> HTMLResponse:
        return HTMLResponse(docs.page(served, openapi(served)))

    routes = application.router.routes
    routes[:] = [route for route in routes if getattr(route, "path", "") not in GENERIC]
    routes += [Route("/model", model), Route("/metrics", metrics)]
    if with_docs:
        routes += [Route("/openapi.json", schema), Route("/docs", page)]


def describe(served: Served) -> dict[str, Any]:
    """Name, version, run, metrics, contract."""
    version = served.version
    return {
        "name": version.name,
        "version": version.version,
        "run_id": version.run_id,
        "manifest_sha256": manifest.digest(version.manifest),
        "compiled": served.scorer.is_compiled,
        "threshold": served.scorer.threshold,
        "metrics": {
            name: value if math.isfinite(value) else None for name, value in version.metrics.items()
        },
        "contract": served.scorer.contract.model_dump(mode="json"),
    }


def openapi(served: Served) -> dict[str, Any]:
    """OpenAPI 3.1 of `/invocations`, with this model's columns, types and ranges."""
    contract = served.scorer.contract
    example = dict(zip(contract.columns, _plain(served.scorer.reference), strict=True))
    row = {
        "type": "object",
        "properties": {name: _column(column) for name, column in contract.columns.items()},
        "required": [name for name, column in contract.columns.items() if not column.optional],
        "additionalProperties": False,
        "example": example,
    }
    one_row = {"$ref": "#/components/schemas/Row"}
    rows = {"type": "array", "items": one_row}
    by_column = {"$ref": "#/components/schemas/Columns"}
    params: dict[str, dict[str, Any]] = {
        "version": {"type": ["boolean", "null"]},
        "explain": {"type": ["boolean", "null"]},
    }
    if served.scorer.threshold is not None:
        default = served.scorer.threshold
        bounds = {"minimum": 0, "maximum": 1, "default": default}
        params["threshold"] = {"type": ["number", "null"], **bounds}
    schemas = {
        "Row": row,
        "Request": {
            "oneOf": [
                _form("dataframe_records", rows),
                _form("dataframe_split", _split(contract.columns)),
                *(_form(form, {"anyOf": [rows, by_column, one_row]}) for form in BY_COLUMN),
            ],
        },
        "Columns": _by_column(contract.columns),
        "Params": {"type": "object", "properties": params, "additionalProperties": False},
        "Answer": _object(predictions={"type": "array", "items": _prediction(served)}),
        "Error": _object(
            error_code={"type": "string"},
            message={"type": "string"},
            request_id={"type": "string"},
        ),
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": served.version.name, "version": served.version.version},
        "paths": {"/invocations": {"post": _operation(example)}},
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            },
        },
        "security": [{"bearer": []}, {"header": []}, {}],
    }


def _operation(example: dict[str, Any]) -> dict[str, Any]:
    body = {"schema": {"$ref": "#/components/schemas/Request"}}
    error = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    answers = {"application/json": {"schema": {"$ref": "#/components/schemas/Answer"}}}
    refused = (400, 401, 408, 413, 415, 421, 429, 431, 503, 504)
    return {
        "summary": "A label and a probability per row",
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {**body, "example": {"dataframe_records": [example]}},
                "text/csv": {"schema": {"type": "string", "minLength": 1}},
                "application/vnd.apache.parquet": {"schema": {"type": "string"}},
            },
        },
        "responses": {
            "200": {"description": "One answer per row, in order", "content": answers},
            **{str(code): {"description": "Refused", "content": error} for code in refused},
        },
    }


def _column(column: Column) -> dict[str, Any]:
    low, high = column.range
    told = ", ".join(filter(None, [column.meaning, column.unit]))
    if column.missing is not None:
        told += f" ({column.missing:g}: missing)"
    number: dict[str, Any] = {"type": ["number", "null"], "description": told}
    bounds = {"minimum": low, "maximum": high}
    if column.missing is None:
        return number | {name: bound for name, bound in bounds.items() if bound is not None}
    valid = {name: bound for name, bound in bounds.items() if bound is not None}
    return number | {"anyOf": [{"type": "number", **valid}, {"enum": [column.missing, None]}]}


def _form(name: str, value: dict[str, Any]) -> dict[str, Any]:
    form = _object(**{name: value})
    params = {"$ref": "#/components/schemas/Params"}
    form["properties"]["params"] = {"anyOf": [params, {"type": "null"}]}
    return {**form, "additionalProperties": False}


def _split(columns: Mapping[str, Column]) -> dict[str, Any]:
    """Names in any order, each once, and rows of as many cells."""
    needed = [name for name, column in columns.items() if not column.optional]
    cells = {
        "type": "array",
        "items": {"type": ["number", "null"]},
        "minItems": len(needed),
        "maxItems": len(columns),
    }
    names = {
        "type": "array",
        "items": {"enum": list(columns)},
        "uniqueItems": True,
        "allOf": [{"contains": {"const": name}} for name in needed],
    }
    split = _object(columns=names, data={"type": "array", "items": cells})
    split["properties"]["index"] = {
        "type": ["array", "null"],
        "description": "as many entries as rows; they are not read",
    }
    return {**split, "additionalProperties": False}


def _by_column(columns: Mapping[str, Column]) -> dict[str, Any]:
    """A list of cells per column, all of one length."""
    lists = {name: {"type": "array", "items": _column(one)} for name, one in columns.items()}
    needed = [name for name, column in columns.items() if not column.optional]
    return {**_object(**lists), "required": needed, "additionalProperties": False}


def _prediction(served: Served) -> dict[str, Any]:
    contract = served.scorer.contract
    probability = {"type": "number", "minimum": 0, "maximum": 1}
    classes = {"type": KINDS[type(contract.classes[0])], "enum": list(contract.classes)}
    each = contract.classes if contract.positive is None else ()
    return _object(
        label=classes,
        probability=probability,
        **{f"probability_{label}": probability for label in each},
    )


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _plain(numbers: Any) -> list[float | None]:
    return [None if math.isnan(number) else number for number in numbers.tolist()]
