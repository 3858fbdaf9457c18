"""Tables of numbers for benchmarks: made ones, whose truth is known, and scikit-learn's own."""

from collections.abc import Callable

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn import datasets as toy

from pipeline.config import load as config_file
from pipeline.config.sections import Config, Data, Registry
from pipeline.config.tune import Tune
from pipeline.datasets.dataset import build_dataset
from pipeline.datasets.sources import open_source
from pipeline.results import Dataset
from pipeline.schema.columns import NumberColumn
from pipeline.steps.ingest import ingest

Table = tuple[NDArray[np.float64], NDArray[np.int64]]
Make = Callable[[np.random.Generator, int], Table]


def linear(rng: np.random.Generator, rows: int) -> Table:
    """Log odds are linear in three of ten columns."""
    X = rng.normal(size=(rows, 10))
    return X, _drawn(rng, 1 / (1 + np.exp(-(X @ np.r_[1.5, -1, 0.5, np.zeros(7)]))))


def exclusive_or(rng: np.random.Generator, rows: int) -> Table:
    """The signs of two columns differ; one label in ten is wrong."""
    X = rng.uniform(-1, 1, (rows, 6))
    return X, _drawn(rng, np.where(X[:, 0] * X[:, 1] > 0, 0.9, 0.1))


def categories(rng: np.random.Generator, rows: int) -> Table:
    """All columns are codes of four categories; a table of three of them decides."""
    X = rng.integers(0, 4, (rows, 6))
    likely = rng.random((4, 4, 4)) > 0.5
    return X.astype(float), _drawn(rng, np.where(likely[X[:, 0], X[:, 1], X[:, 2]], 0.92, 0.08))


def shells(rng: np.random.Generator, rows: int) -> Table:
    """Inside or outside of a sphere in ten dimensions (Hastie et al. 2009, example 10.2)."""
    X = rng.normal(size=(rows, 10))
    return X, ((X**2).sum(axis=1) > 9.34).astype(int)


def steps(rng: np.random.Generator, rows: int) -> Table:
    """Thresholds and gaps: a fifth of the cells are missing, and that tells something."""
    X = rng.normal(size=(rows, 8))
    odds = 2.0 * (X[:, 0] > 0.5) - 1.5 * (X[:, 1] > 0) * (X[:, 2] > 0)
    gaps = rng.random(X.shape) < 0.2
    odds += 1.5 * gaps[:, 3]
    return np.where(gaps, np.nan, X), _drawn(rng, 1 / (1 + np.exp(-odds)))


def noise(rng: np.random.Generator, rows: int) -> Table:
    """Nothing to learn: the best log loss is 0.693."""
    return rng.normal(size=(rows, 6)), _drawn(rng, np.full(rows, 0.5))


def waves(rng: np.random.Generator, rows: int) -> Table:
    """34 samples of a damped wave, or of noise, which is wider: as a radar's returns are."""
    is_wave = rng.random(rows) < 0.64
    time = np.arange(34) / 34
    frequency, phase = rng.uniform(0.5, 2.5, (rows, 1)), rng.normal(0, 0.6, (rows, 1))
    wave = np.exp(-time) * np.cos(2 * np.pi * frequency * time + phase)
    X = np.where(is_wave[:, None], wave, 0) + rng.normal(0, 0.35, (rows, 34))
    X += np.where(is_wave[:, None], 0, rng.normal(0, 0.45, (rows, 34)))
    wrong = rng.random(rows) < 0.04
    return X, (is_wave ^ wrong).astype(int)


def moons(rng: np.random.Generator, rows: int) -> Table:
    """Two half circles that lie in each other, and six columns of noise."""
    X, y = toy.make_moons(rows, noise=0.3, random_state=_seed(rng))
    return np.c_[X, rng.normal(size=(rows, 6))], y


def quantiles(rng: np.random.Generator, rows: int) -> Table:
    """Three classes by the distance from the centre of six columns."""
    X, y = toy.make_gaussian_quantiles(
        n_samples=rows, n_features=6, n_classes=3, random_state=_seed(rng)
    )
    return X, y


def six_classes(rng: np.random.Generator, rows: int) -> Table:
    """Six classes in clusters, of twelve columns eight that tell something."""
    X, y = toy.make_classification(
        n_samples=rows,
        n_features=12,
        n_informative=8,
        n_redundant=2,
        n_classes=6,
        n_clusters_per_class=1,
        class_sep=1.2,
        flip_y=0.05,
        random_state=_seed(rng),
    )
    return X, y


def weak(rng: np.random.Generator, rows: int) -> Table:
    """Two classes, each in two clusters that overlap; of twenty columns six tell something."""
    X, y = toy.make_classification(
        n_samples=rows,
        n_features=20,
        n_informative=6,
        n_redundant=4,
        class_sep=0.7,
        flip_y=0.1,
        random_state=_seed(rng),
    )
    return X, y


def breast_cancer(rng: np.random.Generator, rows: int) -> Table:
    """Wisconsin, 30 columns."""
    return _some(rng, rows, *toy.load_breast_cancer(return_X_y=True))


def wine(rng: np.random.Generator, rows: int) -> Table:
    """Three cultivars, 178 rows at most."""
    return _some(rng, rows, *toy.load_wine(return_X_y=True))


def digits(rng: np.random.Generator, rows: int) -> Table:
    """The handwritten digits 3, 5, 8 and 9, each pixel's place in a block of two by two."""
    X, y = toy.load_digits(return_X_y=True)
    blocks = X.reshape(-1, 4, 2, 4, 2).mean(axis=(2, 4)).reshape(len(X), 16)
    confusable = np.isin(y, (3, 5, 8, 9))
    return _some(rng, rows, blocks[confusable], y[confusable])


def pima(rng: np.random.Generator, rows: int) -> Table:
    """The Pima table as its config reads it: a zero that cannot be is missing."""
    config = config_file.load("configs/pima.yaml", {})
    dataset = ingest(config, open_source(config.data))
    return _some(rng, rows, dataset.X.to_numpy(), dataset.y.to_numpy())


def prepared(X: NDArray[np.float64], y: NDArray[np.int64], tune: Tune) -> tuple[Config, Dataset]:
    """The table as the steps take it; of two classes 1 is the positive one."""
    table = pd.DataFrame(X).rename(columns=lambda place: f"x{place}").assign(y=y)
    columns = {name: NumberColumn() for name in table.columns.drop("y")}
    config = Config(
        data=Data(
            source="made.csv",
            target="y",
            positive=1 if len(np.unique(y)) == 2 else None,
            columns=columns,
        ),
        tune=tune,
        registry=Registry(model="made"),
    )
    return config, build_dataset(config, table, digest="0" * 64)


def _drawn(rng: np.random.Generator, chance: NDArray[np.float64]) -> NDArray[np.int64]:
    return (rng.random(len(chance)) < chance).astype(int)


def _some(
    rng: np.random.Generator, rows: int, X: NDArray[np.float64], y: NDArray[np.int64]
) -> Table:
    """So many of the rows, or all of them."""
    places = rng.permutation(len(y))[:rows]
    return X[places], y[places]


def _seed(rng: np.random.Generator) -> int:
    return int(rng.integers(2**31))
