"""Whether the blend follows the family that suits a table, on made tables with a known truth.

Each table is split once; the search, the weights and the threshold see the training part only.
"""

import argparse
import contextlib
import io
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pipeline import datasets, metrics, models
from pipeline.columns import Column
from pipeline.config import Config, Data, Registry, Tune
from pipeline.results import Dataset, Trial

Table = tuple[NDArray[np.float64], NDArray[np.int64]]
ROWS = 1000


def linear(rng: np.random.Generator) -> Table:
    """Log odds are linear in three of ten columns."""
    X = rng.normal(size=(ROWS, 10))
    return X, _drawn(rng, 1 / (1 + np.exp(-(X @ np.r_[1.5, -1, 0.5, np.zeros(7)]))))


def exclusive_or(rng: np.random.Generator) -> Table:
    """The signs of two columns differ; one label in ten is wrong."""
    X = rng.uniform(-1, 1, (ROWS, 6))
    return X, _drawn(rng, np.where(X[:, 0] * X[:, 1] > 0, 0.9, 0.1))


def categories(rng: np.random.Generator) -> Table:
    """All columns are codes of four categories; a table of three of them decides."""
    X = rng.integers(0, 4, (ROWS, 6))
    likely = rng.random((4, 4, 4)) > 0.5
    return X.astype(float), _drawn(rng, np.where(likely[X[:, 0], X[:, 1], X[:, 2]], 0.92, 0.08))


def shells(rng: np.random.Generator) -> Table:
    """Inside or outside of a sphere in ten dimensions (Hastie et al. 2009, example 10.2)."""
    X = rng.normal(size=(ROWS, 10))
    return X, ((X**2).sum(axis=1) > 9.34).astype(int)


def steps(rng: np.random.Generator) -> Table:
    """Thresholds and gaps: a fifth of the cells are missing, and that tells something."""
    X = rng.normal(size=(ROWS, 8))
    odds = 2.0 * (X[:, 0] > 0.5) - 1.5 * (X[:, 1] > 0) * (X[:, 2] > 0)
    gaps = rng.random(X.shape) < 0.2
    odds += 1.5 * gaps[:, 3]
    return np.where(gaps, np.nan, X), _drawn(rng, 1 / (1 + np.exp(-odds)))


def noise(rng: np.random.Generator) -> Table:
    """Nothing to learn: the best log loss is 0.693."""
    return rng.normal(size=(ROWS, 6)), _drawn(rng, np.full(ROWS, 0.5))


TABLES: dict[str, Callable[[np.random.Generator], Table]] = {
    function.__name__: function
    for function in (linear, exclusive_or, categories, shells, steps, noise)
}


def main() -> None:
    """Prints a row per table: test log loss of each family's choice, of the blend, the weights."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", type=lambda text: text.split(","), default=list(TABLES))
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    from pipeline import procedure

    for name in options.only:
        X, y = TABLES[name](np.random.default_rng(options.seed))
        config, dataset = _prepared(X, y)
        start = time.perf_counter()
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tuning, training = procedure.run(config, dataset)
        seconds = time.perf_counter() - start
        alone = {f: _loss(dataset, _fit(dataset, trial)) for f, trial in tuning.chosen.items()}
        blend = _loss(dataset, training.model)
        print(f"\n{name}: blend {blend:.4f}, best family {min(alone.values()):.4f}", end="")
        print(f", mean of them {np.mean(list(alone.values())):.4f} ({seconds:.0f} s)")
        for family, loss in sorted(alone.items(), key=lambda item: item[1]):
            print(f"  {family:<28}{loss:.4f}  weight {training.weights[family]:.2f}")


def _drawn(rng: np.random.Generator, chance: NDArray[np.float64]) -> NDArray[np.int64]:
    return (rng.random(len(chance)) < chance).astype(int)


def _prepared(X: NDArray[np.float64], y: NDArray[np.int64]) -> tuple[Config, Dataset]:
    table = pd.DataFrame(X).rename(columns=lambda place: f"x{place}").assign(y=y)
    columns = {name: Column() for name in table.columns.drop("y")}
    config = Config(
        data=Data(source="made.csv", target="y", positive=1, columns=columns),
        tune=Tune(),
        registry=Registry(model="made"),
    )
    dataset = datasets.build(config, table, digest="0" * 64)
    return config, replace(dataset, name="made")


def _fit(dataset: Dataset, trial: Trial) -> Any:
    return models.build(trial.family, trial.params, 0).fit(dataset.X_train, dataset.y_train)


def _loss(dataset: Dataset, model: Any) -> float:
    return metrics.value("log_loss", metrics.predict(dataset, model, None))


if __name__ == "__main__":
    main()
