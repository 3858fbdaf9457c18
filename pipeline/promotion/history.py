"""History: the champions of a registered model, each with when, why and how good it was."""

from collections.abc import Sequence

import pandas as pd

from pipeline.reporting.markdown import one_line, row
from pipeline.results import Event
from pipeline.tracking import pages

METRICS = (  # for people
    *("cv/log_loss", "test/log_loss", "test/roc_auc"),
    *("cv/rmse", "test/rmse", "test/coverage"),
)


def table(events: Sequence[Event]) -> pd.DataFrame:
    """A row per change of champion, the oldest first."""
    columns = ["at", "action", "version", "before", "by", "why", "run", "model_id"]
    rows = [
        {
            "at": event.at,
            "action": event.action,
            "version": event.version or "none",
            "before": event.before or "none",
            "by": event.by,
            "why": event.why,
            "run": event.run_id,
            "model_id": event.model_id,
            **event.metrics,
        }
        for event in events
    ]
    measured = sorted({name for event in events for name in event.metrics})
    return pd.DataFrame(rows, columns=[*columns, *measured])


def as_text(events: Sequence[Event]) -> str:
    """For a terminal: who became champion when, by whom and why, with a few metrics."""
    lines = []
    for event in events:
        head = f"{_minute(event)}  version {event.version or 'none'}"
        by = f" by {event.by}" if event.by else ""
        action = "again, rolled back" if event.action == "rolled back" else event.action
        lines.append(f"{head}  {action}{by}{after(event)}")
        lines += [
            f"    {text}" for text in (", ".join(_figures(event)), one_line(event.why)) if text
        ]
    return "\n".join(lines)


def after(event: Event) -> str:
    """Which champion it follows, if there was one."""
    return f", after version {event.before}" if event.before else ""


def champion_now(name: str, event: Event) -> str:
    """Which version is champion, since when, by whom and how good it is, in Markdown."""
    if event.version is None:
        return "There is no champion now."
    link = f"[version {event.version}]({pages.version(name, event.version)})"
    by = f" by {event.by}" if event.by else ""
    figures = "".join(f", {text}" for text in _figures(event))
    return f"Champion now: {link}, {event.action} {_minute(event)} UTC{by}{figures}."


def as_markdown(events: Sequence[Event]) -> str:
    """For the UI, the newest first."""
    lines = [
        "| when (UTC) | version | | by | metrics | why |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for event in reversed(events):
        cells = [
            _minute(event),
            event.version or "none",
            event.action,
            event.by,
            "<br>".join(_figures(event)),
            event.why,
        ]
        lines.append(row(cells))
    return "\n".join(lines)


def _minute(event: Event) -> str:
    return event.at[:16].replace("T", " ")


def _figures(event: Event) -> list[str]:
    return [f"{name} {event.metrics[name]:.4f}" for name in METRICS if name in event.metrics]
