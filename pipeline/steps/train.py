"""Train: the blend of the best trials (or the best alone), fitted on the training part."""

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

from pipeline import progress
from pipeline.config.sections import Config
from pipeline.datasets import row_hash
from pipeline.datasets.sampling import final_part, search_part
from pipeline.evaluation.cross_validation import make_folds, predicted_rows, score
from pipeline.evaluation.fitting import fit as fit_model
from pipeline.evaluation.metrics import of_rows, truth_of
from pipeline.inference.runtimes import DIFFICULTY
from pipeline.models.encoders import Features
from pipeline.models.ensemble import assemble, mix, select_weights
from pipeline.models.families import build
from pipeline.models.intervals import cross_val_amounts, fit_intervals
from pipeline.models.threshold import choose_threshold, with_threshold
from pipeline.reporting import search_figures as figures
from pipeline.results import (
    Arrays,
    Dataset,
    Outputs,
    Report,
    Training,
    Trial,
    Tuning,
    cv_metrics,
)
from pipeline.tasks import METRICS, Family, loss_of
from pipeline.tuning.size_limits import describe_fit

if TYPE_CHECKING:
    from pipeline.export.compilation import Compilation


MOST_ALONE = 20_000  # rows up to which threads only cost


def train(config: Config, dataset: Dataset, tuning: Tuning) -> "tuple[Training, Compilation]":
    """The fitted model, and what answers for it in a server; the report holds its rows' hashes."""
    from pipeline.export.compilation import compile_model  # with onnx: an audit's fits do without

    rows, count = len(final_part(config, dataset).y_train), len(tuning.chosen)
    with progress.stage(f"fits {count} families on {rows} rows"):
        training = fit(config, dataset, tuning)
    with progress.stage("compiles the model and proves that it answers alike"):
        compilation = compile_model(dataset, training)
    report = training.report.adding(
        {row_hash.FILE: _training_rows(dataset)}, {"compiled": compilation.summary}
    )
    return replace(training, report=report, compiled=compilation.predict), compilation


def _training_rows(dataset: Dataset) -> Arrays:
    """The hashes by which rows of the training part, and their groups, are recognized elsewhere."""
    hashes = row_hash.hash_rows(dataset.contract, dataset.cells_of(dataset.X), dataset.y)
    trained = {"identities": hashes[dataset.X.index.isin(dataset.X_train.index)]}
    groups = dataset.metadata.of(dataset.X_train).groups
    if groups is not None:
        trained |= {"groups": np.unique(groups), "group_column": np.array(groups.name)}
    return Arrays(row_hash.FORMAT, trained)


def fit(config: Config, dataset: Dataset, tuning: Tuning) -> Training:
    """Chooses weights and threshold out of fold, then fits once on the whole training part.

    The rows that choose are those that the search saw; `train.max_rows` bounds those of the fit.
    """
    families = list(tuning.chosen) if config.train.ensemble else list(tuning.chosen)[:1]
    out_of_fold = {family: tuning.out_of_fold[family] for family in families}
    selection = _Selection(config, search_part(config, dataset), out_of_fold)
    weights, threshold = selection.on(np.flatnonzero(selection.is_predicted))
    blended, thresholds = selection.nested()
    means, spread = selection.cross_validated(blended, thresholds)
    sizes = describe_fit(config, dataset)
    model = _assemble(config, dataset, tuning, weights, threshold)
    part = final_part(config, dataset)
    threads = 1 if len(part.y_train) <= MOST_ALONE else None
    with warnings.catch_warnings(), threadpool_limits(threads):
        warnings.simplefilter("ignore", ConvergenceWarning)
        fit_model(model, part.X_train, part.y_train, part.metadata.of(part.X_train))
        scores = selection.intervals(model, blended)
    return Training(
        model=model,
        weights=weights,
        threshold=threshold,
        metrics=means,
        spread=spread,
        scores=scores,
        report=Report(
            metrics={
                **cv_metrics(means, spread),
                **{f"weight/{family}": weight for family, weight in weights.items()},
                **({} if threshold is None else {"threshold": threshold}),
            },
            artifacts={"weights.png": figures.weights(weights)} if len(weights) > 1 else {},
            note=_summary(tuning, weights, means, _deciders(dataset))
            + "".join(f"; {note}" for note in (dataset.rows_note, sizes) if note),
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
    tune, features = config.tune, Features.of(dataset.contract)
    members = {
        family: build(family, tuning.chosen[family].params, tune.seed, features, tune.estimators)
        for family, weight in weights.items()
        if weight > 0
    }
    model = assemble(dataset.contract.task, members, weights)
    return with_threshold(model, threshold, dataset.contract)


class _Selection:
    """Weights and threshold from the out-of-fold predictions of the training part."""

    def __init__(
        self, config: Config, dataset: Dataset, out_of_fold: dict[Family, Outputs]
    ) -> None:
        self.config = config
        self.contract = dataset.contract
        self.X = dataset.X_train
        self.out_of_fold = out_of_fold
        self.y = dataset.y_train
        self.truth = truth_of(self.y)
        self.metadata = dataset.metadata.of(dataset.X_train)
        tune = config.tune
        self.folds = make_folds(self.contract.task, self.y, tune.folds, tune.seed, self.metadata)
        self.is_predicted = predicted_rows(self.folds, len(self.y))

    def on(self, rows: NDArray[np.intp]) -> tuple[dict[Family, float], float | None]:
        """Those that some of the rows choose; each must have been predicted."""
        predicted = {family: each[rows] for family, each in self.out_of_fold.items()}
        truth, metadata = self.truth[rows], self.metadata.where(rows)
        weights = select_weights(predicted, truth, metadata, self.contract.task)
        blend = mix(predicted, weights)
        return weights, choose_threshold(
            self.config.train, self.contract, blend, truth, metadata.sample_weight
        )

    def nested(self) -> tuple[Outputs, list[float | None]]:
        """Each fold blended by what the rows that it was trained on choose, and its threshold.

        With folds by time, nothing was predicted before the first: it has the plain mean of the
        families, and the threshold of the costs.
        """
        blended = np.full_like(next(iter(self.out_of_fold.values())), np.nan)
        thresholds: list[float | None] = []
        for others, fold in self.folds:
            weights, threshold = self.on(others[self.is_predicted[others]])
            thresholds.append(threshold)
            blended[fold] = mix(self.out_of_fold, weights)[fold]
        return blended, thresholds

    def cross_validated(
        self, blended: Outputs, thresholds: list[float | None]
    ) -> tuple[dict[str, float], dict[str, float]]:
        """Metrics on each fold with what the others choose."""
        predictions = of_rows(self.contract, self.y, blended, None, self.metadata)
        return score(predictions, self.folds, thresholds)

    def intervals(self, model: Any, blended: Outputs) -> Sequence[float]:
        """The scores of intervals around amounts, whose difficulty the model gets; else none."""
        if self.contract.classes:
            return ()
        where, seed = self.is_predicted, self.config.tune.seed
        predicted = cross_val_amounts(model, self.X, self.y, self.metadata, seed)
        if predicted is None:
            predicted = blended[:, 0]
        errors = (self.truth - predicted)[where]
        metadata, features = self.metadata.where(where), Features.of(self.contract)
        fitted = fit_intervals(self.X[where], errors, metadata, features, seed)
        setattr(model, DIFFICULTY, fitted.difficulty)
        return fitted.scores


def _deciders(dataset: Dataset) -> str:
    """The folds that choose the weights of a fold."""
    return "other folds" if dataset.metadata.times is None else "folds before it"


def _summary(
    tuning: Tuning, weights: dict[Family, float], means: dict[str, float], deciders: str
) -> str:
    """Which model this is and why, and what its loss and that of the best trial are."""
    metric = loss_of(means)
    loss, name = means[metric], METRICS[metric].title
    best = tuning.best
    tried = sum(not trial.error for trial in tuning.trials)
    selected = f"{best.loss:.4f} selected (the lowest of {tried} trials, so it is optimistic"
    if len(weights) > 1:
        return (
            f"{_shares(weights)} by ensemble selection; {name} {loss:.4f} nested (each fold by "
            f"the weights that the {deciders} choose), {selected}: {_name(best)})"
        )
    (family,) = weights
    trial = tuning.chosen[family]
    why = (
        "train.ensemble is false"
        if len(tuning.chosen) > 1
        else "no other family has a trial that succeeded"
    )
    model = f"{_name(trial)} alone, as {why}; {name} "
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
