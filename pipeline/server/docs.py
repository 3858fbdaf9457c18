"""The page at `/docs`: this model for people, in one file, with no script and nothing fetched."""

import json
from collections.abc import Mapping
from html import escape
from typing import Any

from pipeline.schema.columns import Column
from pipeline.server.loaded_model import Served

STYLE = """body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
table{border-collapse:collapse}
th,td{text-align:left;padding:.3rem .8rem;border-bottom:1px solid #ddd}
pre{background:#f6f6f6;padding:1rem;overflow:auto}"""


def page(served: Served, described: Mapping[str, Any]) -> str:
    """HTML, from the OpenAPI description."""
    operation = described["paths"]["/invocations"]["post"]
    example = operation["requestBody"]["content"]["application/json"]["example"]
    rows = "".join(_row(*column) for column in served.scorer.contract.columns.items())
    params = described["components"]["schemas"]["Params"]["properties"]
    asked = "".join(
        f"<li><code>{name}</code>: {_bounds(param)}</li>" for name, param in params.items()
    )
    classes = ", ".join(map(repr, served.scorer.contract.classes))
    codes = ", ".join(code for code in operation["responses"] if code != "200")
    title = escape(served.shown)
    return f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>
<style>{STYLE}</style>
<h1>{title}</h1>
<p>Predicts {escape(served.scorer.contract.target)}: one of {escape(classes)}.
The same for programs: <a href="openapi.json">openapi.json</a>;
its run and metrics: <a href="model">model</a>.</p>
<h2>Columns</h2>
<table><tr><th>column</th><th>holds</th><th>valid</th><th>missing</th></tr>{rows}</table>
<h2>POST invocations</h2>
<p>Content-Type application/json, text/csv or application/vnd.apache.parquet.</p>
<pre>{escape(json.dumps(example, indent=1))}</pre>
<p>Beside the rows, <code>params</code> may hold:</p><ul>{asked}</ul>
<p>A refusal has one of the codes {codes}, and says which row, column and rule.</p></html>"""


def _row(name: str, column: Column) -> str:
    holds = ", ".join(filter(None, [column.meaning, column.unit])) or "a number"
    missing = ["null"]
    if column.missing is not None:
        missing.append(f"{column.missing:g}")
    if column.optional:
        missing.append("left out")
    cells = (name, holds, _range(*column.range), " or ".join(missing))
    return f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>"


def _range(low: float | None, high: float | None) -> str:
    if low is None and high is None:
        return "any number"
    if low is None or high is None:
        return f"at most {high:g}" if low is None else f"at least {low:g}"
    return f"{low:g} to {high:g}"


def _bounds(param: Mapping[str, Any]) -> str:
    if "boolean" in param["type"]:
        return "true or false"
    return f"{param['minimum']} to {param['maximum']}, {param['default']:.6g} if not given"
