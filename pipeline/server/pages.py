"""The pages about the model and the server: `/model`, `/openapi.json`, `/docs` and `/metrics`."""

import math
from collections.abc import Mapping
from html import escape
from typing import Any

from fastapi import FastAPI
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from pipeline.inference import manifest
from pipeline.schema.columns import Column
from pipeline.schema.kinds import kind_of
from pipeline.server import openapi, telemetry
from pipeline.server.loaded_model import LoadedModel
from pipeline.server.snippets import snippets

FASTAPI_PAGES = ("/docs", "/docs/oauth2-redirect", "/redoc", "/openapi.json")  # untyped
KEY_HEADERS = frozenset({"authorization", "x-api-key"})
STYLE = """body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
table{border-collapse:collapse}
th,td{text-align:left;padding:.3rem .8rem;border-bottom:1px solid #ddd}
pre{background:#f6f6f6;padding:1rem;overflow:auto}"""


def add(application: FastAPI, model: LoadedModel, with_docs: bool) -> None:
    """Adds the pages to MLflow's scoring application, in place of FastAPI's untyped ones."""

    async def model_page(_: Request) -> Response:
        return JSONResponse(describe(model))

    async def metrics_page(_: Request) -> Response:
        return Response(telemetry.metrics(), media_type=CONTENT_TYPE_LATEST)

    async def openapi_page(_: Request) -> Response:
        return JSONResponse(openapi.describe(model))

    async def docs_page(request: Request) -> Response:
        with_key = not KEY_HEADERS.isdisjoint(request.headers)
        return HTMLResponse(docs(model, f"{request.base_url}invocations", with_key))

    routes = application.router.routes
    routes[:] = [route for route in routes if getattr(route, "path", "") not in FASTAPI_PAGES]
    routes += [Route("/model", model_page), Route("/metrics", metrics_page)]
    if with_docs:
        routes += [Route("/openapi.json", openapi_page), Route("/docs", docs_page)]


def describe(model: LoadedModel) -> dict[str, Any]:
    """Returns name, version, run, metrics and contract."""
    version = model.version
    return {
        "name": version.name,
        "version": version.version,
        "run_id": version.run_id,
        "manifest_sha256": manifest.digest(version.manifest),
        "compiled": model.predictor.is_compiled,
        "threshold": model.predictor.threshold,
        "metrics": {
            name: value if math.isfinite(value) else None for name, value in version.metrics.items()
        },
        "contract": model.predictor.contract.model_dump(mode="json"),
    }


def docs(model: LoadedModel, url: str, with_key: bool) -> str:
    """Returns the OpenAPI description as HTML, with no script and nothing fetched.

    `url` is that of the operation; the snippets send a key where the reader of the page did.
    """
    description = openapi.describe(model)
    operation = description["paths"]["/invocations"]["post"]
    example = operation["requestBody"]["content"]["application/json"]["example"]
    contract = model.predictor.contract
    rows = "".join(_row(*column) for column in contract.columns.items())
    properties = description["components"]["schemas"]["Params"]["properties"]
    params = "".join(
        f"<li><code>{name}</code>: {_bounds(param)}</li>" for name, param in properties.items()
    )
    codes_of = snippets(url, example, with_key).items()
    snippets_html = "".join(f"<h3>{name}</h3><pre>{escape(code)}</pre>" for name, code in codes_of)
    what = f"one of {', '.join(map(repr, contract.classes))}"
    if not contract.classes:
        what = "an amount, and an interval that holds it as often as params.coverage says"
    codes = ", ".join(code for code in operation["responses"] if code != "200")
    title = escape(model.title)
    return f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>
<style>{STYLE}</style>
<h1>{title}</h1>
<p>Predicts {escape(contract.target)}: {escape(what)}.
The same for programs: <a href="openapi.json">openapi.json</a>;
its run and metrics: <a href="model">model</a>.</p>
<h2>Columns</h2>
<table><tr><th>column</th><th>holds</th><th>valid</th><th>missing</th></tr>{rows}</table>
<h2>POST invocations</h2>
<p>Content-Type application/json, text/csv or application/vnd.apache.parquet.</p>
{snippets_html}
<p>Beside the rows, <code>params</code> may hold:</p><ul>{params}</ul>
<p>A refusal has one of the codes {codes}, and says which row, column and rule.</p></html>"""


def _row(name: str, column: Column) -> str:
    kind = kind_of(column)
    missing = ["null", *map(str, column.marks), *["left out"] * column.optional]
    cells = (name, kind.holds(column), kind.valid(column), " or ".join(missing))
    return f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>"


def _bounds(param: Mapping[str, Any]) -> str:
    if "boolean" in param["type"]:
        return "true or false"
    least = (
        f"{param['minimum']}" if "minimum" in param else f"more than {param['exclusiveMinimum']}"
    )
    return f"{least} to {param['maximum']:.6g}, {param['description']}"
