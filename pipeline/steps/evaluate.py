"""Evaluate: the test part, used once, with intervals and against two baselines."""

import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import classification_report, roc_auc_score
from threadpoolctl import threadpool_limits

from pipeline.config.sections import Evaluate
from pipeline.datasets.sampling import sample
from pipeline.evaluation import bootstrap, metrics
from pipeline.evaluation.amounts import AmountPredictions
from pipeline.evaluation.fitting import fit
from pipeline.evaluation.metrics import (
    ROW_LOSSES,
    AnyPredictions,
    Predictions,
    mean,
    true_class_probability,
)
from pipeline.inference.runtimes import of_estimator
from pipeline.models.encoders import Features
from pipeline.models.families import BASELINES
from pipeline.reporting import amount_figures
from pipeline.reporting import model_figures as figures
from pipeline.reporting.markdown import row
from pipeline.reporting.style import label
from pipeline.reporting.tables import labelled, numbered
from pipeline.results import (
    Artifacts,
    Dataset,
    Evaluation,
    Outputs,
    Report,
    Training,
    cv_metrics,
)
from pipeline.schema.matrix import Matrix
from pipeline.schema.rules import decode
from pipeline.tasks import AMOUNT, CLASSIFICATION, METRICS, TaskName

WORST_ROWS = 20
REPEATS = 5  # of each column, where its rows are few
MOST_CELLS = 2**21  # of the shuffled tables that a model is asked at once
MOST_ASKED = 2**26  # cells of all shuffled tables
MOST_SHUFFLED = 200_000  # rows of all shuffled tables
FEWEST_SHUFFLED = 100  # of each column, however many columns there are
FEWEST_REPEATS = 2
LARGE = 100  # from here on decimals of a metric say nothing
MOST_DRAWN = 100_000  # rows of pictures, and of metrics over thresholds
MOST_FITTED = 100_000  # rows that a baseline is fitted on
OVER_THRESHOLDS: tuple[str, ...] = ("accuracy", "precision", "recall", "f1")


def evaluate(evaluate: Evaluate, dataset: Dataset, training: Training) -> Evaluation:
    """Every metric on the test part, each with its 95 % bootstrap interval."""
    # Small tables: threads only cost. Raw columns need not converge, they are the baseline's
    # point; a metric that is not defined without a class is NaN or 0.
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return _evaluate(evaluate, dataset, training)


def _evaluate(evaluate: Evaluate, dataset: Dataset, training: Training) -> Evaluation:
    features = Features.of(dataset.contract)
    predictions = metrics.predict(dataset, training.model, training.threshold, training.scores)
    importance = _importance(evaluate, dataset, training, predictions)
    values = {name: metrics.value(name, predictions) for name in predictions.task.metrics}
    loss = METRICS[predictions.task.loss].title
    intervals = bootstrap.intervals(predictions, evaluate.resamples, evaluate.seed)
    baselines = {
        name: _baseline(dataset, make(features))
        for name, make in BASELINES[predictions.task.name].items()
    }
    return Evaluation(
        metrics=values,
        intervals=intervals,
        baselines=baselines,
        report=Report(
            metrics={
                **cv_metrics(training.metrics, training.spread),
                **_metrics(values, intervals, baselines),
            },
            tags=dataset.digests,
            artifacts={
                "metrics.csv": _table(values, intervals, baselines),
                "importance.csv": importance,
                "importance.png": figures.importance(
                    importance, "the columns, on the test part", f"rise in {loss} when shuffled"
                ),
                **ARTIFACTS[predictions.task.name](evaluate, dataset, predictions, importance),
            },
            note=_note(dataset, values, intervals, baselines) + _samples(dataset, predictions),
        ),
    )


def _of_classes(
    evaluate: Evaluate, dataset: Dataset, predictions: Predictions, _: pd.DataFrame
) -> Artifacts:
    drawn = predictions.where(sample(predictions.truth, MOST_DRAWN, evaluate.seed))
    return {
        "classes.csv": _classes(dataset, predictions),
        "worst_rows.csv": _worst_rows(dataset, predictions),
        **_figures(evaluate, dataset, drawn),
    }


def _of_amounts(
    _: Evaluate, dataset: Dataset, predictions: AmountPredictions, importance: pd.DataFrame
) -> Artifacts:
    drawn = amount_figures.of_test_part(
        predictions,
        dataset.X_test[list(importance["name"])],
        dataset.contract.columns,
        dataset.contract.target,
    )
    return {
        "worst_rows.csv": _largest_errors(dataset, predictions),
        "coverage.csv": amount_figures.coverage_by_decile(predictions),
        **{f"{name}.png": figure for name, figure in drawn.items()},
    }


ARTIFACTS: dict[TaskName, Callable[..., Artifacts]] = {
    **dict.fromkeys(CLASSIFICATION, _of_classes),
    **dict.fromkeys(AMOUNT, _of_amounts),
}


def _baseline(dataset: Dataset, model: Any) -> dict[str, float]:
    rows = sample(dataset.y_train, MOST_FITTED, seed=0)
    X, y = dataset.X_train.iloc[rows], dataset.y_train.iloc[rows]
    fit(model, X, y, dataset.metadata.of(X))
    predictions = metrics.predict(dataset, model, None)
    return {name: metrics.value(name, predictions) for name in predictions.task.metrics}


def _metrics(
    values: dict[str, float],
    intervals: dict[str, tuple[float, float]],
    baselines: dict[str, dict[str, float]],
) -> dict[str, float]:
    """For the run: `test/log_loss`, `test_95/log_loss_low`, `dummy/log_loss`, ..."""
    metrics = {f"test/{name}": value for name, value in values.items()}
    for name, (low, high) in intervals.items():
        metrics |= {f"test_95/{name}_low": low, f"test_95/{name}_high": high}
    for baseline, scores in baselines.items():
        metrics |= {f"{baseline}/{name}": value for name, value in scores.items()}
    return metrics


def _table(values: Any, intervals: Any, baselines: dict[str, dict[str, float]]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "metric": name,
            "value": value,
            "low (95 %)": intervals[name][0],
            "high (95 %)": intervals[name][1],
            **{baseline: scores[name] for baseline, scores in baselines.items()},
        }
        for name, value in values.items()
    )


def _classes(dataset: Dataset, predictions: Predictions) -> pd.DataFrame:
    """Precision, recall and F1 of each class, their plain and weighted means; ROC AUC of each."""
    places = list(range(predictions.classes))
    report = pd.DataFrame(
        classification_report(
            predictions.truth,
            predictions.labels,
            labels=places,
            target_names=list(map(str, dataset.class_names)),
            sample_weight=predictions.metadata.sample_weight,
            output_dict=True,
            zero_division=0,
        )
    ).T
    report["roc_auc, class against rest"] = pd.Series(
        {
            str(name): roc_auc_score(
                predictions.truth == place,
                predictions.probabilities[:, place],
                sample_weight=predictions.metadata.sample_weight,
            )
            for place, name in enumerate(dataset.class_names)
            if 0 < (predictions.truth == place).mean() < 1
        }
    )
    return labelled(report, "class")


def _importance(
    evaluate: Evaluate, dataset: Dataset, training: Training, predictions: AnyPredictions
) -> pd.DataFrame:
    """How much the task's loss rises when a column is shuffled (Breiman 2001), several times each.

    As scikit-learn's `permutation_importance`, which asks the model anew for each of those tables:
    many small ones take it as long as one large one. Of many rows a stratified sample is shuffled.
    """
    most, repeats = _shuffles(dataset)
    rows = sample(predictions.truth, most, evaluate.seed)
    X, predictions = dataset.X_test.iloc[rows].to_numpy(), predictions.where(rows)
    rng = np.random.default_rng(evaluate.seed)
    shuffles = [rng.permutation(len(X)) for _ in range(repeats)]
    rises = np.empty((X.shape[1], repeats))
    row_loss = ROW_LOSSES[predictions.task.name]

    def mean_loss(given: Outputs) -> float:
        losses = row_loss(given, predictions.truth)
        return row_loss.of_mean(mean(losses, predictions.weights))

    predict = training.compiled or of_estimator(training.model, dataset.contract)
    least = mean_loss(predict(X))
    at_once = max(1, MOST_CELLS // (repeats * X.size))
    for start in range(0, X.shape[1], at_once):
        places = range(start, min(start + at_once, X.shape[1]))
        tables = [_shuffled(X, place, order) for place in places for order in shuffles]
        given = predict(np.concatenate(tables))
        losses = [mean_loss(part) for part in np.split(given, len(tables))]
        rises[start : places.stop] = np.reshape(losses, (-1, repeats)) - least
    table = pd.DataFrame(
        {"name": dataset.X_test.columns, "mean": rises.mean(axis=1), "std": rises.std(axis=1)}
    )
    return table.sort_values("mean", ascending=False)


def _shuffles(dataset: Dataset) -> tuple[int, int]:
    """In how many rows each column is shuffled, and how often; all columns in bounded time.

    Fewer repeats of more rows are closer to the truth than more of fewer: rows differ more.
    """
    rows, columns = dataset.X_test.shape
    each = max(FEWEST_SHUFFLED, min(MOST_SHUFFLED // columns, MOST_ASKED // columns**2))
    repeats = min(REPEATS, max(FEWEST_REPEATS, each // rows))
    return each // repeats, repeats


def _shuffled(X: Matrix, place: int, order: NDArray[np.intp]) -> Matrix:
    table = X.copy()
    table[:, place] = X[order, place]
    return table


def _worst_rows(dataset: Dataset, predictions: Predictions) -> pd.DataFrame:
    """The rows whose true class got the least probability."""
    of_truth = true_class_probability(predictions.probabilities, predictions.truth)
    classes = np.asarray(dataset.contract.classes, dtype=object)
    columns: dict[str, Any] = {
        dataset.contract.target: dataset.y_test.to_numpy(),
        "predicted": classes[predictions.labels],
        "probability of the truth": of_truth,
    }
    return _rows(dataset, columns, np.argsort(of_truth, kind="stable")[:WORST_ROWS])


def _largest_errors(dataset: Dataset, p: AmountPredictions) -> pd.DataFrame:
    """The rows whose amounts are furthest from those predicted."""
    columns = {dataset.contract.target: p.truth, "value": p.value, "low": p.low, "high": p.high}
    worst = np.argsort(-np.abs(p.errors), kind="stable")[:WORST_ROWS]
    return _rows(dataset, {**columns, "error": p.errors}, worst)


def _rows(dataset: Dataset, columns: dict[str, Any], places: NDArray[np.intp]) -> pd.DataFrame:
    """Rows of the test part as the table has them, with more columns of all its rows."""
    table = numbered(decode(dataset.contract.columns, dataset.X_test.iloc[places]))
    for place, (name, values) in enumerate(columns.items()):  # first, however many columns follow
        table.insert(place, name, values[places], allow_duplicates=True)
    return table


def _note(
    dataset: Dataset,
    values: dict[str, float],
    intervals: dict[str, tuple[float, float]],
    baselines: dict[str, dict[str, float]],
) -> str:
    """How good the model is, beside the baselines, in Markdown."""
    names = ["test metric", "value", "95 % interval", *baselines]
    lines = [row(names), row(["---"] * len(names))]
    for name, value in values.items():
        low, high = intervals[name]
        others = [_figure(scores[name]) for scores in baselines.values()]
        lines.append(row([name, f"{value:.3f}", f"{low:.3f} to {high:.3f}", *others]))
    table = "\n".join(lines)
    return f"The model on {len(dataset.y_test)} rows that it was not trained on.\n\n{table}\n\n"


def summary(dataset: Dataset, evaluation: Evaluation) -> str:
    """How good the model is on the test part, in a sentence for the terminal."""
    dummy = evaluation.baselines["dummy"]
    figures = [
        f"{METRICS[name].title} {_short(evaluation.metrics[name])} "
        f"({_short(low)} to {_short(high)}; dummy {_short(dummy[name])})"
        for name in dataset.contract.task.search_metrics
        for low, high in [evaluation.intervals[name]]
    ]
    rows = f"{len(dataset.y_test)} rows that the model was not trained on"
    return f"on {rows}, with 95 % intervals: {', '.join(figures)}"


def _short(value: float) -> str:
    """A metric in three decimals; of large amounts none."""
    return f"{value:.3f}" if not abs(value) >= LARGE else f"{value:.0f}"


def _figure(value: float) -> str:
    """A metric in a table; empty where it is not defined."""
    return "" if np.isnan(value) else f"{value:.3f}"


def _samples(dataset: Dataset, predictions: AnyPredictions) -> str:
    """What is of a sample and not of all rows, in a sentence; empty where nothing is."""
    tested, trained = len(predictions.truth), len(dataset.y_train)
    sizes = (
        ("importances are of", _shuffles(dataset)[0], tested),
        ("intervals are drawn from", bootstrap.MOST_ROWS, tested),
        ("pictures and metrics over thresholds are of", MOST_DRAWN, tested),
        ("baselines are fitted on", MOST_FITTED, trained),
    )
    sampled = [f"{what} {most} of {rows} rows" for what, most, rows in sizes if rows > most]
    return f"Drawn by chance: {'; '.join(sampled)}." if sampled else ""


def _figures(evaluate: Evaluate, dataset: Dataset, predictions: Predictions) -> Artifacts:
    drawn = figures.of_test_part(predictions, dataset.class_names, evaluate.seed)
    artifacts: Artifacts = {f"{name}.png": figure for name, figure in drawn.items()}
    if predictions.threshold is not None and predictions.positive is not None:
        table = _thresholds(predictions)
        positive = label(dataset.class_names[predictions.positive])
        what = f"class {positive} on {len(predictions.truth)} rows of the test part"
        artifacts["thresholds.csv"] = table
        artifacts["thresholds.png"] = figures.thresholds(table, predictions.threshold, what)
    return artifacts


def _thresholds(predictions: Predictions) -> pd.DataFrame:
    """Metrics at each threshold; no precision where no row is predicted to be positive."""
    rows: list[dict[str, float]] = []
    for threshold in np.linspace(0.05, 0.95, 19).tolist():
        at = replace(predictions, threshold=threshold)
        values = {str(name): metrics.value(name, at) for name in OVER_THRESHOLDS}
        if not (at.labels == at.positive).any():
            values["precision"] = np.nan
        rows.append({"threshold": threshold, **values})
    return pd.DataFrame(rows)
