"""Compare: two models on rows that neither was trained on, and what differs in their settings."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from pipeline.config.sections import Evaluate
from pipeline.evaluation.metrics import AnyPredictions
from pipeline.evaluation.paired_bootstrap import differences
from pipeline.reporting import comparison
from pipeline.reporting.markdown import row
from pipeline.results import Report

LEVEL = 0.95
UNSET = "(unset)"


def compare(
    evaluate: Evaluate,
    models: Mapping[str, AnyPredictions],
    params: Mapping[str, Mapping[str, str]],
    classes: Sequence[Any],
) -> Report:
    """The first minus the second: every metric with a paired 95 % interval, every setting."""
    first, second = models
    by_metric = differences(models[first], models[second], evaluate.resamples, evaluate.seed, LEVEL)
    metrics = pd.DataFrame(
        {
            "metric": name,
            first: pair.first,
            second: pair.second,
            "difference": pair.first - pair.second,
            "low (95 %)": pair.low,
            "high (95 %)": pair.high,
        }
        for name, pair in by_metric.items()
    )
    settings = _settings(params[first], params[second], first, second)
    return Report(
        metrics={
            **{f"difference/{name}": pair.first - pair.second for name, pair in by_metric.items()},
            **{f"difference_95/{name}_low": pair.low for name, pair in by_metric.items()},
            **{f"difference_95/{name}_high": pair.high for name, pair in by_metric.items()},
        },
        artifacts={
            "metrics.csv": metrics,
            "settings.csv": settings,
            "curves.png": comparison.of_models(models, classes, evaluate.seed),
        },
        note=_summary(metrics, settings, len(models[first].truth)),
    )


def _settings(
    one: Mapping[str, str], other: Mapping[str, str], first: str, second: str
) -> pd.DataFrame:
    """What they were made with, where that differs."""
    names = [name for name in dict.fromkeys([*one, *other]) if one.get(name) != other.get(name)]
    rows = [(name, one.get(name, UNSET), other.get(name, UNSET)) for name in names]
    return pd.DataFrame(rows, columns=["setting", first, second])


def _summary(metrics: pd.DataFrame, settings: pd.DataFrame, rows: int) -> str:
    """In Markdown, for the terminal as for the UI."""
    lines = [
        f"On {rows} rows that neither was trained on; differences are the first minus the second, "
        "with a paired 95 % bootstrap interval.",
        "",
        row([*metrics.columns[:4], "95 % interval"]),
        row(["---"] * 5),
    ]
    for name, one, other, apart, low, high in metrics.itertuples(index=False):
        cells = [name, f"{one:.4f}", f"{other:.4f}", f"{apart:+.4f}", f"{low:+.4f} to {high:+.4f}"]
        lines.append(row(cells))
    lines.append("")
    if settings.empty:
        return "\n".join([*lines, "Their settings, data, code and libraries are the same."])
    lines += [row(list(settings.columns)), row(["---"] * 3)]
    lines += [row([str(cell) for cell in cells]) for cells in settings.itertuples(index=False)]
    return "\n".join(lines)
