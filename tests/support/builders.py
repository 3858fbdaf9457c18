"""Small, seeded inputs that several test files share."""

from collections.abc import Sequence
from dataclasses import replace
from math import inf
from typing import Any

import numpy as np
import pandas as pd

from pipeline.config.gate import Gate
from pipeline.config.sections import Config, Data, Evaluate, Registry, Split, Train
from pipeline.config.tune import Tune
from pipeline.datasets.dataset import build_dataset
from pipeline.evaluation import metrics
from pipeline.evaluation.amounts import AmountPredictions
from pipeline.evaluation.metrics import Predictions
from pipeline.promotion.gate import Evidence, PairedComparison
from pipeline.results import Candidate, Dataset, Event, Trial
from pipeline.schema.columns import NumberColumn
from pipeline.tasks import Family

OPTIONS = [None, [1, 2], True, 1, 1.0, "1", {"a": 1}]
RANGES = [  # of each distribution, as the config writes them
    {"uniform": [-1, 2.5]},
    {"loguniform": [0.01, 10]},
    {"loguniform": [2, 3]},
    {"uniformint": [-2, 7]},
    {"quniform": [0, 1, 0.1]},
    {"quniform": [10, 90, 10]},
    {"qloguniform": [0.05, 1, 0.05]},
    {"qloguniform": [2, 100, 2]},
    {"normal": [3, 2]},
    {"lognormal": [0, 1]},
    {"qnormal": [0, 5, 0.5]},
    {"qnormal": [0, 5, 2]},
    {"qlognormal": [0, 2, 0.25]},
    {"qlognormal": [2, 1, 1]},
    {"randint": [5]},
    {"randint": [-3, 5]},
    {"choice": OPTIONS},
    {"choice": ["only"]},
    {"pchoice": [[0.3, None], [0.2, True], [0.2, 1], [0.3, [1, 2]]]},
]
COLUMNS = {
    "height": NumberColumn(unit="cm"),
    "gap": NumberColumn(meaning="a quarter of it is missing", optional=True),
    "noise": NumberColumn(),
    "flag": NumberColumn(range=(0.0, 1.0)),
}


def make_config(
    *,
    columns: dict[str, NumberColumn] | None = None,
    positive: Any = 1,
    split: dict[str, Any] | None = None,
    tune: dict[str, Any] | None = None,
    train: dict[str, Any] | None = None,
    evaluate: dict[str, Any] | None = None,
    gate: dict[str, Any] | None = None,
) -> Config:
    """A valid config for `make_table`: two fast folds, one family, few resamples."""
    return Config(
        data=Data(
            source="folder/people.csv",
            target="label",
            positive=positive,
            columns=COLUMNS if columns is None else columns,
        ),
        split=Split(**(split or {})),
        tune=Tune(
            **{
                "families": ("logistic_regression",),
                "max_evals": 1,
                "folds": 2,
                "parallelism": 1,
                **(tune or {}),
            }
        ),
        train=Train(**(train or {})),
        evaluate=Evaluate(**{"resamples": 100, **(evaluate or {})}),
        gate=Gate(**(gate or {})),
        registry=Registry(model="people"),
    )


def make_table(
    labels: Sequence[Any] | None = (0, 1), rows: int = 120, seed: int = 0
) -> pd.DataFrame:
    """A table that can be learnt, but not perfectly; the classes take turns, None for amounts."""
    rng = np.random.default_rng(seed)
    place = np.arange(rows) % len(labels or (0, 1))
    table = pd.DataFrame(
        {
            "height": rng.normal(place, 1.0),
            "gap": np.where(rng.random(rows) < 0.25, np.nan, rng.normal(place, 1.5)),
            "noise": rng.normal(size=rows),
            "flag": rng.integers(0, 2, rows).astype(float),
        }
    )
    amounts = 20 + 5 * table["height"] + rng.normal(size=rows)
    table["label"] = amounts if labels is None else [labels[code] for code in place]
    return table


def make_dataset(
    labels: Sequence[Any] | None = (0, 1), positive: Any = 1, rows: int = 120, seed: int = 0
) -> Dataset:
    """`make_table`, checked and split; `positive=None` with three labels, and with amounts."""
    config = make_config(positive=positive)
    return build_dataset(config, make_table(labels, rows, seed), digest="0" * 64)


def with_scales_far_apart(dataset: Dataset) -> Dataset:
    """The same rows with twelve columns on which unscaled logistic regression gives up."""
    rng = np.random.default_rng(0)
    scale, shift = 10 ** rng.uniform(-2, 4, 12), 10 ** rng.uniform(0, 5, 12)

    def scaled(X: pd.DataFrame) -> pd.DataFrame:
        noise = rng.normal(size=(len(X), 12)) + X[["height"]].to_numpy()
        return pd.DataFrame(noise * scale + shift, index=X.index).rename(columns=str)

    contract = dataset.contract.model_copy(
        update={"columns": {str(place): NumberColumn() for place in range(12)}}
    )
    X_train, X_test = scaled(dataset.X_train), scaled(dataset.X_test)
    return replace(dataset, contract=contract, X_train=X_train, X_test=X_test)


def make_predictions(
    classes: int = 2,
    rows: int = 60,
    seed: int = 0,
    positive: int | None = 1,
    threshold: float | None = None,
) -> Predictions:
    """Better than chance and full of ties: probabilities are multiples of 1/10."""
    rng = np.random.default_rng(seed)
    truth = rng.permutation(np.arange(rows) % classes)
    parts = 1 + rng.multinomial(10 - classes, np.full(classes, 1 / classes), size=rows)
    # The rows that are right have their largest part at the true class.
    right = rng.random(rows) < 0.6
    largest = parts.argmax(axis=1)
    all_rows = np.arange(rows)[right]
    swapped = parts[all_rows, truth[right]].copy()
    parts[all_rows, truth[right]] = parts[all_rows, largest[right]]
    parts[all_rows, largest[right]] = np.where(
        truth[right] == largest[right], parts[all_rows, largest[right]], swapped
    )
    return Predictions(truth, parts / 10, positive if classes == 2 else None, threshold)


def make_without_ties(classes: int, rows: int = 50) -> Predictions:
    """No better than chance, with probabilities that are all different."""
    rng = np.random.default_rng(3)
    truth = rng.permutation(np.arange(rows) % classes)
    probabilities = rng.dirichlet(np.ones(classes), size=rows)
    return Predictions(truth, probabilities, 1 if classes == 2 else None)


def make_amounts(rows: int = 60, error: float = 1.0, seed: int = 0) -> AmountPredictions:
    """Amounts with errors of that size, and with intervals that hold most of them."""
    rng = np.random.default_rng(seed)
    truth = np.round(rng.gamma(2.0, 10.0, rows), 1)
    value = np.round(truth + rng.normal(0, error, rows), 1)
    width = rng.uniform(1, 2, rows) * error
    return AmountPredictions(truth, value, value - width, value + width)


def make_sure_amounts(right: bool) -> AmountPredictions:
    """Right to the last digit, or far from the truth with wide intervals that do not hold it."""
    truth = make_amounts().truth
    off = 0.0 if right else 100.0
    return AmountPredictions(truth, truth + off, truth + off / 2, truth + 5 * off)


def make_trial(
    number: int, family: Family, loss: float, params: dict[str, Any] | None = None
) -> Trial:
    """A finished trial; one that failed when the loss is infinite."""
    metrics = {"log_loss": loss, "roc_auc": 0.8, "brier": 0.2, "accuracy": 0.7}
    failed = loss == inf
    return Trial(
        number=number,
        family=family,
        params=params or {},
        metrics={} if failed else metrics,
        spread={} if failed else dict.fromkeys(metrics, 0.01),
        seconds=0.1,
        error="ValueError: no way" if failed else "",
    )


def make_calibrated(rows: int = 200, seed: int = 0) -> Predictions:
    """Of two classes, with probabilities that come to pass; without ties."""
    rng = np.random.default_rng(seed)
    chance = rng.uniform(0.02, 0.98, rows)
    truth = (rng.random(rows) < chance).astype(int)
    return Predictions(truth, np.c_[1 - chance, chance], positive=1)


def make_too_sure(power: float = 5.0) -> Predictions:
    """As `make_calibrated`, with log-odds that are that many times too far from 0."""
    sample = make_calibrated()
    odds = (sample.probabilities[:, 1] / sample.probabilities[:, 0]) ** power
    return replace(sample, probabilities=np.c_[1 / (1 + odds), odds / (1 + odds)])


def make_sure(right: bool, rows: int = 60, classes: int = 2) -> Predictions:
    """Right, or wrong, on every row and sure of it; the classes take turns."""
    truth = np.arange(rows) % classes
    said = truth if right else (truth + 1) % classes
    return Predictions(truth, np.eye(classes)[said], positive=1 if classes == 2 else None)


def make_dummy(predictions: Predictions) -> Predictions:
    """The shares of the classes, for every row."""
    shares = np.bincount(predictions.truth, minlength=predictions.classes)
    rows = len(predictions.truth)
    return replace(predictions, probabilities=np.tile(shares / rows, (rows, 1)), threshold=None)


def make_evidence(predictions: Predictions | None = None, **changes: Any) -> Evidence:
    """A candidate that keeps the rules of `make_config`, where there is no champion."""
    predictions = make_calibrated() if predictions is None else predictions
    rng = np.random.default_rng(0)
    shape = (len(predictions.truth), len(COLUMNS))
    if "logged" not in changes:
        names = predictions.task.search_metrics
        changes["logged"] = {name: metrics.value(name, predictions) for name in names}
    evidence = Evidence(
        logged={},
        predictions=predictions,
        dummy=make_dummy(predictions),
        X=pd.DataFrame(rng.normal(size=shape), columns=list(COLUMNS)),
        comparison=None,
        classes=tuple(range(predictions.classes)),
        columns=COLUMNS,
    )
    return replace(evidence, **changes)


def make_comparison(
    first: Predictions, second: Predictions, cross_validated: tuple[float, float] | None = None
) -> PairedComparison:
    """Of a candidate and version 3."""
    return PairedComparison(
        "version 3", first, second, rows_digest="d" * 64, cross_validated=cross_validated
    )


def make_candidate(run_id: str = "run", loss: float = 0.5, **measured: float) -> Candidate:
    """A finished evaluation with that cross-validated log loss; other metrics as cv__roc_auc."""
    valid = dict.fromkeys(("cv/roc_auc", "cv/brier", "cv/accuracy"), 0.5)
    others = {name.replace("__", "/"): value for name, value in measured.items()}
    return Candidate(
        run_id=run_id,
        model_id=f"model of {run_id}",
        metrics={"cv/log_loss": loss, **valid, **others},
        params={"tune.seed": "0"},
        digests={"data_digest": "0" * 64, "split_digest": "1" * 64},
    )


def make_event(version: str | None = "2", before: str | None = "1", **changes: Any) -> Event:
    """An entry of the ledger: version 2 was promoted after version 1."""
    event = Event(
        action="promoted",
        version=version,
        before=before,
        at="2026-03-01T09:30:15.123Z",
        by="Ann",
        why="best of 2 by cv/log_loss 0.5000",
        run_id="f" * 32,
        model_id="m-1",
        metrics={"cv/log_loss": 0.5, "test/log_loss": 0.51236, "test/roc_auc": 0.8},
    )
    return replace(event, **changes)
