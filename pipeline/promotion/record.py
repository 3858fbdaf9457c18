"""The record of a decision: as an entry of the promotion log, as tags and as JSON."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pipeline.config.sections import Config
from pipeline.promotion.gate import Evidence
from pipeline.results import Count, Dataset, Decision, Event
from pipeline.tasks import SEARCH_METRICS


@dataclass(frozen=True)
class Record:
    """A decision about a version, by whom and when, beside the champion at the time."""

    config: Config
    dataset: Dataset
    evidence: Evidence
    decision: Decision
    version: str
    champion: str | None  # before
    evaluated: Count  # models that were evaluated on the same test part, this one included
    reason: str  # what the user said, if anything
    by: str
    at: str

    @property
    def model(self) -> str:
        """The registered model's name."""
        return self.config.registry.model

    @property
    def why(self) -> str:
        """The reasons of the gate and of the user, in one sentence."""
        return "; ".join([*self.decision.reasons, *([self.reason] if self.reason else [])])

    @property
    def action(self) -> str:
        """What the gate does: it promotes the candidate, or the champion is kept."""
        return "promoted" if self.decision.passed else "kept"

    def event(self) -> Event:
        """The entry of the promotion log."""
        best = self.decision.candidate
        return Event(
            action="promoted",
            version=self.version,
            before=self.champion,
            at=self.at,
            by=self.by,
            why=self.why,
            run_id=best.run_id,
            model_id=best.model_id,
            metrics=key_metrics(best.metrics),
        )

    def tags(self) -> dict[str, str]:
        """For the run, its parent and the version."""
        return {
            "decision": self.action,
            "claim": self.decision.claim,
            "reasons": self.why,
            "decided_by": self.by,
            "decided_at": self.at,
            "champion_before": self.champion or "none",
            "candidate_version": self.version,
            "candidate_run": self.decision.candidate.run_id,
            "model_id": self.decision.candidate.model_id,
            **self.decision.candidate.digests,
            **({"rows_digest": self.decision.rows_digest} if self.decision.rows_digest else {}),
        }

    def as_json(self) -> dict[str, Any]:
        """All of it."""
        rules = [asdict(rule) for rule in self.decision.rules]
        return {"model": self.model, **self.tags(), "choice": self.decision.choice, "rules": rules}


def key_metrics(measured: Mapping[str, float]) -> dict[str, float]:
    """The few that tell champions apart."""
    wanted = [f"{part}/{name}" for part in ("cv", "test") for name in SEARCH_METRICS]
    return {name: measured[name] for name in wanted if name in measured}
