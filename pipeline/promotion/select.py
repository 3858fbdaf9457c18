"""Promote: which candidate is best by cross-validation, and whether it keeps the gate's rules."""

from collections.abc import Mapping, Sequence
from math import isnan

from pipeline.config.sections import Config
from pipeline.promotion import gate
from pipeline.promotion.gate import Evidence, PairedComparison
from pipeline.results import Candidate, Count, Decision, alike, cv_loss


def select(
    primary: str,
    candidates: Sequence[Candidate],
    rolled_back: Mapping[str, Mapping[str, float]],
    is_all: bool = True,
) -> tuple[Candidate | None, str]:
    """The best by the mean of the metric over the folds, the earlier of equals, and why.

    One without the metric is no candidate. `is_all` is False where there are more candidates than
    these. `rolled_back` holds the models that were champion and had to go, id -> metrics: they, and
    what is the same model trained once more, return only when they are asked for by name.
    """
    measured = [one for one in candidates if not isnan(cv_loss(primary, one.metrics))]
    if not measured:
        return None, f"no candidate has cv/{primary}: choose another gate.primary"
    left = [candidate for candidate in measured if not _had_to_go(candidate, rolled_back)]
    out = len(measured) - len(left)
    if not left:
        return None, (
            f"every candidate ({out}) was rolled back; train another, or promote one of them by "
            "its run: promote --run ID"
        )
    # Candidates come the latest first, and min() takes the first of equals.
    best = min(reversed(left), key=lambda candidate: cv_loss(primary, candidate.metrics))
    count, rejected = Count(len(left), is_all), Count(out, is_all)
    choice = f"best of {count} by cv/{primary} {best.metrics[f'cv/{primary}']:.4f}"
    return best, f"{choice} ({rejected} left out: rolled back)" if out else choice


def _had_to_go(candidate: Candidate, rolled_back: Mapping[str, Mapping[str, float]]) -> bool:
    return candidate.model_id in rolled_back or any(
        alike(candidate.metrics, metrics) for metrics in rolled_back.values()
    )


def decide(config: Config, candidate: Candidate, choice: str, evidence: Evidence) -> Decision:
    """The candidate before the gate."""
    rules, claim = gate.check(config, evidence)
    digest = (
        evidence.comparison.rows_digest if isinstance(evidence.comparison, PairedComparison) else ""
    )
    return Decision(candidate, choice, rules, claim, digest)
