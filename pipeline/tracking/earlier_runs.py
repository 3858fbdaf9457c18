"""Finished runs of steps: which can stand for a step, and what has changed since."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from mlflow.entities import Run

from pipeline.tracking import runs

MOST_CHANGES = 5
MOSTLY = 0.5  # the share of columns by which a table is taken for the same
RECENT = 50  # runs: where there are fewer, one search finds all that can be reused
REUSABLE = " and ".join(f"tags.{runs.STEP} != '{step}'" for step in ("trial", "promote"))


class EarlierRuns:
    """The finished runs of the experiments that are searched, asked for once."""

    def find(self, step: str, fingerprint: str) -> Run | None:
        """The latest of the step with that fingerprint."""
        for run in self._recent:
            made = runs.machine_tag(run, runs.FINGERPRINT)
            if run.data.tags[runs.STEP] == step and made == fingerprint:
                return run
        return runs.find(step, fingerprint) if len(self._recent) == RECENT else None

    def changes(self, step: str, inputs: Mapping[str, Any]) -> str:
        """What differs from the most similar run of the step on the same table; "" for none."""
        now = runs.texts_by_key(inputs)
        changes = [
            _changes(run.data.params, now)
            for run in self._latest(step)
            if _is_same_table(run.data.params, now)
        ]
        fewest = min(changes, key=len, default=[])
        more = f" and {len(fewest) - MOST_CHANGES} more" if len(fewest) > MOST_CHANGES else ""
        return "; ".join(fewest[:MOST_CHANGES]) + more

    @cached_property
    def _recent(self) -> list[Run]:
        """The latest runs of steps that can be reused, the latest first."""
        return runs.search(REUSABLE, RECENT)

    def _latest(self, step: str) -> list[Run]:
        if len(self._recent) == RECENT:
            return runs.latest(step)
        return [run for run in self._recent if run.data.tags[runs.STEP] == step]


def _is_same_table(before: Mapping[str, str], now: Mapping[str, str]) -> bool:
    """Whether two steps read the same table, perhaps with other rows or a few other columns."""
    if before.get("data.target") != now["data.target"]:
        return False
    columns, others = (
        {name for name in params if name.startswith("data.columns.")} for params in (before, now)
    )
    shared = len(columns & others) / max(len(columns | others), 1)
    return before.get("data digest") == now["data digest"] or shared > MOSTLY


def _changes(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    return [
        f"{name} {before.get(name, '(unset)')} -> {now.get(name, '(unset)')}"
        for name in dict.fromkeys([*now, *before])
        if before.get(name) != now.get(name)
    ]
