"""The record of a decision: on the run, on the version and as a page for people."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from mlflow.entities.model_registry import ModelVersion

from pipeline import figures, manifest, metrics, registry, tracking
from pipeline.config import Config
from pipeline.gate import Duel, Exam
from pipeline.promotion import card
from pipeline.results import Artifacts, Dataset, Decision, Event

PICTURE = "curves.png"
RULES = "rules"  # tag of a version: every rule with its figures, in JSON
SHOWN = ("gate.rule", "gate.dummy", "gate.calibration", "gate.latency")  # as metrics


@dataclass(frozen=True)
class Record:
    """A decision about a version, by whom and when, beside the champion at the time."""

    config: Config
    dataset: Dataset
    exam: Exam
    decision: Decision
    version: str
    champion: str | None  # before
    judged: int  # models that the same test part has judged, this one included
    reason: str  # what the user said, if anything
    by: str
    at: str

    @property
    def model(self) -> str:
        """The registered model's name."""
        return self.config.registry.model

    @property
    def why(self) -> str:
        """In one line."""
        return "; ".join([*self.decision.reasons, *([self.reason] if self.reason else [])])

    @property
    def verdict(self) -> str:
        """Of the gate."""
        return "promoted" if self.decision.passed else "kept"

    def event(self) -> Event:
        """The ledger's entry."""
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
            "decision": self.verdict,
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
        rules = [asdict(ruling) for ruling in self.decision.rulings]
        return {"model": self.model, **self.tags(), "choice": self.decision.choice, "rules": rules}


def write(record: Record, run_id: str, version: ModelVersion) -> None:
    """To the run and the disk, then to the version."""
    page = card.card(record, _weights(record.decision.candidate.model_id))
    contestants = _contestants(record)
    drawn = figures.png(figures.contest(contestants, record.dataset.contract.classes))
    artifacts: Artifacts = {
        "decision.json": record.as_json(),
        "model_card.md": page,
        "model_card.html": card.html(page, {PICTURE: drawn}),
        PICTURE: drawn,
    }
    tracking.log_artifacts(run_id, artifacts)
    tracking.log(run_id, metrics=_metrics(record.decision), tags=record.tags())
    tracking.sync_artifacts(run_id)
    rules = json.dumps(record.as_json()["rules"])
    registry.tag(version, {**record.tags(), **manifest.parts(RULES, rules)})
    address = f"get-artifact?path={PICTURE}&run_uuid={run_id}"  # as the UI asks for it
    registry.describe(version, page.replace(f"({PICTURE})", f"({address})"))


def key_metrics(measured: Mapping[str, float]) -> dict[str, float]:
    """The few that tell champions apart."""
    wanted = [f"{part}/{name}" for part in ("cv", "test") for name in metrics.SEARCH_METRICS]
    return {name: measured[name] for name in wanted if name in measured}


def _weights(model_id: str) -> dict[str, float]:
    """Of the families in the blend, if the training run is still there."""
    trained = tracking.find_run(registry.training_run(model_id))
    measured = trained.data.metrics if trained else {}
    return {
        name.removeprefix("weight/"): value
        for name, value in measured.items()
        if name.startswith("weight/")
    }


def _metrics(decision: Decision) -> dict[str, float]:
    """The candidate's own, and what the gate found."""
    measured = decision.candidate.metrics.items()
    figures = {
        f"{ruling.rule.replace('.', '/')}/{name}": value
        for ruling in decision.rulings
        if ruling.rule in SHOWN
        for name, value in ruling.figures.items()
    }
    return {n: v for n, v in measured if n.startswith(registry.MEASURED)} | figures


def _contestants(record: Record) -> dict[str, metrics.Predictions]:
    """On the rows of the duel, if there was one."""
    own, duel = f"version {record.version}", record.exam.duel
    if isinstance(duel, Duel):
        return {own: duel.first, f"version {duel.champion}": duel.second}
    return {own: record.exam.predictions}
