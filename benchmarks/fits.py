"""The pipeline's fits with pandas and scikit-learn alone: what the scripts beside it share.

The settings are those of configs/pima.yaml. A plan says which configurations to try and how to
blend the best; it comes from a run of the pipeline, so that all contenders fit the same models:
`{"trials": [{"family": ..., "params": {...}}, ...], "weights": {family: weight}, "threshold": t}`.
"""

import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from rows import X_y
from sklearn import metrics
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import VotingClassifier
from sklearn.model_selection import (
    FixedThresholdClassifier,
    StratifiedKFold,
    cross_val_predict,
)

from pipeline.models import families as models

FOLDS = 5
SEED = 0


def read_plan(path: str) -> dict[str, Any]:
    """The configurations, the weights and the threshold."""
    plan: dict[str, Any] = json.loads(Path(path).read_text())
    return plan


def fold_losses(trial: dict[str, Any], part: pd.DataFrame) -> list[float]:
    """Fits a configuration once per fold; the log loss on each."""
    X, y = X_y(part)
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=SEED)
    model = models.build(trial["family"], trial["params"], SEED)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        predicted = cross_val_predict(model, X, y, cv=folds, method="predict_proba")
    return [metrics.log_loss(y.iloc[test], predicted[test]) for _, test in folds.split(X, y)]


def blend(
    plan: dict[str, Any], losses: Sequence[float], part: pd.DataFrame
) -> FixedThresholdClassifier:
    """The best configuration of each family that has a weight, fitted and weighted."""
    used = {family: weight for family, weight in plan["weights"].items() if weight > 0}
    ranked = sorted(zip(losses, plan["trials"], strict=True), key=lambda pair: pair[0])
    members = [
        (family, next(trial for _, trial in ranked if trial["family"] == family)) for family in used
    ]
    model = FixedThresholdClassifier(
        VotingClassifier(
            [(family, models.build(family, trial["params"], SEED)) for family, trial in members],
            voting="soft",
            weights=list(used.values()),
        ),
        threshold=plan["threshold"],
        pos_label=1,
        response_method="predict_proba",
    )
    return fit(model, part)


def baselines() -> dict[str, Any]:
    """What the blend is compared with, unfitted."""
    return {"dummy": DummyClassifier(strategy="prior"), "tutorial": models.tutorial()}


def fit(model: Any, part: pd.DataFrame) -> Any:
    """The model, fitted without a word on convergence."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.fit(*X_y(part))


def scores(model: Any, part: pd.DataFrame) -> dict[str, float]:
    """The pipeline's nine metrics."""
    X, y = X_y(part)
    probability, label = model.predict_proba(X)[:, 1], model.predict(X)
    return {
        "accuracy": metrics.accuracy_score(y, label),
        "roc_auc": metrics.roc_auc_score(y, probability),
        "average_precision": metrics.average_precision_score(y, probability),
        "log_loss": metrics.log_loss(y, probability),
        "brier": metrics.brier_score_loss(y, probability),
        "f1": metrics.f1_score(y, label, zero_division=0),
        "precision": metrics.precision_score(y, label, zero_division=0),
        "recall": metrics.recall_score(y, label, zero_division=0),
        "mcc": metrics.matthews_corrcoef(y, label),
    }
