"""Whether a shadow may become champion: both versions' answers to the same requests, from a log."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.config.sections import Config
from pipeline.evaluation.amounts import AmountPredictions
from pipeline.evaluation.answer_pairs import (
    DIFFERENCE,
    FIRST,
    LABELS_DIFFER,
    RELATIVE,
    SECOND,
)
from pipeline.evaluation.checked_rows import has_truth
from pipeline.evaluation.metrics import AnyPredictions, of_truth
from pipeline.evaluation.paired_bootstrap import Difference, differences
from pipeline.inference.predictor import Predictor
from pipeline.promotion import gate
from pipeline.promotion.gate import PairedComparison
from pipeline.reporting import shadow_figures
from pipeline.reporting.markdown import row
from pipeline.results import Outputs, Report
from pipeline.schema.matrix import Vector
from pipeline.tasks import AMOUNT, CLASSIFICATION, TaskName

QUANTILES = {"median": 0.5, "95": 0.95, "99": 0.99, "largest": 1.0}
MOST_LISTED = 10  # rows on the page
MOST_ROWS = 1000  # in the file


class Versions(NamedTuple):
    """The versions of a log's lines, by their numbers."""

    champion: str
    shadow: str


@dataclass(frozen=True)
class Shadowing:
    """What is concluded; `may_be_promoted` is None where no row has a label."""

    sentence: str
    may_be_promoted: bool | None
    report: Report


def latest(log: pd.DataFrame) -> Versions:
    """The versions of the latest line."""
    last = int(log["time"].to_numpy().argmax())
    return Versions(*(str(log[column].iloc[last]) for column in (FIRST, SECOND)))


def of_versions(log: pd.DataFrame, versions: Versions) -> NDArray[np.bool_]:
    """Which lines are of these versions."""
    is_first, is_second = (
        log[column].astype(str) == version
        for column, version in zip((FIRST, SECOND), versions, strict=True)
    )
    return np.asarray(is_first & is_second)


def conclude(
    config: Config,
    versions: Versions,
    predictors: tuple[Predictor, Predictor],
    log: pd.DataFrame,
    truth: NDArray[Any],
) -> Shadowing:
    """Compares what the log has of both, and with the true targets which of them is better.

    `truth` holds the places of classes, or amounts, as `checked_rows.truth_of` gives them.
    """
    task = predictors[0].contract.task
    outputs = [OUTPUTS[task.name](predictors[0], log, name) for name in (FIRST, SECOND)]
    names = [f"version {version}" for version in versions]
    is_labelled = has_truth(predictors[0].contract, truth)
    metrics: dict[str, Difference] = {}
    sentence, passed = "Without labels (--labels) nothing says which of them is better.", None
    if is_labelled.any():
        first, second = (
            _predictions(predictor, truth[is_labelled], each[is_labelled])
            for predictor, each in zip(predictors, outputs, strict=True)
        )
        metrics, sentence, passed = _decide(config, versions, first, second)
    is_amount = not task.has_classes
    scaled = log[RELATIVE if is_amount else DIFFERENCE].to_numpy(dtype=float)
    scores = dict(zip(names, _scores(task.name, predictors[0], outputs), strict=True))
    unit = "in widths of the champion's interval" if is_amount else "of a probability"
    page = _page(names, log, scaled, unit, sentence, metrics)
    return Shadowing(
        sentence,
        passed,
        Report(
            metrics={
                "rows": len(log),
                "rows_labelled": int(is_labelled.sum()),
                **_shares(log),
                **{f"difference_{name}": value for name, value in _spread(scaled).items()},
                **{f"difference/{name}": one.first - one.second for name, one in metrics.items()},
            },
            artifacts={
                "shadow.md": page,
                "most_different.csv": _most_different(log, scaled).head(MOST_ROWS),
                "shadow.png": shadow_figures.answers(scaled, scores, unit, SCORES[task.name]),
            },
            note=page,
        ),
    )


def _decide(
    config: Config, versions: Versions, champion: AnyPredictions, shadow: AnyPredictions
) -> tuple[dict[str, Difference], str, bool]:
    """The metrics of the shadow beside the champion's, what they say, and whether the gate agrees.

    With `gate.rule: none` as with `non_inferiority`.
    """
    if few := gate.too_few(config.gate, shadow):
        return {}, f"**Too few rows have labels**: {few}.", False
    rule = "non_inferiority" if config.gate.rule == "none" else config.gate.rule
    config = config.model_copy(update={"gate": config.gate.model_copy(update={"rule": rule})})
    comparison = PairedComparison(f"version {versions.champion}", shadow, champion, "", None)
    (against, *_), claim = gate.against_champion(config, comparison)
    level = 2 * config.gate.level - 1
    pairs = differences(shadow, champion, config.evaluate.resamples, config.evaluate.seed, level)
    is_worse = claim == "maybe worse" and pairs[config.gate.metric].most_gain < 0
    conclusion = CLAIMS["worse" if is_worse else claim].format(*versions, config.gate.margin)
    return pairs, f"{conclusion}: {against.sentence}.", bool(against.passed)


CLAIMS = {
    "better": "**Version {1} is better than version {0}**",
    "not worse": "**Version {1} is not worse than version {0} within gate.margin {2:g}**",
    "maybe worse": "**It cannot be said yet whether version {1} is as good as version {0}**",
    "worse": "**Version {1} is worse than version {0}**",
}


def _predictions(predictor: Predictor, truth: NDArray[Any], given: Outputs) -> AnyPredictions:
    contract = predictor.contract
    if contract.classes:
        return of_truth(contract, truth, given, predictor.trained.threshold)
    return AmountPredictions(truth, *given.T)


def _of_two_classes(predictor: Predictor, log: pd.DataFrame, name: str) -> Outputs:
    probability = log[f"{name}_probability"].to_numpy(dtype=float)
    both = np.stack([1 - probability, probability], axis=1)
    return both if predictor.contract.positive_index == 1 else both[:, ::-1]


def _of_more_classes(predictor: Predictor, log: pd.DataFrame, name: str) -> Outputs:
    columns = [f"{name}_probability_{label}" for label in predictor.contract.classes]
    return log[columns].to_numpy(dtype=float)


def _of_amounts(_: Predictor, log: pd.DataFrame, name: str) -> Outputs:
    return log[[f"{name}_{end}" for end in ("value", "low", "high")]].to_numpy(dtype=float)


# What a model gave: probabilities of the classes; of amounts the value and both ends.
OUTPUTS: Mapping[TaskName, Callable[[Predictor, pd.DataFrame, str], Outputs]] = {
    "binary": _of_two_classes,
    "multiclass": _of_more_classes,
    "regression": _of_amounts,
}
SCORES: Mapping[TaskName, str] = {
    "binary": "probability",
    "multiclass": "probability of the champion's label",
    **dict.fromkeys(AMOUNT, "value"),
}


def _scores(task: TaskName, predictor: Predictor, outputs: Sequence[Outputs]) -> list[Vector]:
    """One number a row of each: of which `SCORES` says what it is."""
    first = outputs[0]
    places = np.zeros(len(first), dtype=np.intp)
    if task in CLASSIFICATION:
        positive = predictor.contract.positive_index
        places = first.argmax(axis=1) if positive is None else np.full(len(first), positive)
    return [each[np.arange(len(each)), places] for each in outputs]


def _shares(log: pd.DataFrame) -> dict[str, float]:
    """Of the rows with another label, where there are labels."""
    return {LABELS_DIFFER: float(log[LABELS_DIFFER].mean())} if LABELS_DIFFER in log else {}


def _spread(scaled: Vector) -> dict[str, float]:
    finite = scaled[np.isfinite(scaled)]
    if not len(finite):
        return {}
    quantiles = np.quantile(finite, list(QUANTILES.values())).tolist()
    return {"mean": float(finite.mean()), **dict(zip(QUANTILES, quantiles, strict=True))}


def _most_different(log: pd.DataFrame, scaled: Vector) -> pd.DataFrame:
    return log.iloc[np.argsort(-np.nan_to_num(scaled, nan=-1.0), kind="stable")]


def _page(  # noqa: PLR0913, PLR0917
    names: Sequence[str],
    log: pd.DataFrame,
    scaled: Vector,
    unit: str,
    sentence: str,
    metrics: Mapping[str, Difference],
) -> str:
    """In Markdown: what is concluded, then the metrics, the differences, and the rows."""
    return "\n".join(
        [
            sentence,
            "",
            f"{names[0].capitalize()} has answered {len(log)} rows, and {names[1]} beside it.",
            *(f"{share:.1%} of them get another label." for share in _shares(log).values()),
            "",
            *_metrics_table(names, metrics),
            *_spread_table(scaled, unit),
            *_rows_table(log, scaled),
        ]
    )


def _metrics_table(names: Sequence[str], metrics: Mapping[str, Difference]) -> Iterator[str]:
    if metrics:
        yield row(["metric", *names[::-1], "difference", "bounds"])
        yield row(["---"] * 5)
        for name, one in metrics.items():
            values = [f"{one.first:.4f}", f"{one.second:.4f}", f"{one.first - one.second:+.4f}"]
            yield row([name, *values, f"{one.low:+.4f} to {one.high:+.4f}"])
        yield ""


def _spread_table(scaled: Vector, unit: str) -> Iterator[str]:
    spread = _spread(scaled)
    yield row([f"difference {unit}", *(f"{n} %" if n.isdigit() else n for n in spread)])
    yield row(["---"] * (1 + len(spread)))
    yield row(["", *(f"{value:.4g}" for value in spread.values())])
    yield ""


def _rows_table(log: pd.DataFrame, scaled: Vector) -> Iterator[str]:
    """The rows that differ most, by how a request log has them too."""
    answer = "label" if f"{FIRST}_label" in log else "value"
    answers = [f"{name}_{answer}" for name in (FIRST, SECOND)]
    columns = ["request_id", "row", *answers, DIFFERENCE]
    yield row(["request", "row", *answers, DIFFERENCE])
    yield row(["---"] * len(columns))
    for cells in _most_different(log, scaled)[columns].head(MOST_LISTED).itertuples(index=False):
        yield row([f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in cells])
    yield ""
