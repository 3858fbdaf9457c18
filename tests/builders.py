"""Small, seeded inputs that several test files share."""

from collections.abc import Sequence
from dataclasses import replace
from math import inf
from typing import Any

import numpy as np
import pandas as pd

from pipeline import datasets
from pipeline.columns import Column
from pipeline.config import Config, Data, Evaluate, Family, Gate, Registry, Split, Train, Tune
from pipeline.metrics import Predictions
from pipeline.results import Dataset, Trial

COLUMNS = {
    "height": Column(unit="cm"),
    "gap": Column(meaning="a quarter of it is missing", optional=True),
    "noise": Column(),
    "flag": Column(range=(0.0, 1.0)),
}


def make_config(
    *,
    columns: dict[str, Column] | None = None,
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


def make_table(labels: Sequence[Any] = (0, 1), rows: int = 120, seed: int = 0) -> pd.DataFrame:
    """A table that can be learnt, but not perfectly; the classes take turns."""
    rng = np.random.default_rng(seed)
    place = np.arange(rows) % len(labels)
    return pd.DataFrame(
        {
            "height": rng.normal(place, 1.0),
            "gap": np.where(rng.random(rows) < 0.25, np.nan, rng.normal(place, 1.5)),
            "noise": rng.normal(size=rows),
            "flag": rng.integers(0, 2, rows).astype(float),
            "label": [labels[code] for code in place],
        }
    )


def make_dataset(
    labels: Sequence[Any] = (0, 1), positive: Any = 1, rows: int = 120, seed: int = 0
) -> Dataset:
    """`make_table`, checked and split; `positive=None` with three labels."""
    config = make_config(positive=positive)
    return datasets.build(config, make_table(labels, rows, seed), digest="0" * 64)


def with_scales_far_apart(dataset: Dataset) -> Dataset:
    """The same rows with twelve columns on which unscaled logistic regression gives up."""
    rng = np.random.default_rng(0)
    scale, shift = 10 ** rng.uniform(-2, 4, 12), 10 ** rng.uniform(0, 5, 12)

    def scaled(X: pd.DataFrame) -> pd.DataFrame:
        noise = rng.normal(size=(len(X), 12)) + X[["height"]].to_numpy()
        return pd.DataFrame(noise * scale + shift, index=X.index).rename(columns=str)

    return replace(dataset, X_train=scaled(dataset.X_train), X_test=scaled(dataset.X_test))


def make_predictions(
    classes: int = 2, rows: int = 60, seed: int = 0, positive: int | None = 1
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
    return Predictions(truth, parts / 10, positive if classes == 2 else None)


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
