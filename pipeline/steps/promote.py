"""Promote: which candidate is best by cross-validation, and whether it passes the gate."""

from collections.abc import Sequence
from math import nan

from pipeline.config import LOWER_IS_BETTER, Gate, Metric
from pipeline.results import Candidate, Decision


def decide(gate: Gate, candidates: Sequence[Candidate]) -> Decision:
    """The best by CV log loss, the earlier of equals; the test part only passes or fails it."""
    # Candidates come the latest first, and min() takes the first of equals.
    best = min(reversed(candidates), key=lambda candidate: candidate.metrics["cv/log_loss"])
    failed = [
        f"test/{name} {value:.6g} does not reach gate.floors.{name} {floor:g}"
        for name, floor in gate.floors.items()
        if not _reaches(name, value := best.metrics.get(f"test/{name}", nan), floor)
    ]
    passed = [f"best of {len(candidates)} by cv/log_loss {best.metrics['cv/log_loss']:.4f}"]
    return Decision(best, passed=not failed, reasons=tuple(failed or passed))


def _reaches(name: Metric, value: float, floor: float) -> bool:
    """False for a metric that is not defined on the test part (NaN)."""
    return value <= floor if name in LOWER_IS_BETTER else value >= floor
