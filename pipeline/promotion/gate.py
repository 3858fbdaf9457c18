"""The rules that a candidate must keep before it may become champion, each with its figures."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from math import inf

import numpy as np
import pandas as pd

from pipeline.config.gate import Gate
from pipeline.config.sections import Config
from pipeline.evaluation import bootstrap, metrics
from pipeline.evaluation.amounts import AmountPredictions
from pipeline.evaluation.calibration import calibrations
from pipeline.evaluation.metrics import AnyPredictions, Predictions
from pipeline.evaluation.paired_bootstrap import Difference, differences
from pipeline.evaluation.slices import groups
from pipeline.results import Claim, RuleResult
from pipeline.schema.columns import Column
from pipeline.schema.contract import Label
from pipeline.tasks import AMOUNT, CLASSIFICATION, COVERAGE, METRICS, TaskName

RESAMPLES, SEED = 2000, 0  # of the coverage of intervals
SAME = 1e-6  # between a metric as it was logged and as it is computed afresh


@dataclass(frozen=True)
class PairedComparison:
    """What candidate and champion say of rows that neither was trained on.

    `cross_validated` holds the primary metric of both, None where that is of other rows.
    """

    champion: str  # its title: version 3
    first: AnyPredictions  # the candidate's
    second: AnyPredictions
    rows_digest: str  # sha256 of the rows' places in the table
    cross_validated: tuple[float, float] | None


Comparison = PairedComparison | str | None


@dataclass(frozen=True)
class Evidence:
    """What the rules of the gate look at."""

    logged: dict[str, float]  # the test metrics that `evaluate` logged
    predictions: AnyPredictions  # the candidate's, of its test part
    dummy: AnyPredictions  # of the same rows: class shares or mean of the training part
    X: pd.DataFrame  # the same rows
    comparison: Comparison  # a text: why there is none; None where there is no champion
    classes: tuple[Label, ...]  # as people call them, in the order of the columns of probabilities
    columns: Mapping[str, Column] = field(default_factory=dict)  # of X
    rows_note: str = ""  # how rows were parted and weighed, where not by chance and alike


def check(config: Config, evidence: Evidence) -> tuple[tuple[RuleResult, ...], Claim]:
    """Every rule that is set, and what may be said of the candidate beside the champion."""
    against, claim = against_champion(config, evidence.comparison)
    rules = [
        _reproduced(evidence),
        *_rows(evidence),
        *_floors(config, "gate.floors", config.gate.floors, evidence.predictions),
        *_dummy(config, evidence),
        *CALIBRATIONS[evidence.predictions.task.name](config.gate, evidence),
        *_slices(config, evidence),
        *against,
    ]
    return tuple(rules), claim


def tested(logged: Mapping[str, float]) -> dict[str, float]:
    """The metrics of the test part among all that a run has logged."""
    return {name: logged[f"test/{name}"] for name in METRICS if f"test/{name}" in logged}


def _reproduced(evidence: Evidence) -> RuleResult:
    """The model in the store is the one that was evaluated, and so are the rows."""
    values = {name: metrics.value(name, evidence.predictions) for name in evidence.logged}
    for name, logged in evidence.logged.items():
        if not abs(logged - values[name]) <= SAME * max(1.0, abs(logged)):
            now = values[name]
            message = f"test/{name} was {logged:.6g} when it was evaluated and is {now:.6g} now"
            return RuleResult("reproduced", False, message, {f"test/{name}": now})
    rows = len(evidence.predictions.truth)
    return RuleResult("reproduced", True, f"scored afresh on {rows} rows it is as it was evaluated")


def _rows(evidence: Evidence) -> Iterator[RuleResult]:
    """For the record: what the other rules' figures are of."""
    if evidence.rows_note:
        groups = evidence.predictions.metadata.group_codes
        drawn = "" if groups is None else f"; resamples draw {groups.max() + 1} groups, not rows"
        yield RuleResult("rows", None, f"{evidence.rows_note}{drawn}")


def _floors(
    config: Config,
    rule: str,
    floors: Mapping[str, float],
    predictions: AnyPredictions,
    group: str = "",
) -> Iterator[RuleResult]:
    """Each floor of `rule`; one of a metric that is not defined on the rows (NaN) is broken.

    So is one that an interval reaches which proves nothing: resamples of rows without an error
    have no width, and of a rare class some have no row.
    """
    if not floors:
        return
    evaluate, on_interval = config.evaluate, config.gate.floors_on == "interval"
    intervals = bootstrap.intervals(predictions, evaluate.resamples, evaluate.seed)
    for name, floor in floors.items():
        value, (low, high) = metrics.value(name, predictions), intervals[name]
        metric = METRICS[name]
        worse_end = low if metric.greater_is_better else high
        passed = metric.reaches(worse_end if on_interval else value, floor)
        subject = f"test/{name}{' where ' * bool(group)}{group}"
        measured = f"{subject} {value:.6g} (95 % interval {low:.6g} to {high:.6g})"
        setting = f"{rule}.{name} {floor:g}"
        doubt = bootstrap.caveat(name, predictions, evaluate.resamples, evaluate.seed)
        if (
            passed
            and on_interval
            and doubt
            and not METRICS[name].reaches(METRICS[name].worst, floor)
        ):
            passed = False
            message = (
                f"{measured}: the interval of {len(predictions.truth)} rows {doubt} and proves "
                f"nothing of {setting}; judge by gate.floors_on value, or on more test rows"
            )
        else:
            worse = "the worse end of " * on_interval
            message = f"{worse}{measured} {'reaches' if passed else 'does not reach'} {setting}"
        figures = {"value": value, "low": low, "high": high, "floor": floor}
        yield RuleResult(f"{rule}.{name}", passed, message, figures)


def _dummy(config: Config, evidence: Evidence) -> Iterator[RuleResult]:
    if not config.gate.dummy:
        return
    pair = _differences(config, evidence.predictions, evidence.dummy)[config.gate.primary]
    passed = pair.least_gain > 0
    message = (
        f"test/{pair.metric} {pair.first:.6g} {'is' if passed else 'is not proven'} better than "
        f"the {pair.second:.6g} of {evidence.predictions.task.dummy}: {_gain(pair, config.gate)}"
    )
    yield RuleResult("gate.dummy", passed, message, _figures(pair))


def _of_classes(gate: Gate, evidence: Evidence) -> Iterator[RuleResult]:
    yield from _calibration(gate, evidence)
    yield from _never_predicted(evidence)


def _coverage(gate: Gate, evidence: Evidence) -> Iterator[RuleResult]:
    """Broken where intervals are proven to hold fewer rows than promised less `gate.calibration`.

    By the bootstrap of the test rows, or of their groups.
    """
    if gate.calibration is None:
        return
    predictions = evidence.predictions
    assert isinstance(predictions, AmountPredictions)
    covered = metrics.value("coverage", predictions)
    drawn = bootstrap.resampled(predictions, RESAMPLES, SEED)["coverage"]
    low, high = bootstrap.percentile_interval(drawn, 2 * gate.level - 1)
    least = COVERAGE - gate.calibration
    passed = high >= least
    within = "within" if covered >= least else "beyond"
    chance = ", which may be chance" if passed and covered < least else ""
    message = (
        f"intervals of {COVERAGE:.0%} hold {covered:.1%} of the test rows ({low:.1%} to "
        f"{high:.1%}), {within} gate.calibration {gate.calibration:g} below{chance}"
    )
    yield RuleResult(
        "gate.calibration", passed, message, {"coverage": covered, "low": low, "high": high}
    )


def _calibration(gate: Gate, evidence: Evidence) -> Iterator[RuleResult]:
    """Broken where a class is proven further off than the setting allows, relative to its rate.

    The level is divided by the number of classes (Bonferroni).
    """
    if gate.calibration is None:
        return
    assert isinstance(evidence.predictions, Predictions)
    each = calibrations(evidence.predictions)
    if any(np.isnan(one.error) for one in each):
        message = "the test part lacks a class: how far its probabilities are off cannot be said"
        yield RuleResult("gate.calibration", False, message)
        return
    fitted = [one for one in each if not one.is_separated]
    if not fitted:
        message = (
            "the probabilities separate the classes without an error on these "
            f"{len(evidence.predictions.truth)} rows, where no recalibration can be fitted: "
            "gate.calibration proves nothing"
        )
        yield RuleResult("gate.calibration", None, message)
        return
    far = [one for one in fitted if one.relative > gate.calibration]
    proven = [one for one in far if one.p_value < (1 - gate.level) / len(each)]
    worst = max(proven or fitted, key=lambda one: one.relative)
    within = "within" if not far else "beyond"
    chance = ", which may be chance" if far and not proven else ""
    message = (
        f"probabilities are {worst.error:.4f} from their recalibration on average, "
        f"{worst.relative:.4f} relative to the rate {worst.rate:.4f}, {within} gate.calibration "
        f"{gate.calibration:g}{chance} (slope {worst.slope:.2f}, "
        f"intercept {worst.intercept:+.2f}, p-value {worst.p_value:.2g})"
    )
    figures = {
        "error": worst.error,
        "relative": worst.relative,
        "rate": worst.rate,
        "slope": worst.slope,
        "intercept": worst.intercept,
        "p_value": worst.p_value,
    }
    yield RuleResult("gate.calibration", not proven, message, figures)


def _never_predicted(evidence: Evidence) -> Iterator[RuleResult]:
    """Says, and no more, that a class has rows in the test part and is predicted for none."""
    predictions = evidence.predictions
    assert isinstance(predictions, Predictions)
    truth, labels = (
        np.bincount(codes, minlength=predictions.classes)
        for codes in (predictions.truth, predictions.labels)
    )
    for place in np.flatnonzero((truth > 0) & (labels == 0)):
        costs = "raise train.cost_false_negative, or " if place == predictions.positive else ""
        yield RuleResult(
            "labels",
            None,
            f"{evidence.classes[place]!r} is never predicted, and {truth[place]} of "
            f"{len(predictions.truth)} test rows are of that class (its recall is 0); "
            f"{costs}set gate.floors on recall, f1 or average_precision",
        )


CALIBRATIONS: Mapping[TaskName, Callable[[Gate, Evidence], Iterator[RuleResult]]] = {
    **dict.fromkeys(CLASSIFICATION, _of_classes),
    **dict.fromkeys(AMOUNT, _coverage),
}


def _slices(config: Config, evidence: Evidence) -> Iterator[RuleResult]:
    gate = config.gate
    for name, cuts in gate.slices.items():
        column, values = evidence.columns[name], evidence.X[name].to_numpy()
        for group, where in groups(name, column, values, cuts):
            part = evidence.predictions.where(where)
            if few := too_few(gate, part):
                message = f"where {group}: {few}"
                yield RuleResult("gate.slice_floors", None, message, {"rows": float(where.sum())})
            else:
                yield from _floors(config, "gate.slice_floors", gate.slice_floors, part, group)


def against_champion(config: Config, comparison: Comparison) -> tuple[list[RuleResult], Claim]:
    """The rule `gate.rule` and what belongs to it, and what may be said of both."""
    gate = config.gate
    if comparison is None:
        return [RuleResult("gate.rule", None, "there is no champion to compare with")], "first"
    if gate.rule == "none":
        message = "not compared with the champion: gate.rule is none"
        return [RuleResult("gate.rule", None, message)], "not compared"
    obstacle = comparison if isinstance(comparison, str) else too_few(gate, comparison.first)
    if isinstance(comparison, str) or obstacle:
        why = f"it cannot be compared with the champion: {obstacle}; gate.rule none does without"
        return [RuleResult("gate.rule", False, why)], "not compared"
    pair = _differences(config, comparison.first, comparison.second)[gate.metric]
    rules = [_paired(gate, comparison, pair), *_cross_validated(gate.primary, comparison)]
    if pair.least_gain > 0:
        return rules, "better"
    is_close = pair.least_gain > -_margin(gate, comparison, pair)
    return rules, "not worse" if is_close else "maybe worse"


def _margin(gate: Gate, comparison: PairedComparison, pair: Difference) -> float:
    """`gate.margin` in the unit of the metric: of amounts' errors it is a share of them."""
    is_share = comparison.first.task.is_margin_relative and METRICS[pair.metric].bounds[1] == inf
    return gate.margin * abs(pair.second) if is_share else gate.margin


def _paired(gate: Gate, comparison: PairedComparison, pair: Difference) -> RuleResult:
    allowed = _margin(gate, comparison, pair) if gate.rule == "non_inferiority" else 0.0
    passed = pair.least_gain > -allowed
    if gate.rule == "superiority":
        meant = "better" if passed else "not proven better"
    elif passed:
        meant = "better" if pair.least_gain > 0 else f"not worse by gate.margin {gate.margin:g}"
    else:
        meant = f"may be worse by more than gate.margin {gate.margin:g}"
    message = (
        f"{pair.metric} {pair.first:.4f} against {pair.second:.4f} of {comparison.champion} on "
        f"the same {len(comparison.first.truth)} rows, {_gain(pair, gate)}: {meant}"
    )
    rows = {"rows": float(len(comparison.first.truth))}
    return RuleResult("gate.rule", passed, message, _figures(pair) | rows)


def _cross_validated(name: str, comparison: PairedComparison) -> Iterator[RuleResult]:
    if comparison.cross_validated is None:
        message = f"{comparison.champion} was cross-validated on other rows: not compared"
        yield RuleResult("gate.primary", None, message)
        return
    first, second = comparison.cross_validated
    passed = METRICS[name].is_better(first, second)
    is_better = "is better than" if passed else "is not better than"
    message = f"cv/{name} {first:.6g} {is_better} {second:.6g} of {comparison.champion}"
    yield RuleResult("gate.primary", passed, message, {"first": first, "second": second})


def too_few(gate: Gate, predictions: AnyPredictions) -> str:
    """Why so few rows say nothing, if they do; where rows have groups, those are counted."""
    codes, what = predictions.metadata.group_codes, f"{len(predictions.truth)} rows"
    if isinstance(predictions, AmountPredictions):
        units = len(predictions.truth) if codes is None else len(np.unique(codes))
        what += "" if codes is None else f" of {units} groups"
        few = f"{what}, and gate.rows_per_class is {gate.rows_per_class}"
        return few if units < gate.rows_per_class else ""
    truth = predictions.truth
    if codes is not None:
        what += f" of {len(np.unique(codes))} groups"
        first = np.unique(np.stack([codes, truth]), axis=1, return_index=True)[1]
        truth = truth[first]  # a class once in each group
    counts = np.bincount(truth, minlength=predictions.classes)
    if counts.min() >= gate.rows_per_class:
        return ""
    return f"{what}, {counts.min()} of one class, and gate.rows_per_class is {gate.rows_per_class}"


def _differences(
    config: Config, first: AnyPredictions, second: AnyPredictions
) -> dict[str, Difference]:
    """With bounds that each hold with the gate's confidence."""
    evaluate = config.evaluate
    level = 2 * config.gate.level - 1
    return differences(first, second, evaluate.resamples, evaluate.seed, level)


def _gain(pair: Difference, gate: Gate) -> str:
    return (
        f"gain {pair.gain:+.4f}, at least {pair.least_gain:+.4f} ({100 * gate.level:g}% confidence)"
    )


def _figures(pair: Difference) -> dict[str, float]:
    return {
        "first": pair.first,
        "second": pair.second,
        "gain": pair.gain,
        "least_gain": pair.least_gain,
    }
