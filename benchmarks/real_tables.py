"""The whole procedure on tables as they come, against two models with scikit-learn's defaults.

    python benchmarks/real_tables.py TABLE.csv=TARGET ... [--folds 3] [--max_evals 12]

Of each table the columns are inferred, as of `data: {source, target}` alone. Every row is
predicted once, by models that never saw it. Prints a table: the mean log loss (of amounts, RMSE)
over the outer folds of the procedure, of logistic or ridge regression and of histogram gradient
boosting, each with scikit-learn's defaults on the same encoding, and by how much the procedure is
better than the better of the two, in standard errors of the folds' differences. Of amounts also
coverage and mean width of its 90 % intervals, and of those of plain split conformal prediction.
"""

import argparse
import sys
import time
import warnings
from contextlib import redirect_stdout
from math import ceil

import numpy as np
from threadpoolctl import threadpool_limits

from pipeline.config.load import load
from pipeline.config.of_task import of_task
from pipeline.datasets.dataset import build_dataset
from pipeline.datasets.sources import open_source
from pipeline.evaluation import metrics
from pipeline.evaluation.cross_validation import make_folds
from pipeline.models.encoders import Features
from pipeline.models.families import boosting, plain
from pipeline.steps import procedure
from pipeline.tasks import COVERAGE


def split_conformal(part, features: Features):
    """Boosting on two thirds of the training part, its absolute errors on the last (Lei 2018)."""
    fitted = np.random.default_rng(0).permutation(len(part.y_train)) % 3 > 0
    model = boosting(features).fit(part.X_train[fitted], part.y_train[fitted])
    errors = np.sort(np.abs(part.y_train - model.predict(part.X_train))[~fitted])
    reach = errors[ceil((len(errors) + 1) * COVERAGE) - 1]
    return float((np.abs(part.y_test - model.predict(part.X_test)) <= reach).mean()), 2 * reach


def compare(path: str, target: str, folds: int, max_evals: int, config_path: str):
    overrides = {"data.source": path, "data.target": target}
    config = load(config_path, {**overrides, "tune.max_evals": str(max_evals)})
    source = open_source(config.data)
    dataset = build_dataset(config, source.read(), source.digest())
    task, features = dataset.contract.task, Features.of(dataset.contract)
    config = of_task(config, task, *([] if task.has_classes else [float(dataset.y.min())]))
    losses, intervals = [], []
    for train, test in make_folds(task, dataset.y, folds, 0):
        part = dataset.parted(train, test)
        with redirect_stdout(sys.stderr):  # hyperopt's bars
            _, training = procedure.run(config, part)
        models = [training.model]
        with threadpool_limits(2), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            models += [
                model.fit(part.X_train, part.y_train)
                for model in (plain(features), boosting(features))
            ]
        given = [metrics.predict(part, model, None, training.scores) for model in models]
        losses.append([metrics.value(task.loss, one) for one in given])
        if not task.has_classes:
            ours = [metrics.value(name, given[0]) for name in ("coverage", "interval_width")]
            intervals.append([*ours, *split_conformal(part, features)])
    return dataset, np.array(losses), np.array(intervals)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("tables", nargs="+", metavar="TABLE=TARGET")
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--max_evals", type=int, default=12)
    parser.add_argument("--config", required=True, help="a config of data.source and data.target")
    options = parser.parse_args()
    print("| table | rows | columns | procedure | linear | boosting | gain, s.e. | seconds |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for table in options.tables:
        path, _, target = table.rpartition("=")
        start = time.perf_counter()
        dataset, losses, intervals = compare(
            path, target, options.folds, options.max_evals, options.config
        )
        means = losses.mean(axis=0)
        best = 1 + int(means[1:].argmin())
        differences = losses[:, best] - losses[:, 0]
        error = np.sqrt((1 / options.folds + 1 / (options.folds - 1)) * differences.var(ddof=1))
        print(
            f"| {dataset.name} | {len(dataset.X)} | {dataset.X.shape[1]} | "
            + " | ".join(f"{mean:.4f}" for mean in means)
            + f" | {differences.mean() / error:+.1f} | {time.perf_counter() - start:.0f} |"
            + "".join(
                f" {mean:.4g} |" for mean in (intervals.mean(axis=0) if len(intervals) else [])
            ),
            flush=True,
        )


if __name__ == "__main__":
    main()
