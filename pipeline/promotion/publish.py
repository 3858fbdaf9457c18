"""Publishes a decision's record: on the run and the disk, then on the version."""

import json

from mlflow.entities.model_registry import ModelVersion

from pipeline.evaluation import metrics
from pipeline.inference import manifest
from pipeline.promotion import card
from pipeline.promotion.gate import PairedComparison
from pipeline.promotion.record import Record
from pipeline.reporting import comparison
from pipeline.reporting.style import png
from pipeline.results import MODEL_METRICS, Artifacts, Decision
from pipeline.tracking import registry, runs

PICTURE = "curves.png"
DECIDED = ("decision", "claim", "reasons", "decided_by", "decided_at", "champion_before")
RULES = "zz.rules"  # tag of a version: every rule with its figures, in JSON
SHOWN = ("gate.rule", "gate.dummy", "gate.calibration", "gate.latency")  # as metrics


def publish(record: Record, run_id: str, version: ModelVersion) -> str:
    """As artifacts, metrics, tags, and the model card as the version's description.

    Returns the card as HTML.
    """
    page = card.card(record, _weights(record.decision.candidate.model_id))
    decision, predictions = record.as_json(), _predictions(record)
    seed = record.config.evaluate.seed
    picture = png(comparison.of_models(predictions, record.dataset.class_names, seed))
    in_html = card.html(page, {PICTURE: picture})
    artifacts: Artifacts = {
        "decision.json": decision,
        "model_card.md": page,
        "model_card.html": in_html,
        PICTURE: picture,
    }
    runs.log_artifacts(run_id, artifacts)
    runs.log(run_id, metrics=_metrics(record.decision), tags=record.tags())
    runs.sync_artifacts(run_id)
    decided = {name: text for name, text in record.tags().items() if name in DECIDED}
    rules = manifest.parts(RULES, json.dumps(decision["rules"]))
    registry.tag(version, {**decided, **rules})
    address = f"get-artifact?path={PICTURE}&run_uuid={run_id}"  # as the UI asks for it
    registry.describe(version, page.replace(f"({PICTURE})", f"({address})"))
    return in_html


def _weights(model_id: str) -> dict[str, float]:
    """The weights of the families in the blend, if the training run is still there."""
    training = runs.find_run(registry.training_run(model_id))
    measured = training.data.metrics if training else {}
    return {
        name.removeprefix("weight/"): value
        for name, value in measured.items()
        if name.startswith("weight/")
    }


def _metrics(decision: Decision) -> dict[str, float]:
    """The candidate's metrics, and the figures of the rules."""
    measured = decision.candidate.metrics.items()
    figures = {
        f"{rule.rule.replace('.', '/')}/{name}": value
        for rule in decision.rules
        if rule.rule in SHOWN
        for name, value in rule.figures.items()
    }
    return {n: v for n, v in measured if n.startswith(MODEL_METRICS)} | figures


def _predictions(record: Record) -> dict[str, metrics.AnyPredictions]:
    """The candidate's and the champion's on the same rows, or the candidate's alone."""
    title, comparison = f"version {record.version}", record.evidence.comparison
    if isinstance(comparison, PairedComparison):
        return {title: comparison.first, comparison.champion: comparison.second}
    return {title: record.evidence.predictions}
