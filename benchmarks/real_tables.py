"""The whole procedure on tables as they come, against two models with scikit-learn's defaults.

    python benchmarks/real_tables.py TABLE.csv=TARGET ... [--folds 3] [--max_evals 12]

Of each table the columns are inferred, as of `data: {source, target}` alone. Every row is
predicted once, by models that never saw it. Prints a table: the mean log loss over the outer
folds of the procedure, of logistic regression and of histogram gradient boosting, each with
scikit-learn's defaults on the same encoding, and by how much the procedure is better than the
better of the two, in standard errors of the folds' differences.
"""

import argparse
import sys
import time
import warnings
from contextlib import redirect_stdout

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import make_pipeline
from threadpoolctl import threadpool_limits

from pipeline.config.load import load
from pipeline.datasets.dataset import build_dataset
from pipeline.datasets.sources import open_source
from pipeline.evaluation import metrics
from pipeline.evaluation.cross_validation import make_folds
from pipeline.models.encoders import Features, native
from pipeline.models.families import plain
from pipeline.steps import procedure


def boosting(features: Features):
    steps, places = native(features, 0)
    return make_pipeline(
        *steps, HistGradientBoostingClassifier(random_state=0, categorical_features=places)
    )


def compare(path: str, target: str, folds: int, max_evals: int, config_path: str):
    overrides = {"data.source": path, "data.target": target}
    config = load(config_path, {**overrides, "tune.max_evals": str(max_evals)})
    source = open_source(config.data)
    dataset = build_dataset(config, source.read(), source.digest())
    features = Features.of(dataset.contract)
    losses = []
    for train, test in make_folds(dataset.contract.task, dataset.y, folds, 0):
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
        losses.append(
            [metrics.value("log_loss", metrics.predict(part, model, None)) for model in models]
        )
    return dataset, np.array(losses)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("tables", nargs="+", metavar="TABLE=TARGET")
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--max_evals", type=int, default=12)
    parser.add_argument("--config", required=True, help="a config of data.source and data.target")
    options = parser.parse_args()
    print("| table | rows | columns | procedure | logistic | boosting | gain, s.e. | seconds |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for table in options.tables:
        path, _, target = table.rpartition("=")
        start = time.perf_counter()
        dataset, losses = compare(path, target, options.folds, options.max_evals, options.config)
        means = losses.mean(axis=0)
        best = 1 + int(means[1:].argmin())
        differences = losses[:, best] - losses[:, 0]
        error = np.sqrt((1 / options.folds + 1 / (options.folds - 1)) * differences.var(ddof=1))
        print(
            f"| {dataset.name} | {len(dataset.X)} | {dataset.X.shape[1]} | "
            + " | ".join(f"{mean:.4f}" for mean in means)
            + f" | {differences.mean() / error:+.1f} | {time.perf_counter() - start:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
