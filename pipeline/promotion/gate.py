"""The rules that a candidate must keep before it may become champion, each with its figures."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from pipeline.config.sections import (
    BOUNDS,
    LOWER_IS_BETTER,
    Config,
    Gate,
    Label,
    Metric,
    SearchMetric,
)
from pipeline.evaluation import metrics
from pipeline.evaluation.calibration import calibrations
from pipeline.evaluation.metrics import Predictions
from pipeline.evaluation.paired_bootstrap import Difference, differences
from pipeline.evaluation.slices import groups
from pipeline.results import Claim, Ruling

SAME = 1e-6  # between a metric as it was logged and as it is found afresh


@dataclass(frozen=True)
class Duel:
    """What candidate and champion say of rows that neither was trained on.

    `cross_validated` holds the primary metric of both, None where that is of other rows.
    """

    champion: str  # as it is told: version 3
    first: Predictions  # the candidate's
    second: Predictions
    rows_digest: str  # sha256 of the rows' places in the table
    cross_validated: tuple[float, float] | None


@dataclass(frozen=True)
class Exam:
    """All that the rules look at."""

    logged: dict[Metric, float]  # the test metrics that `evaluate` found
    predictions: Predictions  # the candidate's, of its test part
    dummy: Predictions  # of the same rows: the shares of the classes in the training part
    X: pd.DataFrame  # the same rows
    duel: Duel | str | None  # why there can be none, or None where there is no champion
    classes: tuple[Label, ...]  # in the order of the columns of probabilities


def judge(config: Config, exam: Exam) -> tuple[tuple[Ruling, ...], Claim]:
    """Every rule that is set, and what may be said of the candidate beside the champion."""
    against, claim = _against_champion(config, exam.duel)
    rulings = [
        _reproduced(exam),
        *_floors(config, "gate.floors", config.gate.floors, exam.predictions),
        *_dummy(config, exam),
        *_calibration(config.gate, exam),
        *_slices(config, exam),
        *_never_predicted(exam),
        *against,
    ]
    return tuple(rulings), claim


def tested(logged: Mapping[str, float]) -> dict[Metric, float]:
    """The metrics of the test part among all that a run has logged."""
    return {name: logged[f"test/{name}"] for name in metrics.ALL if f"test/{name}" in logged}


def _reproduced(exam: Exam) -> Ruling:
    """The model in the store is the one that was evaluated, and so are the rows."""
    found = {name: metrics.value(name, exam.predictions) for name in exam.logged}
    for name, known in exam.logged.items():
        if not abs(known - found[name]) <= SAME:
            told = f"test/{name} was {known:.6g} when it was evaluated and is {found[name]:.6g} now"
            return Ruling("reproduced", False, told, {f"test/{name}": found[name]})
    rows = len(exam.predictions.truth)
    return Ruling("reproduced", True, f"scored afresh on {rows} rows it is as it was evaluated")


def _floors(
    config: Config,
    rule: str,
    floors: Mapping[Metric, float],
    predictions: Predictions,
    group: str = "",
) -> Iterator[Ruling]:
    """Each floor of `rule`; one of a metric that is not defined on the rows (NaN) is broken.

    So is one that an interval reaches which proves nothing: resamples of rows without an error
    have no width, and of a rare class some have no row.
    """
    if not floors:
        return
    evaluate, on_interval = config.evaluate, config.gate.floors_on == "interval"
    intervals = metrics.intervals(predictions, evaluate.resamples, evaluate.seed)
    for name, floor in floors.items():
        value, (low, high) = metrics.value(name, predictions), intervals[name]
        worse_end = high if name in LOWER_IS_BETTER else low
        passed = _reaches(name, worse_end if on_interval else value, floor)
        subject = f"test/{name}{' where ' * bool(group)}{group}"
        found = f"{subject} {value:.6g} (95 % interval {low:.6g} to {high:.6g})"
        setting = f"{rule}.{name} {floor:g}"
        doubt = metrics.doubt(name, predictions, evaluate.resamples, evaluate.seed)
        if passed and on_interval and doubt and not _every_model_reaches(name, floor):
            passed = False
            told = (
                f"{found}: the interval of {len(predictions.truth)} rows {doubt} and proves "
                f"nothing of {setting}; judge by gate.floors_on value, or on more test rows"
            )
        else:
            judged = f"{'the worse end of ' * on_interval}{found}"
            told = f"{judged} {'reaches' if passed else 'does not reach'} {setting}"
        figures = {"value": value, "low": low, "high": high, "floor": floor}
        yield Ruling(f"{rule}.{name}", passed, told, figures)


def _reaches(name: Metric, value: float, floor: float) -> bool:
    return value <= floor if name in LOWER_IS_BETTER else value >= floor


def _every_model_reaches(name: Metric, floor: float) -> bool:
    return _reaches(name, BOUNDS[name][name in LOWER_IS_BETTER], floor)


def _dummy(config: Config, exam: Exam) -> Iterator[Ruling]:
    if not config.gate.dummy:
        return
    pair = _differences(config, exam.predictions, exam.dummy)[config.gate.primary]
    passed = pair.least_gain > 0
    told = (
        f"test/{pair.metric} {pair.first:.6g} {'is' if passed else 'is not proven'} better than "
        f"the {pair.second:.6g} of the class shares: {_gain(pair, config.gate)}"
    )
    yield Ruling("gate.dummy", passed, told, _figures(pair))


def _calibration(gate: Gate, exam: Exam) -> Iterator[Ruling]:
    """Broken where a class is proven further off than the setting allows, relative to its rate.

    The level is divided by the number of classes (Bonferroni).
    """
    if gate.calibration is None:
        return
    each = calibrations(exam.predictions)
    if any(np.isnan(one.error) for one in each):
        told = "the test part lacks a class: how far its probabilities are off cannot be said"
        yield Ruling("gate.calibration", False, told)
        return
    fitted = [one for one in each if not one.is_separated]
    if not fitted:
        told = (
            "the probabilities separate the classes without an error on these "
            f"{len(exam.predictions.truth)} rows, where no recalibration can be fitted: "
            "gate.calibration proves nothing"
        )
        yield Ruling("gate.calibration", None, told)
        return
    far = [one for one in fitted if one.relative > gate.calibration]
    proven = [one for one in far if one.p_value < (1 - gate.level) / len(each)]
    worst = max(proven or fitted, key=lambda one: one.relative)
    within = "within" if not far else "beyond"
    chance = ", which may be chance" if far and not proven else ""
    told = (
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
    yield Ruling("gate.calibration", not proven, told, figures)


def _never_predicted(exam: Exam) -> Iterator[Ruling]:
    """Says, and no more, that a class has rows in the test part and is predicted for none."""
    predictions = exam.predictions
    truth, labels = (
        np.bincount(codes, minlength=predictions.classes)
        for codes in (predictions.truth, predictions.labels)
    )
    for place in np.flatnonzero((truth > 0) & (labels == 0)):
        costs = "raise train.cost_false_negative, or " if place == predictions.positive else ""
        yield Ruling(
            "labels",
            None,
            f"{exam.classes[place]!r} is never predicted, and {truth[place]} of "
            f"{len(predictions.truth)} test rows are of that class (its recall is 0); "
            f"{costs}set gate.floors on recall, f1 or average_precision",
        )


def _slices(config: Config, exam: Exam) -> Iterator[Ruling]:
    gate = config.gate
    for column, cuts in gate.slices.items():
        for group, where in groups(column, exam.X[column].to_numpy(), cuts):
            part = exam.predictions.where(where)
            if few := _too_few(gate, part):
                told = f"where {group}: {few}"
                yield Ruling("gate.slice_floors", None, told, {"rows": float(where.sum())})
            else:
                yield from _floors(config, "gate.slice_floors", gate.slice_floors, part, group)


def _against_champion(config: Config, duel: Duel | str | None) -> tuple[list[Ruling], Claim]:
    gate = config.gate
    if duel is None:
        return [Ruling("gate.rule", None, "there is no champion to compare with")], "first"
    if gate.rule == "none":
        told = "not compared with the champion: gate.rule is none"
        return [Ruling("gate.rule", None, told)], "not compared"
    obstacle = duel if isinstance(duel, str) else _too_few(gate, duel.first)
    if isinstance(duel, str) or obstacle:
        told = f"it cannot be compared with the champion: {obstacle}; gate.rule none does without"
        return [Ruling("gate.rule", False, told)], "not compared"
    pair = _differences(config, duel.first, duel.second)[gate.metric]
    rulings = [_paired(gate, duel, pair), *_cross_validated(gate.primary, duel)]
    if pair.least_gain > 0:
        return rulings, "better"
    return rulings, "not worse" if pair.least_gain > -gate.margin else "maybe worse"


def _paired(gate: Gate, duel: Duel, pair: Difference) -> Ruling:
    allowed = gate.margin if gate.rule == "non_inferiority" else 0.0
    passed = pair.least_gain > -allowed
    if gate.rule == "superiority":
        meant = "better" if passed else "not proven better"
    elif passed:
        meant = "better" if pair.least_gain > 0 else f"not worse by gate.margin {gate.margin:g}"
    else:
        meant = f"may be worse by more than gate.margin {gate.margin:g}"
    told = (
        f"{pair.metric} {pair.first:.4f} against {pair.second:.4f} of {duel.champion} on "
        f"the same {len(duel.first.truth)} rows, {_gain(pair, gate)}: {meant}"
    )
    rows = {"rows": float(len(duel.first.truth))}
    return Ruling("gate.rule", passed, told, _figures(pair) | rows)


def _cross_validated(name: SearchMetric, duel: Duel) -> Iterator[Ruling]:
    if duel.cross_validated is None:
        told = f"{duel.champion} was cross-validated on other rows: not compared"
        yield Ruling("gate.primary", None, told)
        return
    first, second = duel.cross_validated
    passed = first < second if name in LOWER_IS_BETTER else first > second
    is_better = "is better than" if passed else "is not better than"
    told = f"cv/{name} {first:.6g} {is_better} {second:.6g} of {duel.champion}"
    yield Ruling("gate.primary", passed, told, {"first": first, "second": second})


def _too_few(gate: Gate, predictions: Predictions) -> str:
    """Why so few rows say nothing, if they do."""
    counts = np.bincount(predictions.truth, minlength=predictions.classes)
    if counts.min() >= gate.rows_per_class:
        return ""
    return (
        f"{counts.sum()} rows, {counts.min()} of one class, and gate.rows_per_class is "
        f"{gate.rows_per_class}"
    )


def _differences(
    config: Config, first: Predictions, second: Predictions
) -> dict[Metric, Difference]:
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
