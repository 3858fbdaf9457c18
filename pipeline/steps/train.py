"""Train: the blend of the best trials (or the best alone), fitted on the training part."""

import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

from pipeline.config.sections import Config
from pipeline.datasets import row_hash
from pipeline.evaluation.cross_validation import make_folds, score
from pipeline.models.ensemble import assemble, mix, select_weights
from pipeline.models.families import build
from pipeline.models.threshold import choose_threshold, with_threshold
from pipeline.reporting import figures
from pipeline.results import (
    Arrays,
    Dataset,
    Probabilities,
    Report,
    Training,
    Trial,
    Tuning,
    cv_metrics,
)
from pipeline.tasks import Family

if TYPE_CHECKING:
    from pipeline.export.compilation import Compilation


def train(config: Config, dataset: Dataset, tuning: Tuning) -> "tuple[Training, Compilation]":
    """The fitted model, and what answers for it in a server; the report holds its rows' hashes."""
    from pipeline.export.compilation import compile_model  # with onnx: an audit's fits do without

    training = fit(config, dataset, tuning)
    compilation = compile_model(dataset, training)
    report = training.report.adding(
        {row_hash.FILE: _training_rows(dataset)}, {"compiled": compilation.summary}
    )
    return replace(training, report=report), compilation


def _training_rows(dataset: Dataset) -> Arrays:
    """The hashes by which the rows of the training part are recognized in another table."""
    hashes = row_hash.hash_rows(dataset.contract, dataset.X, dataset.y)
    trained = hashes[dataset.X.index.isin(dataset.X_train.index)]
    return Arrays(row_hash.FORMAT, {"identities": trained})


def fit(config: Config, dataset: Dataset, tuning: Tuning) -> Training:
    """Chooses weights and threshold out of fold, then fits once on the whole training part."""
    families = list(tuning.chosen) if config.train.ensemble else list(tuning.chosen)[:1]
    out_of_fold = {family: tuning.out_of_fold[family] for family in families}
    truth = np.unique(dataset.y_train, return_inverse=True)[1]
    weights = select_weights(out_of_fold, truth)
    threshold = choose_threshold(config.train, dataset.contract, mix(out_of_fold, weights), truth)
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
        report=Report(
            metrics={
                **cv_metrics(means, spread),
                **{f"weight/{family}": weight for family, weight in weights.items()},
                **({} if threshold is None else {"threshold": threshold}),
            },
            artifacts={"weights.png": figures.weights(weights)} if len(weights) > 1 else {},
            note=_summary(tuning, weights, means["log_loss"]),
        ),
    )


def _assemble(
    config: Config,
    dataset: Dataset,
    tuning: Tuning,
    weights: dict[Family, float],
    threshold: float | None,
) -> Any:
    """An unfitted, stock scikit-learn classifier of the families that have weight."""
    tune = config.tune
    members = {
        family: build(family, tuning.chosen[family].params, tune.seed, tune.estimators)
        for family, weight in weights.items()
        if weight > 0
    }
    model = assemble(dataset.contract.task, members, weights)
    return with_threshold(model, threshold, dataset.contract)


def _cross_validated(
    config: Config, dataset: Dataset, out_of_fold: dict[Family, Probabilities], truth: Any
) -> tuple[dict[str, float], dict[str, float]]:
    """Metrics on each fold with the weights and threshold that the other folds choose."""
    y = dataset.y_train
    folds = make_folds(dataset.contract.task, y, config.tune.folds, config.tune.seed)
    blended = np.empty_like(next(iter(out_of_fold.values())))
    thresholds: list[float | None] = []
    for others, fold in folds:
        outside = {family: predicted[others] for family, predicted in out_of_fold.items()}
        weights = select_weights(outside, truth[others])
        thresholds.append(
            choose_threshold(config.train, dataset.contract, mix(outside, weights), truth[others])
        )
        blended[fold] = mix(out_of_fold, weights)[fold]
    return score(y, blended, folds, dataset.contract.positive_index, thresholds)


def _summary(tuning: Tuning, weights: dict[Family, float], loss: float) -> str:
    """Which model this is and why, and what its log loss and that of the best trial are."""
    best = tuning.best
    tried = sum(not trial.error for trial in tuning.trials)
    selected = f"{best.loss:.4f} selected (the lowest of {tried} trials, so it is optimistic"
    if len(weights) > 1:
        return (
            f"{_shares(weights)} by ensemble selection; log loss {loss:.4f} nested (each fold by "
            f"the weights that the other folds choose), {selected}: {_name(best)})"
        )
    (family,) = weights
    trial = tuning.chosen[family]
    why = (
        "train.ensemble is false"
        if len(tuning.chosen) > 1
        else "no other family has a trial that succeeded"
    )
    model = f"{_name(trial)} alone, as {why}; log loss "
    if tried == 1:
        return f"{model}{loss:.4f} (of the only trial, so nothing was selected)"
    if trial.number == best.number:
        return f"{model}{selected})"
    return (
        f"{model}{loss:.4f} (the lowest of what stands for the families: the default, or the best "
        f"trial where it is more than two standard errors better), {selected}: {_name(best)})"
    )


def _shares(weights: dict[Family, float]) -> str:
    """The weights in per cent, the largest first, without the families that have none."""
    used = {family: weight for family, weight in weights.items() if weight > 0}
    if len(used) == 1:
        return f"{next(iter(used))} has all the weight of {len(weights)} families"
    ordered = sorted(used.items(), key=lambda item: -item[1])
    shares = " + ".join(f"{100 * weight:.3g} % {family}" for family, weight in ordered)
    is_mean = len(used) == len(weights) and len(set(weights.values())) == 1
    return f"{shares} (the plain mean, from which it starts)" if is_mean else shares


def _name(trial: Trial) -> str:
    return f"{trial.family}, trial {trial.number}"
