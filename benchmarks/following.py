"""Whether the blend follows the family that suits a table, on made tables with a known truth.

Each table is split once; the search, the weights and the threshold see the training part only.
"""

import argparse
import contextlib
import io
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import example_tables
from choices import some_of

from pipeline.config.tune import Tune
from pipeline.evaluation import metrics
from pipeline.models import families as models
from pipeline.results import Dataset, Trial
from pipeline.steps import procedure

ROWS = 1000
TABLES = {
    make.__name__: make
    for make in (
        example_tables.linear,
        example_tables.exclusive_or,
        example_tables.categories,
        example_tables.shells,
        example_tables.steps,
        example_tables.noise,
    )
}


def main() -> None:
    """Prints a row per table: test log loss of each family's choice, of the blend, the weights."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", type=some_of(TABLES), default=tuple(TABLES))
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    for name in options.only:
        X, y = TABLES[name](np.random.default_rng(options.seed), ROWS)
        config, dataset = example_tables.prepared(X, y, Tune())
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


def _fit(dataset: Dataset, trial: Trial) -> Any:
    return models.build(trial.family, trial.params, 0).fit(dataset.X_train, dataset.y_train)


def _loss(dataset: Dataset, model: Any) -> float:
    return metrics.value("log_loss", metrics.predict(dataset, model, None))


if __name__ == "__main__":
    main()
