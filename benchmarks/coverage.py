"""How often intervals around amounts hold, on splits that are drawn anew.

    python benchmarks/coverage.py TABLE.csv=TARGET ... [--splits 20] [--max_evals 7]

Of each table the columns are inferred. For each split the whole procedure runs on the training
part, and the share of the test rows that its 90 % intervals hold is within sampling error if the
beta-binomial distribution of that share, of so many errors and test rows, has it within its middle
95 % (Vovk 2012, Angelopoulos and Bates 2023). Prints a row per table: mean coverage, on how many
splits it is within, below and above, mean width, the share of the models whose difficulty depends
on the row, and coverage and width of plain split conformal prediction around boosting.
"""

import argparse
import sys
import warnings
from contextlib import redirect_stdout

import numpy as np
from real_tables import split_conformal
from scipy.stats import betabinom
from sklearn.dummy import DummyRegressor

from pipeline.config.load import load
from pipeline.config.of_task import of_task
from pipeline.datasets.dataset import build_dataset
from pipeline.datasets.sources import open_source
from pipeline.evaluation import metrics
from pipeline.inference.runtimes import DIFFICULTY
from pipeline.models.encoders import Features
from pipeline.steps import procedure
from pipeline.tasks import COVERAGE


def side(share: float, errors: int, rows: int) -> int:
    """Where the share lies: -1 below sampling error, 0 within, 1 above."""
    beyond = int((errors + 1) * (1 - COVERAGE) / 2) * 2
    held = betabinom(rows, errors + 1 - beyond, beyond)
    count = round(share * rows)
    return int(count > held.ppf(0.975)) - int(count < held.ppf(0.025))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("tables", nargs="+", metavar="TABLE=TARGET")
    parser.add_argument("--splits", type=int, default=20)
    parser.add_argument("--max_evals", type=int, default=7)
    parser.add_argument("--families", default="")
    parser.add_argument("--config", required=True, help="a config of data.source and data.target")
    options = parser.parse_args()
    print("| table | rows | test | coverage | within | below | above | width | by row | split |  |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for table in options.tables:
        path, _, target = table.rpartition("=")
        overrides = {"data.source": path, "data.target": target}
        overrides |= {"tune.max_evals": str(options.max_evals)}
        overrides |= {"tune.families": options.families} if options.families else {}
        config = load(options.config, overrides)
        source = open_source(config.data)
        frame, digest = source.read(), source.digest()
        rows = []
        for seed in range(options.splits):
            split = config.split.model_copy(update={"seed": seed})
            redrawn = config.model_copy(update={"split": split})
            dataset = build_dataset(redrawn, frame.copy(), digest)
            settled = of_task(redrawn, dataset.contract.task, float(dataset.y.min()))
            with redirect_stdout(sys.stderr), warnings.catch_warnings():  # hyperopt's bars
                warnings.simplefilter("ignore")
                _, training = procedure.run(settled, dataset)
            given = metrics.predict(dataset, training.model, None, training.scores)
            share = metrics.value("coverage", given)
            by_row = not isinstance(getattr(training.model, DIFFICULTY), DummyRegressor)
            place = side(share, len(training.scores), len(given.truth))
            plain = split_conformal(dataset, Features.of(dataset.contract))
            rows.append((share, place, metrics.value("interval_width", given), by_row, *plain))
        share, _, width, by_row, plain_share, plain_width = np.mean(rows, axis=0)
        sides = [row[1] for row in rows]
        print(
            f"| {dataset.name} | {dataset.rows} | {len(dataset.y_test)} | {share:.3f} | "
            f"{sides.count(0)} of {options.splits} | {sides.count(-1)} | {sides.count(1)} | "
            f"{width:.4g} | {by_row:.0%} | {plain_share:.3f} | {plain_width:.4g} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
