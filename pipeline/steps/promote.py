"""Promote: which candidate is best by cross-validation, and whether it passes the gate."""

from collections.abc import Sequence

from pipeline.config import LOWER_IS_BETTER, Gate, Metric
from pipeline.results import Candidate, Decision


def decide(gate: Gate, candidates: Sequence[Candidate]) -> Decision:
    """The best by CV log loss, the earlier of equals; the test part only passes or fails it."""
    # Candidates come the latest first, and min() takes the first of equals.
    best = min(reversed(candidates), key=lambda candidate: candidate.metrics["cv/log_loss"])
    failed = [
        f"test/{name} {best.metrics[f'test/{name}']:.4f} does not reach "
        f"gate.floors.{name} {floor:g}"
        for name, floor in gate.floors.items()
        if _is_worse(name, best.metrics[f"test/{name}"], floor)
    ]
    passed = [f"best of {len(candidates)} by cv/log_loss {best.metrics['cv/log_loss']:.4f}"]
    return Decision(best, passed=not failed, reasons=tuple(failed or passed))


def _is_worse(name: Metric, value: float, floor: float) -> bool:
    return value > floor if name in LOWER_IS_BETTER else value < floor
