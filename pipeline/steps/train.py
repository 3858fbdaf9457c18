"""Train: the blend of the best trials (or the best alone), fitted on the training part."""

import warnings
from typing import Any

import numpy as np
from sklearn.ensemble import VotingClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import FixedThresholdClassifier
from threadpoolctl import threadpool_limits

from pipeline import crossval, figures, models
from pipeline.blend import choose_threshold, mix, select_weights
from pipeline.config import Config, Family
from pipeline.results import Dataset, Probabilities, Training, Tuning


def train(config: Config, dataset: Dataset, tuning: Tuning) -> Training:
    """Chooses weights and threshold out of fold, then fits once on the whole training part."""
    families = list(tuning.chosen) if config.train.ensemble else list(tuning.chosen)[:1]
    out_of_fold = {family: tuning.out_of_fold[family] for family in families}
    truth = np.unique(dataset.y_train, return_inverse=True)[1]
    weights = select_weights(out_of_fold, truth)
    threshold = _threshold(config, dataset, mix(out_of_fold, weights), truth)
    means, spread = _cross_validated(config, dataset, out_of_fold, truth)
    model = _assemble(config, dataset, tuning, weights, threshold)
    with warnings.catch_warnings(), threadpool_limits(1):  # small fits: threads only cost
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(dataset.X_train, dataset.y_train)
    return Training(
        model=model,
        weights=weights,
        threshold=threshold,
        metrics=means,
        spread=spread,
        artifacts={"weights.png": figures.weights(weights)} if len(weights) > 1 else {},
    )


def _assemble(
    config: Config,
    dataset: Dataset,
    tuning: Tuning,
    weights: dict[Family, float],
    threshold: float | None,
) -> Any:
    """An unfitted, stock scikit-learn classifier."""
    tune = config.tune
    used = {family: weight for family, weight in weights.items() if weight > 0}
    pipelines = [
        (family, models.build(family, tuning.chosen[family].params, tune.seed, tune.estimators))
        for family in used
    ]
    model = (
        pipelines[0][1]
        if len(used) == 1
        else VotingClassifier(pipelines, voting="soft", weights=list(used.values()))
    )
    if threshold is None:
        return model
    return FixedThresholdClassifier(
        model,
        threshold=threshold,
        pos_label=dataset.contract.positive,
        response_method="predict_proba",
    )


def _threshold(
    config: Config, dataset: Dataset, probabilities: Probabilities, truth: Any
) -> float | None:
    positive = dataset.contract.positive_index
    if positive is None:
        return None
    if config.train.threshold != "auto":
        return config.train.threshold
    return choose_threshold(probabilities[:, positive], truth == positive, config.train)


def _cross_validated(
    config: Config, dataset: Dataset, out_of_fold: dict[Family, Probabilities], truth: Any
) -> tuple[dict[str, float], dict[str, float]]:
    """Metrics on each fold with the weights and threshold that the other folds choose."""
    y = dataset.y_train
    folds = crossval.folds(y, config.tune.folds, config.tune.seed)
    blended = np.empty_like(next(iter(out_of_fold.values())))
    thresholds: list[float] = []
    for others, fold in folds:
        seen = {family: predicted[others] for family, predicted in out_of_fold.items()}
        weights = select_weights(seen, truth[others])
        threshold = _threshold(config, dataset, mix(seen, weights), truth[others])
        thresholds.append(0.5 if threshold is None else threshold)
        blended[fold] = mix(out_of_fold, weights)[fold]
    return crossval.score(y, blended, folds, dataset.contract.positive_index, thresholds)
