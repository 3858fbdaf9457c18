"""Audit: the whole procedure inside an outer cross-validation, against simpler models."""

import io
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import as_completed
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedKFold
from threadpoolctl import threadpool_limits

from pipeline.config.sections import Config
from pipeline.errors import ContractError
from pipeline.evaluation import metrics
from pipeline.evaluation.corrected_t_test import Comparison, corrected_t_test
from pipeline.evaluation.cross_validation import Fold
from pipeline.models import families as models
from pipeline.reporting import figures
from pipeline.results import Artifacts, Dataset, Report, Training, Tuning
from pipeline.tasks import METRICS, SEARCH_METRICS
from pipeline.tuning import worker_pool as workers

Procedure = Callable[[Config, Dataset], tuple[Tuning, Training]]
Scores = dict[str, float]
Comparisons = dict[str, dict[str, Comparison]]
OWN = "procedure"
OTHERS = ("best_trial", "plain", "tutorial")
FEWEST = 6  # rows of a class in a training part, as ingest asks for


@dataclass(frozen=True)
class OuterFold:
    """What one outer fold has shown."""

    place: int
    rows_train: int
    rows_test: int
    scores: dict[str, Scores]  # of the procedure and of the others, on the fold
    inner: Scores  # what the procedure's own cross-validation said of it


def audit(
    config: Config, dataset: Dataset, procedure: Procedure, on_fold: Callable[[OuterFold], None]
) -> Report:
    """Every row is predicted once, by a model whose search, blend and threshold never saw it.

    All rows of the table take part; nothing is chosen by the result. `on_fold` gets each outer
    fold as it ends. Raises ContractError when a class has too few rows.
    """
    _check_rows_per_class(config, dataset)
    splitter = StratifiedKFold(config.audit.folds, shuffle=True, random_state=config.audit.seed)
    outer = list(splitter.split(dataset.X, dataset.y))
    folds = []
    for fold in _run(config, dataset, procedure, outer):
        on_fold(fold)
        folds.append(fold)
    folds.sort(key=lambda fold: fold.place)
    comparisons = {other: _compare(folds, other) for other in OTHERS}
    optimism = _optimism(folds)
    return Report(
        metrics=_metrics(folds, comparisons, optimism),
        artifacts=_artifacts(folds, comparisons, optimism),
        note=_summary(folds, comparisons, optimism),
    )


def _check_rows_per_class(config: Config, dataset: Dataset) -> None:
    folds = config.audit.folds
    for label, rows in dataset.y.value_counts().items():
        kept = rows - -(-rows // folds)  # without the largest test fold
        needed = max(config.tune.folds, FEWEST)
        if rows < folds or kept < needed:
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
    size = min(workers.cores() if wanted == "auto" else wanted, len(outer))
    inner = {"parallelism": 1, "backend": "local"}
    config = config.model_copy(update={"tune": config.tune.model_copy(update=inner)})
    jobs = [(procedure, config, dataset, place, fold) for place, fold in enumerate(outer)]
    if size == 1:
        yield from (_fold(*job) for job in jobs)
        return
    try:
        waiting = [workers.pool(size).schedule(_fold, job) for job in jobs]
        for future in as_completed(waiting):
            yield future.result()
    finally:
        workers.stop()


def _fold(
    procedure: Procedure, config: Config, dataset: Dataset, place: int, fold: Fold
) -> OuterFold:
    train, test = fold
    X, y = dataset.X, dataset.y
    part = replace(
        dataset,
        X_train=X.iloc[train],
        y_train=y.iloc[train],
        X_test=X.iloc[test],
        y_test=y.iloc[test],
    )
    # hyperopt's progress bars go to standard output: of ten searches they would be a muddle.
    with threadpool_limits(1), warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore", UserWarning)
        tuning, training = procedure(config, part)
        best = tuning.best
        tune = config.tune
        others = {
            "best_trial": models.build(best.family, best.params, tune.seed, tune.estimators),
            "plain": models.plain(),
            "tutorial": models.tutorial(),
        }
        scores = {OWN: _scores(part, training.model, training.threshold)}
        for name, model in others.items():
            scores[name] = _scores(part, model.fit(part.X_train, part.y_train), None)
    inner: Scores = {name: training.metrics[name] for name in SEARCH_METRICS}
    return OuterFold(place, len(train), len(test), scores, inner)


def _scores(dataset: Dataset, model: Any, threshold: float | None) -> Scores:
    predictions = metrics.predict(dataset, model, threshold)
    return {name: metrics.value(name, predictions) for name in METRICS}


def _column(folds: list[OuterFold], model: str, name: str) -> NDArray[np.float64]:
    """One metric of one model on every outer fold."""
    return np.array([fold.scores[model][name] for fold in folds])


def _compare(folds: list[OuterFold], other: str) -> dict[str, Comparison]:
    """The procedure minus the other, metric by metric."""
    return {
        name: corrected_t_test(
            _column(folds, OWN, name) - _column(folds, other, name), _share(folds)
        )
        for name in METRICS
    }


def _optimism(folds: list[OuterFold]) -> dict[str, Comparison]:
    """By how much the procedure's own cross-validation was better than what came after."""
    found: dict[str, Comparison] = {}
    for name in SEARCH_METRICS:
        inner = np.array([fold.inner[name] for fold in folds])
        gained = inner - _column(folds, OWN, name)
        found[name] = corrected_t_test(METRICS[name].sign * gained, _share(folds))
    return found


def _share(folds: list[OuterFold]) -> float:
    return sum(fold.rows_test for fold in folds) / sum(fold.rows_train for fold in folds)


def _metrics(
    folds: list[OuterFold], comparisons: Comparisons, optimism: dict[str, Comparison]
) -> dict[str, float]:
    """For the run: `audit/log_loss`, `tutorial/log_loss`, `p_value/tutorial_log_loss`, ..."""
    shown: dict[str, float] = {}
    for name in METRICS:
        own = _column(folds, OWN, name)
        shown[f"audit/{name}"] = float(own.mean())
        shown[f"audit_std/{name}"] = float(own.std(ddof=1))
        for other, compared in comparisons.items():
            shown[f"{other}/{name}"] = float(_column(folds, other, name).mean())
            shown[f"p_value/{other}_{name}"] = compared[name].p_value
    shown |= {f"optimism/{name}": found.difference for name, found in optimism.items()}
    return shown


def _summary(
    folds: list[OuterFold], comparisons: Comparisons, optimism: dict[str, Comparison]
) -> str:
    """What was found, in Markdown."""
    lines = [
        f"{len(folds)} outer folds; the whole procedure ran anew in each. Differences are the "
        "procedure minus the other, with a 95 % interval (corrected resampled t-test).",
        "",
        "| metric | procedure | against | its value | difference | 95 % interval | p |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name in SEARCH_METRICS:
        own = _column(folds, OWN, name).mean()
        for other, compared in comparisons.items():
            found, value = compared[name], _column(folds, other, name).mean()
            interval = f"{found.low:+.4f} to {found.high:+.4f}"
            lines.append(
                f"| {name} | {own:.4f} | {other} | {value:.4f} | {found.difference:+.4f} "
                f"| {interval} | {found.p_value:.3f} |"
            )
    lines += ["", "The procedure's own cross-validation was too optimistic by:", ""]
    lines += [
        f"- {name}: {found.difference:+.4f} ({found.low:+.4f} to {found.high:+.4f})"
        for name, found in optimism.items()
    ]
    return "\n".join(lines)


def _artifacts(
    folds: list[OuterFold], comparisons: Comparisons, optimism: dict[str, Comparison]
) -> Artifacts:
    by_fold = pd.DataFrame(
        {
            "fold": fold.place + 1,
            "rows": fold.rows_test,
            **{
                f"{model} {name}": scores[name]
                for name in METRICS
                for model, scores in fold.scores.items()
            },
            **{f"inner {name}": value for name, value in fold.inner.items()},
        }
        for fold in folds
    )
    return {
        "audit.csv": _table(folds, comparisons, optimism),
        "folds.csv": by_fold,
        "audit.png": figures.audit(
            {other: by_fold[f"{OWN} log_loss"] - by_fold[f"{other} log_loss"] for other in OTHERS},
            {other: compared["log_loss"] for other, compared in comparisons.items()},
            by_fold["inner log_loss"],
            by_fold[f"{OWN} log_loss"],
        ),
    }


def _table(
    folds: list[OuterFold], comparisons: Comparisons, optimism: dict[str, Comparison]
) -> pd.DataFrame:
    """A row per metric and model that the procedure is held against."""
    rows = []
    for name in METRICS:
        own = _column(folds, OWN, name)
        for other, compared in comparisons.items():
            rows.append(
                {
                    "metric": name,
                    "procedure": own.mean(),
                    "procedure std": own.std(ddof=1),
                    "against": other,
                    "its value": _column(folds, other, name).mean(),
                    **asdict(compared[name]),
                }
            )
        if name in optimism:
            inner = np.mean([fold.inner[name] for fold in folds])
            rows.append(
                {
                    "metric": name,
                    "procedure": own.mean(),
                    "procedure std": own.std(ddof=1),
                    "against": "its own cross-validation (optimism)",
                    "its value": inner,
                    **asdict(optimism[name]),
                }
            )
    return pd.DataFrame(rows)
