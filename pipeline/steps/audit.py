"""Audit: the whole procedure inside an outer cross-validation, against simpler models."""

import io
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import as_completed
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from threadpoolctl import threadpool_limits

from pipeline.config.sections import Config
from pipeline.errors import ContractError
from pipeline.evaluation import metrics
from pipeline.evaluation.corrected_t_test import Comparison, corrected_t_test
from pipeline.evaluation.cross_validation import Fold, make_folds
from pipeline.evaluation.fitting import fit
from pipeline.models.encoders import Features
from pipeline.models.families import boosting, build, plain, tutorial
from pipeline.reporting import search_figures as figures
from pipeline.results import Dataset, Report, Training, Tuning
from pipeline.tasks import AMOUNT, CLASSIFICATION, METRICS, Task, TaskName
from pipeline.tuning import worker_pool

Procedure = Callable[[Config, Dataset], tuple[Tuning, Training]]
Scores = dict[str, float]
PROCEDURE = "procedure"
OTHERS: Mapping[TaskName, Mapping[str, Callable[[Features], Any]]] = {  # beside the best trial
    **{name: {"plain": plain, "tutorial": tutorial} for name in CLASSIFICATION},
    **{name: {"ridge": plain, "boosting": boosting} for name in AMOUNT},
}
OPTIMISM = "its own cross-validation (optimism)"
FEWEST = 6  # rows of a class in a training part, as ingest asks for


@dataclass(frozen=True)
class OuterFold:
    """The result of one outer fold."""

    place: int
    rows_train: int
    rows_test: int
    scores: dict[str, Scores]  # of the procedure and of the others, on the fold
    inner: Scores  # of the procedure in its own cross-validation


def audit(
    config: Config, dataset: Dataset, procedure: Procedure, on_fold: Callable[[OuterFold], None]
) -> Report:
    """Every row is predicted once, by a model whose search, blend and threshold never saw it.

    All rows of the table take part, but for the earliest with `split.time`, which are trained on
    alone; nothing is chosen by the result. `on_fold` gets each outer fold as it ends. Raises
    ContractError when a class has too few rows.
    """
    task = dataset.contract.task
    outer = _outer_folds(config, dataset)
    folds = []
    for fold in _run(config, dataset, procedure, outer):
        on_fold(fold)
        folds.append(fold)
    folds.sort(key=lambda fold: fold.place)
    by_fold = _by_fold(task, folds)
    share = _share(dataset, folds)
    table = _comparisons(task, by_fold, share)
    return Report(
        metrics=_metrics(table),
        artifacts={
            "audit.csv": table,
            "folds.csv": by_fold,
            "audit.png": _figure(task, by_fold, table),
        },
        note=_note(task, table, len(folds), dataset.rows_note),
    )


def _outer_folds(config: Config, dataset: Dataset) -> list[Fold]:
    """The outer folds, in which the inner ones can be made. Raises ContractError."""
    task, settings, metadata = dataset.contract.task, config.audit, dataset.metadata
    y = dataset.y
    if metadata.times is None and metadata.groups is None:
        if dataset.contract.classes:
            _check_rows_per_class(config, dataset)
        return make_folds(task, y, settings.folds, settings.seed)
    try:
        folds = make_folds(task, y, settings.folds, settings.seed, metadata.of(y))
        for place, (train, _) in enumerate(folds, 1):
            try:
                inside = y.iloc[train]
                make_folds(task, inside, config.tune.folds, config.tune.seed, metadata.of(inside))
            except ContractError as error:
                raise ContractError(
                    f"tune.folds is {config.tune.folds}, and in outer fold {place}: {error}"
                ) from None
    except ContractError as error:
        raise ContractError(f"audit.folds is {settings.folds}: {error}") from None
    return folds


def _share(dataset: Dataset, folds: list[OuterFold]) -> float:
    """Rows of a test fold over those of its training part, which grows from fold to fold in time.

    Then it is the mean of the folds' shares, of which the first are the largest.
    """
    if dataset.metadata.times is not None:
        return sum(fold.rows_test / fold.rows_train for fold in folds) / len(folds)
    return sum(fold.rows_test for fold in folds) / sum(fold.rows_train for fold in folds)


def _check_rows_per_class(config: Config, dataset: Dataset) -> None:
    folds = config.audit.folds
    for label, rows in dataset.y.value_counts().items():
        left = rows - -(-rows // folds)  # without the largest test fold
        needed = max(config.tune.folds, FEWEST)
        if rows < folds or left < needed:
            raise ContractError(
                f"{dataset.contract.target}: the class {label!r} has {rows} rows, too few for "
                f"audit.folds {folds}: every fold needs one, and {needed} must be left to train "
                "on; lower audit.folds, add rows of the class or leave it out"
            )


def _run(
    config: Config, dataset: Dataset, procedure: Procedure, outer: list[Fold]
) -> Iterator[OuterFold]:
    """Outer folds side by side, each search in one process: they never wait for each other."""
    wanted = config.tune.parallelism
    size = min(worker_pool.cores() if wanted == "auto" else wanted, len(outer))
    inner = {"parallelism": 1, "backend": "local"}
    config = config.model_copy(update={"tune": config.tune.model_copy(update=inner)})
    jobs = [(procedure, config, dataset, place, fold) for place, fold in enumerate(outer)]
    if size == 1:
        yield from (_fold(*job) for job in jobs)
        return
    try:
        waiting = [worker_pool.pool(size).schedule(_fold, job) for job in jobs]
        for future in as_completed(waiting):
            yield future.result()
    finally:
        worker_pool.stop()


def _fold(
    procedure: Procedure, config: Config, dataset: Dataset, place: int, fold: Fold
) -> OuterFold:
    train, test = fold
    part = dataset.parted(train, test)
    # hyperopt's progress bars go to standard output: of ten searches they would be a muddle.
    with threadpool_limits(1), warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore", UserWarning)
        tuning, training = procedure(config, part)
        best = tuning.best
        tune, features = config.tune, Features.of(dataset.contract)
        others = {
            "best_trial": build(best.family, best.params, tune.seed, features, tune.estimators),
            **{name: make(features) for name, make in OTHERS[dataset.contract.task.name].items()},
        }
        scores = {PROCEDURE: _scores(part, training.model, training.threshold, training.scores)}
        for name, model in others.items():
            fit(model, part.X_train, part.y_train, part.metadata.of(part.X_train))
            scores[name] = _scores(part, model, None)
    inner = {name: training.metrics[name] for name in dataset.contract.task.search_metrics}
    return OuterFold(place, len(train), len(test), scores, inner)


def _scores(
    dataset: Dataset, model: Any, threshold: float | None, scores: Sequence[float] = ()
) -> Scores:
    predictions = metrics.predict(dataset, model, threshold, scores)
    return {name: metrics.value(name, predictions) for name in predictions.task.metrics}


def _by_fold(task: Task, folds: list[OuterFold]) -> pd.DataFrame:
    """A row per outer fold: every metric of every model, and of the inner cross-validation."""
    return pd.DataFrame(
        {
            "fold": fold.place + 1,
            "rows": fold.rows_test,
            **{
                f"{model} {name}": scores[name]
                for name in task.metrics
                for model, scores in fold.scores.items()
            },
            **{f"inner {name}": value for name, value in fold.inner.items()},
        }
        for fold in folds
    )


def _comparisons(task: Task, by_fold: pd.DataFrame, share: float) -> pd.DataFrame:
    """A row per metric and model that the procedure is compared with, its inner scores the last.

    Differences are the procedure minus the other. Of the inner scores they are by how much the
    procedure's cross-validation was better than what came after.
    """
    rows = []
    for name in task.metrics:
        procedure = by_fold[f"{PROCEDURE} {name}"].to_numpy()
        against = {other: by_fold[f"{other} {name}"].to_numpy() for other in _others(task)}
        differences = {other: procedure - values for other, values in against.items()}
        if name in task.search_metrics:
            against[OPTIMISM] = by_fold[f"inner {name}"].to_numpy()
            differences[OPTIMISM] = METRICS[name].sign * (against[OPTIMISM] - procedure)
        rows += [
            {
                "metric": name,
                "procedure": procedure.mean(),
                "procedure std": procedure.std(ddof=1),
                "against": other,
                "its value": values.mean(),
                **asdict(corrected_t_test(differences[other], share)),
            }
            for other, values in against.items()
        ]
    return pd.DataFrame(rows)


def _others(task: Task) -> tuple[str, ...]:
    """The models that the procedure is compared with."""
    return ("best_trial", *OTHERS[task.name])


def _metrics(table: pd.DataFrame) -> dict[str, float]:
    """For the run: `audit/log_loss`, `tutorial/log_loss`, `p_value/tutorial_log_loss`, ..."""
    logged: dict[str, float] = {}
    for row in table.to_dict("records"):
        name, other = row["metric"], row["against"]
        if other == OPTIMISM:
            logged[f"optimism/{name}"] = row["difference"]
            continue
        logged[f"audit/{name}"], logged[f"audit_std/{name}"] = (
            row["procedure"],
            row["procedure std"],
        )
        logged[f"{other}/{name}"], logged[f"p_value/{other}_{name}"] = (
            row["its value"],
            row["p_value"],
        )
    return logged


def _note(task: Task, table: pd.DataFrame, folds: int, rows: str) -> str:
    """The result in Markdown."""
    how = f" ({rows})" if rows else ""
    lines = [
        f"{folds} outer folds{how}; the whole procedure ran anew in each. Differences are the "
        "procedure minus the other, with a 95 % interval (corrected resampled t-test).",
        "",
        "| metric | procedure | against | its value | difference | 95 % interval | p |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    optimism = []
    for name in task.search_metrics:
        for row in table[table["metric"] == name].to_dict("records"):
            difference, interval = (
                f"{row['difference']:+.4f}",
                f"{row['low']:+.4f} to {row['high']:+.4f}",
            )
            if row["against"] == OPTIMISM:
                optimism.append(f"- {name}: {difference} ({interval})")
                continue
            lines.append(
                f"| {name} | {row['procedure']:.4f} | {row['against']} | {row['its value']:.4f} "
                f"| {difference} | {interval} | {row['p_value']:.3f} |"
            )
    lines += ["", "The procedure's own cross-validation was too optimistic by:", "", *optimism]
    return "\n".join(lines)


def _figure(task: Task, by_fold: pd.DataFrame, table: pd.DataFrame) -> Figure:
    loss = by_fold[f"{PROCEDURE} {task.loss}"]
    rows = table[table["metric"] == task.loss].set_index("against")
    return figures.audit(
        {other: loss - by_fold[f"{other} {task.loss}"] for other in _others(task)},
        {
            other: Comparison(*rows.loc[other, ["difference", "low", "high", "p_value"]])
            for other in _others(task)
        },
        by_fold[f"inner {task.loss}"],
        loss,
        METRICS[task.loss].title,
    )
