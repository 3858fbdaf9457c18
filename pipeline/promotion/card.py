"""The model card: one page about a version, for people (Mitchell et al. 2019)."""

import base64
import json
import shlex
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jinja2 import Environment, StrictUndefined
from markdown_it import MarkdownIt

from pipeline.config.sections import Evaluate
from pipeline.evaluation import bootstrap, metrics
from pipeline.inference.model_folder import request
from pipeline.promotion.gate import Evidence
from pipeline.promotion.record import Record
from pipeline.reporting.markdown import cell, filled, one_line
from pipeline.results import Dataset
from pipeline.schema.columns import Column, NumberColumn
from pipeline.schema.contract import Label
from pipeline.schema.kinds import kind_of
from pipeline.schema.number import ANY
from pipeline.tasks import COVERAGE

TEMPLATE = Path(__file__).with_name("card.md.jinja")
MOST_COLUMNS = 20
WIDTH = 80  # characters of a line of code
CLAIMS = {
    "better": "It is better than that champion on the same rows.",
    "not worse": "It is not proven better than that champion, and not worse by the gate's margin.",
    "maybe worse": "It may be worse than that champion by more than the gate's margin.",
    "not compared": "It was not compared with that champion.",
    "first": "There was no champion.",
}
STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:56em;margin:2em auto;padding:0 1em}"
    "table{border-collapse:collapse}td,th{border:1px solid #ccc;padding:.2em .6em;text-align:left}"
    "img{max-width:100%}code,pre{background:#f4f4f4}pre{padding:.6em;overflow:auto}"
)


def card(record: Record, weights: Mapping[str, float]) -> str:
    """The page in Markdown, without its picture `curves.png`.

    `weights` are of the families in the blend.
    """
    environment = Environment(undefined=StrictUndefined, trim_blocks=True, autoescape=False)
    environment.filters |= {"cell": cell, "one_line": one_line, "quoted": shlex.quote}
    template = environment.from_string(TEMPLATE.read_text("utf-8"))
    dataset, evidence = record.dataset, record.evidence
    primary = record.config.gate.primary
    return template.render(
        record=record,
        claim=CLAIMS[record.decision.claim],
        contract=dataset.contract,
        dataset=dataset,
        rows=len(dataset.X_test),
        metrics=_metrics(record.config.evaluate, evidence),
        rules=record.decision.rules,
        source=record.config.data.source,
        shares=_shares(dataset) if dataset.contract.classes else _amounts(dataset),
        named={label: _named(dataset, label) for label in dataset.contract.classes},
        columns=_columns(dataset.contract.columns),
        weights=", ".join(f"{name} {weight:.0%}" for name, weight in weights.items() if weight),
        threshold=evidence.predictions.threshold,
        dummy=evidence.predictions.task.dummy,
        coverage=f"{COVERAGE:.0%}",
        primary=primary,
        cross_validated=record.decision.candidate.metrics[f"cv/{primary}"],
        example=_example(dataset),
    )


def about(source: str, dataset: Dataset) -> str:
    """What a model of the data set predicts, and from what, in a sentence of Markdown."""
    contract = dataset.contract
    names = ", ".join(_named(dataset, label) for label in contract.classes)
    return (
        f"Predicts `{contract.target}` ({names}) from {len(contract.columns)} columns of the table "
        f"`{dataset.name}` (`{source}`, {dataset.rows} rows)."
    )


def _example(dataset: Dataset) -> str:
    """The body of a request for one row, in lines that fit into a page."""
    ((record,),) = json.loads(request(dataset.examples(1))).values()
    cells = [f"{json.dumps(name)}: {json.dumps(value)}" for name, value in record.items()]
    return '{"dataframe_records": [\n    {' + filled(cells, WIDTH, "     ") + "}]}"


def html(page: str, pictures: Mapping[str, bytes]) -> str:
    """The page with its pictures in it: one file."""
    for name, content in pictures.items():
        address = f"data:image/png;base64,{base64.b64encode(content).decode()}"
        page = page.replace(f"({name})", f"({address})")
    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(page)
    return f"<!doctype html><meta charset=utf-8><style>{STYLE}</style>{body}"


def _metrics(evaluate: Evaluate, evidence: Evidence) -> list[tuple[str, float, str, str]]:
    """Name, value, interval, and what the dummy reaches, which has no intervals of its own."""
    drawing = (evidence.predictions, evaluate.resamples, evaluate.seed)
    intervals = bootstrap.intervals(*drawing)
    return [
        (
            name,
            metrics.value(name, evidence.predictions),
            _interval(*intervals[name], bootstrap.caveat(name, *drawing)),
            _figure(metrics.value(name, evidence.dummy)),
        )
        for name in evidence.predictions.task.metrics
    ]


def _figure(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.3f}"


def _interval(low: float, high: float, doubt: str) -> str:
    return f"{low:.3f} to {high:.3f}" + (f" ({doubt.rstrip(',')}: proves nothing)" if doubt else "")


def _shares(dataset: Dataset) -> str:
    shares = dataset.y_train.value_counts(normalize=True)
    classes = dataset.contract.classes
    return ", ".join(f"{_named(dataset, label)} {shares[label]:.1%}" for label in classes)


def _amounts(dataset: Dataset) -> str:
    low, middle, high = dataset.y_train.quantile([0.05, 0.5, 0.95])
    return f"nine in ten from {low:.6g} to {high:.6g}, median {middle:.6g}"


def _named(dataset: Dataset, label: Label) -> str:
    """A class as answers have it, with its name for people where it has one."""
    name = dataset.labels.get(label)
    return f"`{label}`" if name is None else f"`{label}` ({one_line(name)})"


def _columns(columns: Mapping[str, Column]) -> list[str]:
    lines = []
    for name, column in list(columns.items())[:MOST_COLUMNS]:
        valid = kind_of(column).valid(column)
        limits = "" if valid == ANY else f", {one_line(valid)}"
        unit = f" {column.unit}" if isinstance(column, NumberColumn) and column.unit else ""
        meaning = f": {one_line(column.meaning)}" if column.meaning else ""
        lines.append(f"`{name}`{meaning}{limits}{unit}")
    more = len(columns) - len(lines)
    return [*lines, f"and {more} more"] if more else lines
