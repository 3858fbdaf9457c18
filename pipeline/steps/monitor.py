"""Monitor: how new rows, and a model's answers for them, differ from those of its training."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import nan
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.config.monitor import Monitor
from pipeline.config.sections import Config, Evaluate
from pipeline.evaluation import drift
from pipeline.evaluation.checked_rows import (
    RowReader,
    has_truth,
    in_order,
    other_labels,
    sentence_about,
    truth_of,
)
from pipeline.evaluation.drift import Drift
from pipeline.evaluation.profile import (
    Counts,
    Profile,
    add_counts,
    count_answers,
    count_columns,
)
from pipeline.evaluation.row_sample import RowSample
from pipeline.inference.predictor import Predictor
from pipeline.reporting import drift_figures
from pipeline.reporting.markdown import row, shortened
from pipeline.results import Outputs, Report
from pipeline.schema.contract import Contract
from pipeline.schema.matrix import Matrix
from pipeline.tasks import METRICS

ANSWER = "answer: "  # before the names of answers, beside the columns'
MOST_LISTED = 30
MOST_ASKED = 200_000  # rows that the model is asked for, and as many with labels
BATCH = 20_000  # of these at a time


class _Batch(NamedTuple):
    """What one batch adds; `X` and `truth` are of the valid rows."""

    columns: Mapping[str, Counts]
    rules: Counter[tuple[str, str]]
    rows: int
    rejected: int
    other_labels: Counter[str]
    X: Matrix
    truth: NDArray[Any]


@dataclass
class Observed:
    """What was counted over all batches; the model was asked for `asked` of the valid rows.

    `truth` and `outputs` are of those among them, or of as many others, that have a label.
    """

    columns: dict[str, Counts] = field(default_factory=dict)
    answers: Mapping[str, Counts] = field(default_factory=dict)
    rules: Counter[tuple[str, str]] = field(default_factory=Counter)  # by column and rule
    rows: int = 0
    rejected: int = 0
    other_labels: Counter[str] = field(default_factory=Counter)  # that are none of the model's
    asked: int = 0
    truth: NDArray[Any] = field(default_factory=lambda: np.empty(0))
    outputs: Outputs = field(default_factory=lambda: np.empty((0, 0)))

    def add(self, batch: _Batch) -> None:
        """The counts of a batch."""
        add_counts(self.columns, batch.columns)
        self.rules += batch.rules
        self.rows += batch.rows
        self.rejected += batch.rejected
        self.other_labels += batch.other_labels


@dataclass(frozen=True)
class Monitoring:
    """What monitor concludes; `alarms` are sentences, none where all is within the bounds."""

    drifts: list[Drift]
    alarms: list[str]
    report: Report


def observe(
    reader: RowReader, profile: Profile, batches: Iterable[pa.Table], target: str | None
) -> Observed:
    """Counts the rows of all batches; with a target's name the labels beside them.

    The model is asked for a sample of the rows, and of those with labels for another.
    """
    contract = reader.predictor.contract

    def count(table: pa.Table, _: int) -> _Batch:
        X, is_valid, faults = reader.read(table)
        valid, truth = X[is_valid], truth_of(contract, table, target)
        return _Batch(
            count_columns(contract, profile.bins, valid),
            Counter((fault.column, fault.rule) for fault in faults),
            len(X),
            int((~is_valid).sum()),
            other_labels(contract, table, target, truth),
            valid,
            truth[is_valid],
        )

    observed, sample = Observed(), RowSample(MOST_ASKED)
    for batch in in_order(count, batches):
        observed.add(batch)
        sample.add(batch.X, batch.truth, has_truth(contract, batch.truth))
    _ask(reader.predictor, profile, sample, observed)
    return observed


def _ask(predictor: Predictor, profile: Profile, sample: RowSample, observed: Observed) -> None:
    """Adds what the model answers for the rows of the sample."""
    drawn = sample.drawn()
    parts = np.array_split(drawn.X, max(1, len(drawn.X) // BATCH))
    answered = in_order(lambda part, _: predictor.outputs(part), parts)
    outputs = np.concatenate(list(answered))
    answers = predictor.target.arrays(outputs[drawn.is_of_all])
    observed.answers = count_answers(predictor.contract, profile.answer_bins, answers)
    observed.asked = int(drawn.is_of_all.sum())
    observed.truth = drawn.truth[drawn.is_of_labelled]
    observed.outputs = outputs[drawn.is_of_labelled]


class Reference(NamedTuple):
    """What the model was when it was promoted: its profile, and its metrics by name.

    `test/log_loss`, `test_95/log_loss_low`, ...
    """

    contract: Contract
    chosen: float | Sequence[float] | None  # the threshold, or the scores of intervals
    profile: Profile
    metrics: Mapping[str, float]


def monitor(config: Config, reference: Reference, observed: Observed) -> Monitoring:
    """Compares what was counted with the model's profile, and its metrics then and now."""
    bounds, promoted = config.monitor, reference.metrics
    answers = reference.profile.answers
    before = reference.profile.columns | {ANSWER + name: one for name, one in answers.items()}
    counts = observed.columns | {ANSWER + name: one for name, one in observed.answers.items()}
    is_counted = observed.rows > observed.rejected
    drifts = drift.compare(before, counts) if is_counted else []
    alarms = [_alarm(one) for one in drifts if is_beyond(bounds, one)]
    rejected = observed.rejected / max(observed.rows, 1)
    if rejected > bounds.rejected:
        (column, rule), count = observed.rules.most_common(1)[0]
        alarms.append(
            f"{rejected:.1%} of the rows break the contract, more than {bounds.rejected:.1%}; most "
            f"often {column}: {rule} ({count})"
        )
    metrics = _metrics(config.evaluate, reference, observed)
    alarms += _worse(metrics, promoted)
    head = _head(reference.contract, observed)
    page = _page(drifts, alarms, head, metrics, promoted)
    return Monitoring(drifts, alarms, _report(drifts, alarms, observed, metrics, page))


def is_beyond(bounds: Monitor, one: Drift) -> bool:
    """Whether a drift is no chance, and large enough to count."""
    before, now = one.missing
    is_spread = one.p_value < bounds.level and one.psi >= bounds.psi
    return is_spread or (one.p_missing < bounds.level and abs(now - before) > bounds.missing)


def _alarm(one: Drift) -> str:
    return f"{one.name} (index {one.psi:.2f}): {one.sentence}"


def _metrics(
    evaluate: Evaluate, reference: Reference, observed: Observed
) -> dict[str, tuple[float, float, float]]:
    """Each metric of the labelled rows with its 95 % interval; none where they lack a class."""
    truth, outputs = observed.truth, observed.outputs
    if len(np.unique(truth)) < 2:
        return {}
    from pipeline.evaluation import bootstrap  # with scikit-learn: rows without labels do without
    from pipeline.evaluation.metrics import of_truth

    predictions = of_truth(reference.contract, truth, outputs, reference.chosen)
    values = bootstrap.values(predictions)
    intervals = bootstrap.intervals(predictions, evaluate.resamples, evaluate.seed)
    return {name: (values[name], *intervals[name]) for name in intervals}


def _worse(
    metrics: Mapping[str, tuple[float, float, float]], promoted: Mapping[str, float]
) -> list[str]:
    """The metrics whose whole interval is worse than the whole interval at the promotion."""
    sentences = []
    for name, (value, low, high) in metrics.items():
        least, most = (promoted.get(f"test_95/{name}_{end}", nan) for end in ("low", "high"))
        is_worse = high < least if METRICS[name].greater_is_better else low > most
        if is_worse:
            was = promoted[f"test/{name}"]
            sentences.append(f"{name} is {value:.3f} ({low:.3f} to {high:.3f}), and was {was:.3f}")
    return sentences


def _report(
    drifts: list[Drift],
    alarms: list[str],
    observed: Observed,
    metrics: Mapping[str, tuple[float, float, float]],
    page: str,
) -> Report:
    table = pd.DataFrame(
        {
            "column": one.name,
            "psi": one.psi,
            "test": one.test,
            "p_value": one.p_value,
            "missing_before": one.missing[0],
            "missing_now": one.missing[1],
            "p_missing": one.p_missing,
            "what_changed": one.sentence,
        }
        for one in drifts
    )
    rejected = pd.DataFrame(
        [(*pair, count) for pair, count in observed.rules.most_common()],
        columns=["column", "rule", "cells"],
    )
    figure = {"drift.png": drift_figures.drift(drifts)} if drifts else {}
    return Report(
        metrics={
            "rows": observed.rows,
            "rows_rejected": observed.rejected,
            "alarms": len(alarms),
            "psi_largest": max((one.psi for one in drifts), default=0.0),
            **{f"monitor/{name}": values[0] for name, values in metrics.items()},
        },
        artifacts={"drift.md": page, "drift.csv": table, "rejected.csv": rejected, **figure},
        note=page,
    )


def _head(contract: Contract, observed: Observed) -> str:
    """How many rows and labels were there, and which of them do not count."""
    head = f"{observed.rows} rows, of which {observed.rejected} break the contract."
    if observed.asked < observed.rows - observed.rejected:
        head += f" The model was asked for {observed.asked} of the others, drawn by chance."
    return f"{head} {sentence_about(contract, observed.other_labels)}".strip()


def _page(
    drifts: list[Drift],
    alarms: list[str],
    head: str,
    metrics: Mapping[str, tuple[float, float, float]],
    promoted: Mapping[str, float],
) -> str:
    """In Markdown: the alarms first, then the columns, the one that changed most first."""
    lines = [f"**{len(alarms)} beyond the bounds.** {head}" if alarms else f"**As before.** {head}"]
    lines += ["", *(f"- {alarm}" for alarm in alarms), ""]
    if metrics:
        lines += [row(["metric", "now", "95 % interval", "at the promotion"]), row(["---"] * 4)]
        for name, (value, low, high) in metrics.items():
            was = promoted.get(f"test/{name}")
            before = "" if was is None else f"{was:.3f}"
            lines.append(row([name, f"{value:.3f}", f"{low:.3f} to {high:.3f}", before]))
        lines.append("")
    lines += [row(["column", "index", "p-value", "missing", "what changed most"]), row(["---"] * 5)]
    for one in drifts[:MOST_LISTED]:
        missing = f"{one.missing[0]:.1%} to {one.missing[1]:.1%}"
        name = shortened(one.name, 60)
        lines.append(row([name, f"{one.psi:.3f}", f"{one.p_value:.2g}", missing, one.sentence]))
    if len(drifts) > MOST_LISTED:
        lines += ["", f"The other {len(drifts) - MOST_LISTED} are in drift.csv."]
    return "\n".join(lines) + "\n"
