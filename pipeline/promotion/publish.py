"""Publishes a decision's record: on the run and the disk, then on the version."""

import json

from mlflow.entities.model_registry import ModelVersion

from pipeline.evaluation import metrics
from pipeline.inference import manifest
from pipeline.promotion import card
from pipeline.promotion.gate import Duel
from pipeline.promotion.record import Record
from pipeline.reporting import figures
from pipeline.results import MODEL_METRICS, Artifacts, Decision
from pipeline.tracking import registry
from pipeline.tracking import runs as tracking

PICTURE = "curves.png"
RULES = "rules"  # tag of a version: every rule with its figures, in JSON
SHOWN = ("gate.rule", "gate.dummy", "gate.calibration", "gate.latency")  # as metrics


def publish(record: Record, run_id: str, version: ModelVersion) -> None:
    """As artifacts, metrics, tags, and the model card as the version's description."""
    page = card.card(record, _weights(record.decision.candidate.model_id))
    told, contestants = record.as_json(), _contestants(record)
    drawn = figures.png(figures.contest(contestants, record.dataset.contract.classes))
    artifacts: Artifacts = {
        "decision.json": told,
        "model_card.md": page,
        "model_card.html": card.html(page, {PICTURE: drawn}),
        PICTURE: drawn,
    }
    tracking.log_artifacts(run_id, artifacts)
    tracking.log(run_id, metrics=_metrics(record.decision), tags=record.tags())
    tracking.sync_artifacts(run_id)
    registry.tag(version, {**record.tags(), **manifest.parts(RULES, json.dumps(told["rules"]))})
    address = f"get-artifact?path={PICTURE}&run_uuid={run_id}"  # as the UI asks for it
    registry.describe(version, page.replace(f"({PICTURE})", f"({address})"))


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
    return {n: v for n, v in measured if n.startswith(MODEL_METRICS)} | figures


def _contestants(record: Record) -> dict[str, metrics.Predictions]:
    """On the rows of the duel, if there was one."""
    own, duel = f"version {record.version}", record.exam.duel
    if isinstance(duel, Duel):
        return {own: duel.first, duel.champion: duel.second}
    return {own: record.exam.predictions}
