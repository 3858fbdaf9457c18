from dataclasses import replace
from math import nan, nextafter

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sk

from pipeline.evaluation import bootstrap, metrics
from pipeline.evaluation.calibration import calibration
from pipeline.evaluation.metrics import Predictions
from pipeline.evaluation.paired_bootstrap import Difference, differences
from pipeline.promotion import gate
from pipeline.promotion.gate import Evidence
from pipeline.results import Metadata, RuleResult
from pipeline.tasks import BINARY, METRICS
from tests.support.builders import (
    make_calibrated,
    make_comparison,
    make_config,
    make_dummy,
    make_evidence,
    make_predictions,
    make_sure,
    make_too_sure,
)

QUIET = {"dummy": False, "calibration": None}  # rules that a test does not ask for


def results_of(evidence: Evidence, **settings) -> list[RuleResult]:
    return list(gate.check(make_config(gate=settings), evidence)[0])


def result_of(rule: str, evidence: Evidence, **settings) -> RuleResult:
    (result,) = [one for one in results_of(evidence, **settings) if one.rule == rule]
    return result


def rules(evidence: Evidence, **settings) -> dict[str, bool | None]:
    return {one.rule: one.passed for one in results_of(evidence, **settings)}


def one_class(rows: int = 20) -> Evidence:
    """A test part without a negative: its ROC AUC is not defined."""
    chance = np.linspace(0.1, 0.9, rows)
    sample = Predictions(np.ones(rows, dtype=int), np.c_[1 - chance, chance], 1)
    return make_evidence(sample, logged={})


def with_labels(right: int, wrong: int) -> Predictions:
    """So many rows right and wrong, each of them by the same probability."""
    truth = np.arange(right + wrong) % 2
    sure = np.r_[np.full(right, 0.75), np.full(wrong, 0.25)]
    probabilities = np.where(np.eye(2)[truth] == 1, sure[:, None], 1 - sure[:, None])
    return Predictions(truth, probabilities, positive=1)


# What is asked.


def test_candidate_that_comes_first_keeps_the_rules_that_are_set_without_asking():
    assert rules(make_evidence()) == {
        "reproduced": True,
        "gate.dummy": True,
        "gate.calibration": True,
        "gate.rule": None,
    }


def test_rule_that_is_switched_off_is_not_asked():
    assert rules(make_evidence(), **QUIET) == {"reproduced": True, "gate.rule": None}


# The model is the one that was evaluated.


def test_tested_are_the_metrics_of_the_test_part_alone():
    logged = {
        "test/roc_auc": 0.8,
        "cv/roc_auc": 0.7,
        "cv/accuracy": 0.7,
        "test_95/roc_auc_low": 0.6,
        "dummy/log_loss": 0.7,
        "test/log_loss": 0.5,
        "test/of_tomorrow": 1.0,
    }
    assert gate.tested(logged) == {"roc_auc": 0.8, "log_loss": 0.5}


@pytest.mark.parametrize("name", BINARY.metrics)
@pytest.mark.parametrize(
    ("shift", "passed"), [(0, True), (9e-7, True), (-9e-7, True), (1.1e-6, False), (-1.1e-6, False)]
)
def test_metric_is_found_again_to_the_sixth_digit(name, shift, passed):
    sample = make_calibrated()
    evidence = make_evidence(sample, logged={name: metrics.value(name, sample) + shift})
    assert result_of("reproduced", evidence, **QUIET).passed is passed


def test_metric_that_is_not_value_again_is_result_with_both_its_values():
    sample = make_calibrated()
    value = metrics.value("roc_auc", sample)
    evidence = make_evidence(sample)
    evidence.logged["roc_auc"] = 0.512345
    result = result_of("reproduced", evidence, **QUIET)
    assert result.sentence == (
        f"test/roc_auc was 0.512345 when it was evaluated and is {value:.6g} now"
    )
    assert result.figures == {"test/roc_auc": value}


@pytest.mark.parametrize("logged", [0.8, nan])
def test_metric_that_is_not_defined_is_not_found_again(logged):
    evidence = one_class()
    evidence.logged["roc_auc"] = logged
    assert result_of("reproduced", evidence, **QUIET).passed is False


UNDEFINED = [
    ("gate.dummy", {"primary": "roc_auc"}),
    ("gate.calibration", {}),
    *(
        (f"gate.floors.{name}", {"floors": {name: 0.0}, "floors_on": floors_on})
        for name in ("roc_auc", "average_precision")
        for floors_on in ("value", "interval")
    ),
]


@pytest.mark.parametrize(("rule", "settings"), UNDEFINED, ids=str)
def test_rule_whose_figure_is_not_defined_on_the_rows_is_broken(rule, settings):
    assert result_of(rule, one_class(), **settings).passed is False


# Floors.


@pytest.mark.parametrize("name", ["accuracy", "roc_auc", "log_loss"])
@pytest.mark.parametrize("towards", [0, -1, 1])
@pytest.mark.parametrize("floors_on", ["value", "interval"])
def test_floor_is_the_worst_value_that_passes(name, towards, floors_on):
    sample = make_predictions()
    low, high = bootstrap.intervals(sample, 100, 0)[name]
    worse_end = low if METRICS[name].greater_is_better else high
    bound = metrics.value(name, sample) if floors_on == "value" else worse_end
    floor = bound if towards == 0 else nextafter(bound, towards * np.inf)
    is_stricter = towards == (-1 if not METRICS[name].greater_is_better else 1)
    evidence = make_evidence(sample, logged={})
    settings = {"floors": {name: floor}, "floors_on": floors_on, **QUIET}
    result = result_of(f"gate.floors.{name}", evidence, **settings)
    assert result.passed is not is_stricter
    assert result.figures == {
        "value": metrics.value(name, sample),
        "low": low,
        "high": high,
        "floor": floor,
    }


@pytest.mark.parametrize(
    ("floor", "floors_on", "begin", "end"),
    [
        (0.7, "value", "", "reaches"),
        (0.8, "value", "", "does not reach"),
        (0.74, "interval", "the worse end of ", "does not reach"),
    ],
)
def test_floor_is_reported_with_value_interval_and_setting(floor, floors_on, begin, end):
    sample = with_labels(75, 25)
    low, high = bootstrap.intervals(sample, 100, 0)["accuracy"]
    settings = {"floors": {"accuracy": floor}, "floors_on": floors_on, **QUIET}
    result = result_of("gate.floors.accuracy", make_evidence(sample), **settings)
    assert result.sentence == (
        f"{begin}test/accuracy 0.75 (95 % interval {low:.6g} to {high:.6g}) {end} "
        f"gate.floors.accuracy {floor}"
    )


@pytest.mark.parametrize(
    ("sample", "name", "floor"),
    [
        (make_sure(True), "accuracy", 0.9999),
        (make_sure(True), "accuracy", 1.0),
        (make_sure(True), "roc_auc", 0.5),
        (make_sure(True), "mcc", 0.0),
        (make_sure(True), "log_loss", 0.1),
        (make_sure(True), "brier", 0.0),
        (make_sure(True, classes=3), "f1", 0.9),
        (with_labels(60, 0), "log_loss", 0.3),  # the same of each row, but for rounding
    ],
)
def test_floor_that_an_interval_without_width_reaches_is_broken_as_it_proves_nothing(
    sample, name, floor
):
    evidence, name_of_floor = make_evidence(sample, logged={}), f"gate.floors.{name}"
    assert rules(evidence, floors={name: floor}, **QUIET)[name_of_floor] is True
    result = result_of(name_of_floor, evidence, floors={name: floor}, floors_on="interval", **QUIET)
    value, low, high, _ = result.figures.values()
    assert result.passed is False
    assert result.sentence == (
        f"test/{name} {value:.6g} (95 % interval {low:.6g} to {high:.6g}): the interval of 60 rows "
        f"has no width and proves nothing of {name_of_floor} {floor:g}; judge by gate.floors_on "
        "value, or on more test rows"
    )


def test_interval_that_leaves_out_many_resamples_does_not_reach_a_floor():
    """One row in sixty is of the class, and a third of the resamples has none."""
    truth = (np.arange(60) == 7).astype(int)
    sample = Predictions(truth, np.eye(2)[truth] * 0.8 + 0.1, positive=1)
    settings = {"floors": {"roc_auc": 0.9}, "floors_on": "interval", **QUIET}
    result = result_of("gate.floors.roc_auc", make_evidence(sample, logged={}), **settings)
    assert result.passed is False
    message = "of the resamples, which lack a class, and proves nothing of gate.floors.roc_auc"
    assert message in result.sentence


@pytest.mark.parametrize(("name", "floor"), [("accuracy", 0.0), ("mcc", -1.0), ("brier", 2.0)])
@pytest.mark.parametrize("right", [True, False])
def test_floor_that_every_model_reaches_needs_no_proof(name, floor, right):
    evidence = make_evidence(make_sure(right), logged={})
    settings = {"floors": {name: floor}, "floors_on": "interval", **QUIET}
    result = result_of(f"gate.floors.{name}", evidence, **settings)
    assert result.passed is True
    assert result.sentence.endswith(f"reaches gate.floors.{name} {floor:g}")


def test_narrowly_missed_floor_is_reported_with_digits_that_show_it():
    sample = make_calibrated()
    floor = metrics.value("log_loss", sample) - 1e-5
    settings = {"floors": {"log_loss": floor}, **QUIET}
    words = result_of("gate.floors.log_loss", make_evidence(sample), **settings).sentence.split()
    assert float(words[1]) > float(words[-1])


# Better than the shares of the classes.


@pytest.mark.parametrize("name", BINARY.search_metrics)
@pytest.mark.parametrize("sample", [make_calibrated(), make_predictions(3, rows=60)])
def test_candidate_is_better_than_the_class_shares(name, sample):
    result = result_of(
        "gate.dummy", make_evidence(sample, logged={}), primary=name, calibration=None
    )
    pair = differences(sample, make_dummy(sample), 100, 0, 0.9)[name]
    expected = {
        "first": pair.first,
        "second": pair.second,
        "gain": pair.gain,
        "least_gain": pair.least_gain,
    }
    assert result.passed is True
    assert result.figures == pytest.approx(expected)


@pytest.mark.parametrize("name", BINARY.search_metrics)
def test_candidate_that_is_the_class_shares_is_not_better(name):
    sample = make_dummy(make_calibrated())
    evidence = make_evidence(sample, dummy=sample, logged={})
    result = result_of("gate.dummy", evidence, primary=name, calibration=None)
    assert result.passed is False
    assert result.figures["least_gain"] == 0


def test_candidate_that_is_better_by_chance_is_not_proven_better():
    sample = make_calibrated(rows=20, seed=1)
    result = result_of("gate.dummy", make_evidence(sample), calibration=None)
    assert result.figures["gain"] > 0 > result.figures["least_gain"]
    assert result.passed is False


@pytest.mark.parametrize(
    ("sample", "meant"), [(make_calibrated(), "is better"), (make_sure(False), "is not proven")]
)
def test_comparison_with_the_class_shares_is_reported_with_its_numbers(sample, meant):
    result = result_of("gate.dummy", make_evidence(sample))
    first, second, gain, least_gain = result.figures.values()
    assert result.sentence == (
        f"test/log_loss {first:.6g} {meant}{' better' * (meant != 'is better')} than the "
        f"{second:.6g} of the class shares: gain {gain:+.4f}, at least {least_gain:+.4f} "
        "(95% confidence)"
    )


# Calibration.


@pytest.mark.parametrize(("towards", "passed"), [(None, True), (np.inf, True), (0, False)])
def test_calibration_is_the_largest_distance_that_passes(towards, passed):
    sample = make_too_sure()
    error = calibration(sample).relative
    most = error if towards is None else nextafter(error, towards)
    result = result_of("gate.calibration", make_evidence(sample), calibration=most)
    assert result.passed is passed


@pytest.mark.parametrize(
    ("sample", "most", "within"),
    [
        (make_calibrated(), 0.2, "within gate.calibration 0.2"),
        (make_calibrated(), 1e-6, "beyond gate.calibration 1e-06, which may be chance"),
        (make_too_sure(), 1e-6, "beyond gate.calibration 1e-06"),
    ],
)
def test_calibration_is_reported_with_its_numbers(sample, most, within):
    of_sample = calibration(sample)
    result = result_of("gate.calibration", make_evidence(sample), calibration=most)
    assert result.sentence == (
        f"probabilities are {of_sample.error:.4f} from their recalibration on average, "
        f"{of_sample.relative:.4f} relative to the rate {of_sample.rate:.4f}, {within} "
        f"(slope {of_sample.slope:.2f}, intercept {of_sample.intercept:+.2f}, "
        f"p-value {of_sample.p_value:.2g})"
    )
    assert result.figures == {
        "error": of_sample.error,
        "relative": of_sample.relative,
        "rate": of_sample.rate,
        "slope": of_sample.slope,
        "intercept": of_sample.intercept,
        "p_value": of_sample.p_value,
    }


def test_a_distance_that_may_be_chance_does_not_break_the_calibration():
    """The same log-odds are proven too far out on 200 rows, and not on a tenth of them."""
    sample = make_too_sure(2.5)
    few = sample.where(np.arange(200) < 20)
    assert calibration(few).relative > 0.05
    assert rules(make_evidence(sample), calibration=0.05)["gate.calibration"] is False
    assert rules(make_evidence(few, logged={}), calibration=0.05)["gate.calibration"] is True


@pytest.mark.parametrize("certainty", [0.6, 0.8, 0.95])
@pytest.mark.parametrize("rows", [20, 300])
def test_calibration_proves_nothing_where_no_row_is_on_the_wrong_side(certainty, rows):
    """The likeliest curve has an infinite slope, whatever the probabilities are."""
    truth = np.arange(rows) % 2
    chance = np.where(truth == 1, certainty, 1 - certainty)
    sample = Predictions(truth, np.c_[1 - chance, chance], positive=1)
    result = result_of("gate.calibration", make_evidence(sample, logged={}))
    assert result.passed is None
    assert f"without an error on these {rows} rows" in result.sentence


def test_one_class_that_is_separated_leaves_the_others_to_be_asked():
    truth = np.arange(300) % 3
    probabilities = np.tile([0.4, 0.3, 0.3], (300, 1))
    probabilities[truth == 0] = [0.9, 0.05, 0.05]
    probabilities[truth > 0] = [0.02, 0.95, 0.03]  # of the last two, one is right half of the time
    evidence = make_evidence(Predictions(truth, probabilities), logged={})
    result = result_of("gate.calibration", evidence)
    assert result.passed is False
    assert result.figures["rate"] == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("slope", "intercept", "passed"), [(1.0, 0.0, True), (2.39, 5.74, False), (1.0, 0.9, False)]
)
def test_calibration_of_a_rare_class_is_relative_to_its_rate(slope, intercept, passed):
    """One row in a hundred is of the class: probabilities are small, and so is any distance."""
    rng = np.random.default_rng(1)
    chance = np.clip(rng.lognormal(-5, 1, 20_000), 0, 0.5)
    truth = (rng.random(20_000) < chance).astype(int)
    odds = np.exp((np.log(chance / (1 - chance)) - intercept) / slope)
    sample = Predictions(truth, np.c_[1 / (1 + odds), odds / (1 + odds)], positive=1)
    result = result_of("gate.calibration", make_evidence(sample, logged={}))
    assert result.figures["error"] < 0.1  # whichever: that alone says nothing
    assert result.passed is passed


# Classes that are never predicted.


def test_a_class_that_is_never_predicted_is_named_with_its_rows_and_the_remedy():
    chance = np.linspace(0.01, 0.3, 100)
    truth = (np.arange(100) >= 95).astype(int)
    sample = Predictions(truth, np.c_[1 - chance, chance], positive=1)
    result = result_of("labels", make_evidence(sample, classes=("n", "y")))
    assert result.passed is None
    assert result.sentence.startswith("'y' is never predicted, and 5 of 100 test rows are of that")
    assert result.sentence.endswith(
        "raise train.cost_false_negative, or set gate.floors on recall, f1 or average_precision"
    )


def test_each_of_several_classes_that_are_never_predicted_is_named():
    sample = Predictions(np.arange(90) % 3, np.tile([0.2, 0.5, 0.3], (90, 1)))
    results = results_of(make_evidence(sample, logged={}, classes=("a", "b", "c")))
    named = [one.sentence[:22] for one in results if one.rule == "labels"]
    assert named == ["'a' is never predicted", "'c' is never predicted"]


# Slices.

SLICED = {"slices": {"height": (0.0,)}, "slice_floors": {"accuracy": 0.6}, **QUIET}


def sliced(*rights: tuple[float, int, int]) -> Evidence:
    """For each height so many rows that are right and wrong."""
    parts = [with_labels(right, wrong) for _, right, wrong in rights]
    sample = Predictions(
        np.concatenate([part.truth for part in parts]),
        np.concatenate([part.probabilities for part in parts]),
        positive=1,
    )
    heights = np.repeat([height for height, *_ in rights], [len(part.truth) for part in parts])
    return with_heights(sample, heights)


def with_heights(sample: Predictions, heights: np.ndarray) -> Evidence:
    evidence = make_evidence(sample)
    return replace(evidence, X=evidence.X.assign(height=heights))


def of_slices(evidence: Evidence, **settings) -> list[RuleResult]:
    results = results_of(evidence, **{**SLICED, **settings})
    return [one for one in results if "slice_floors" in one.rule]


def test_slice_may_miss_a_floor_under_a_whole_that_reaches_it():
    evidence = sliced((-1, 90, 10), (1, 10, 10))
    assert rules(evidence, floors={"accuracy": 0.8}, **SLICED)["gate.floors.accuracy"] is True
    below, above = of_slices(evidence)
    assert (below.passed, above.passed) == (True, False)
    assert above.sentence.startswith("test/accuracy where height >= 0 0.5 (95 % interval ")
    assert above.sentence.endswith(" does not reach gate.slice_floors.accuracy 0.6")


def test_every_slice_is_held_against_every_floor():
    evidence = sliced((-1, 30, 10), (1, 30, 10), (nan, 30, 10))
    floors = {"accuracy": 0.75, "brier": 0.1875, "recall": 0.8}
    results = of_slices(evidence, slice_floors=floors)
    assert [one.rule.rpartition(".")[2] for one in results] == list(floors) * 3
    assert [one.passed for one in results] == [True, True, False] * 3
    assert all("where height missing 0." in one.sentence for one in results[6:])


def test_numbers_of_a_slice_are_those_of_its_rows():
    sample = make_predictions(rows=150)
    evidence = make_evidence(sample)
    results = of_slices(evidence, slices={"noise": (0.0, 0.5)}, slice_floors={"roc_auc": 0.5})
    noise = evidence.X["noise"]
    parts = [noise < 0, (noise >= 0) & (noise < 0.5), noise >= 0.5]
    for one, where in zip(results, parts, strict=True):
        expected = sk.roc_auc_score(sample.truth[where], sample.probabilities[where, 1])
        assert one.figures["value"] == pytest.approx(expected)
        assert one.figures["low"] < expected < one.figures["high"]


@pytest.mark.parametrize(
    ("rows", "expected"), [(20, True), (19, None), (18, None), (2, None), (0, None)]
)
def test_slice_with_fewer_rows_of_a_class_than_asked_for_has_no_result(rows, expected):
    below, above = of_slices(sliced((-1, 40, 0), (1, rows, 0)), rows_per_class=10)
    assert (below.passed, above.passed) == (True, expected)
    if expected is None:
        assert above.sentence == (
            f"where height >= 0: {rows} rows, {rows // 2} of one class, and gate.rows_per_class "
            "is 10"
        )


def test_slice_of_one_class_has_no_result():
    sample = make_sure(True)
    evidence = with_heights(sample, sample.truth - 0.5)
    assert [one.passed for one in of_slices(evidence, rows_per_class=1)] == [None, None]


def test_slices_are_held_against_the_worse_end_if_floors_are():
    evidence = sliced((-1, 90, 10), (1, 28, 12))  # 0.7, and the interval reaches below 0.6
    assert [one.passed for one in of_slices(evidence)] == [True, True]
    below, above = of_slices(evidence, floors_on="interval")
    assert (below.passed, above.passed) == (True, False)
    assert above.sentence.startswith("the worse end of test/accuracy where height >= 0 0.7 ")


def test_each_column_has_slices_of_its_own():
    evidence = make_evidence(make_predictions(rows=200))
    settings = {"slices": {"height": (0.0,), "noise": (-0.3, 0.3)}, "slice_floors": {"f1": 0.0}}
    groups = [one.sentence.split(" where ")[1] for one in of_slices(evidence, **settings)]
    assert [group.split(" (")[0].rpartition(" ")[0] for group in groups] == [
        *("height < 0", "height >= 0"),
        *("noise < -0.3", "-0.3 <= noise < 0.3", "noise >= 0.3"),
    ]


# Against the champion.

APART = {"accuracy": 1, "roc_auc": 1, "brier": 1, "f1": 1, "precision": 1, "recall": 1, "mcc": 2}


def against(first: Predictions, second: Predictions, **settings) -> tuple[RuleResult, str]:
    """The rule of gate.rule, and the claim."""
    evidence = make_evidence(logged={}, comparison=make_comparison(first, second, (0.4, 0.5)))
    results, claim = gate.check(make_config(gate={**QUIET, **settings}), evidence)
    (one,) = [one for one in results if one.rule == "gate.rule"]
    return one, claim


def test_first_candidate_has_no_champion_to_be_compared_with():
    for rule in ("non_inferiority", "superiority", "none"):
        results, claim = gate.check(make_config(gate={"rule": rule}), make_evidence())
        assert claim == "first"
        assert results[-1] == RuleResult("gate.rule", None, "there is no champion to compare with")


@pytest.mark.parametrize(
    "comparison", [make_comparison(make_sure(False), make_sure(True)), "no rows"]
)
def test_comparison_that_is_not_wanted_is_not_made(comparison):
    results, claim = gate.check(
        make_config(gate={"rule": "none"}), make_evidence(comparison=comparison)
    )
    assert claim == "not compared"
    assert results[-1].passed is None
    assert "gate.rule is none" in results[-1].sentence
    assert "gate.primary" not in [one.rule for one in results]


@pytest.mark.parametrize("rule", ["non_inferiority", "superiority"])
def test_comparison_that_cannot_be_made_breaks_the_rule_and_says_why(rule):
    evidence = make_evidence(comparison="its target is 'ill', and here it is 'label'")
    results, claim = gate.check(make_config(gate={"rule": rule}), evidence)
    assert claim == "not compared"
    assert results[-1].passed is False
    assert results[-1].sentence == (
        "it cannot be compared with the champion: its target is 'ill', and here it is 'label'; "
        "gate.rule none does without"
    )


def test_comparison_without_a_reason_why_it_cannot_be_made_breaks_the_rule():
    assert rules(make_evidence(comparison=""))["gate.rule"] is False


@pytest.mark.parametrize(
    ("counts", "passed"), [((10, 10), True), ((9, 40), False), ((40, 9), False), ((0, 30), False)]
)
def test_comparison_on_fewer_rows_of_a_class_than_asked_for_breaks_the_rule(counts, passed):
    truth = np.repeat([0, 1], counts)
    right, wrong = (Predictions(truth, np.eye(2)[code], 1) for code in (truth, 1 - truth))
    result, claim = against(right, wrong, rows_per_class=10)
    assert result.passed is passed
    assert claim == ("better" if passed else "not compared")
    if not passed:
        assert (
            f": {sum(counts)} rows, {min(counts)} of one class, and gate.rows_per_class is 10"
            in result.sentence
        )


def test_comparison_on_rows_that_lack_the_last_of_three_classes_breaks_the_rule():
    sample = make_predictions(3)
    sample = sample.where(sample.truth < 2)
    result, claim = against(sample, sample, rows_per_class=1)
    assert (result.passed, claim) == (False, "not compared")
    assert "40 rows, 0 of one class" in result.sentence


@pytest.mark.parametrize(("name", "apart"), APART.items())
def test_candidate_that_is_right_is_better_than_a_champion_that_is_wrong(name, apart):
    result, claim = against(make_sure(True), make_sure(False), metric=name)
    assert (result.passed, claim) == (True, "better")
    assert result.figures["gain"] == result.figures["least_gain"] == apart


@pytest.mark.parametrize("name", ["roc_auc", "brier", "mcc"])
@pytest.mark.parametrize("beyond", [True, False])
def test_gate_keeps_champion_when_candidate_may_be_worse_than_the_margin(name, beyond):
    """The candidate is worse by exactly that much, on every resample."""
    margin = float(APART[name]) if beyond else nextafter(APART[name], np.inf)
    result, claim = against(make_sure(False), make_sure(True), metric=name, margin=margin)
    assert result.passed is not beyond
    assert claim == ("maybe worse" if beyond else "not worse")


@pytest.mark.parametrize("name", ["roc_auc", "log_loss"])
@pytest.mark.parametrize(
    ("rule", "margin", "passed", "claim"),
    [
        ("non_inferiority", 1e-300, True, "not worse"),
        ("non_inferiority", 0.0, False, "maybe worse"),
        ("superiority", 0.02, False, "not worse"),
        ("superiority", 0.0, False, "maybe worse"),
    ],
)
def test_candidate_that_says_what_the_champion_says_is_neither_worse_nor_better(
    *, name, rule, margin, passed, claim
):
    sample = make_predictions()
    result = against(sample, sample, rule=rule, margin=margin, metric=name)
    assert (result[0].passed, result[1]) == (passed, claim)


BETTER, EVEN, SLIGHTLY_WORSE, WORSE = 0.03, 0.0, -0.01, -0.05  # least gains


@pytest.mark.parametrize(
    ("rule", "least", "passed", "claim", "meant"),
    [
        ("non_inferiority", BETTER, True, "better", "better"),
        ("non_inferiority", EVEN, True, "not worse", "not worse by gate.margin 0.02"),
        ("non_inferiority", SLIGHTLY_WORSE, True, "not worse", "not worse by gate.margin 0.02"),
        ("non_inferiority", -0.02, False, "maybe worse", "may be worse by more than gate.margin"),
        ("non_inferiority", WORSE, False, "maybe worse", "may be worse by more than gate.margin"),
        ("non_inferiority", nan, False, "maybe worse", "may be worse by more than gate.margin"),
        ("superiority", BETTER, True, "better", "better"),
        ("superiority", EVEN, False, "not worse", "not proven better"),
        ("superiority", SLIGHTLY_WORSE, False, "not worse", "not proven better"),
        ("superiority", WORSE, False, "maybe worse", "not proven better"),
        ("superiority", nan, False, "maybe worse", "not proven better"),
    ],
)
@pytest.mark.parametrize("name", ["roc_auc", "log_loss"])
def test_least_gain_decides_on_rule_and_claim(
    *, monkeypatch, name, rule, least, passed, claim, meant
):
    low, high = (-9.0, -least) if not METRICS[name].greater_is_better else (least, 9.0)
    pair = Difference(name, 0.71236, 0.70001, low, high)
    monkeypatch.setattr(gate, "differences", lambda *_: {name: pair})
    sample = make_predictions()
    result, made = against(sample, sample, rule=rule, metric=name)
    assert (result.passed, made) == (passed, claim)
    figures, _, last = result.sentence.rpartition(": ")
    assert last.startswith(meant)
    assert figures == (
        f"{name} 0.7124 against 0.7000 of version 3 on the same 60 rows, gain {pair.gain:+.4f}, "
        f"at least {least:+.4f} (95% confidence)"
    )
    np.testing.assert_equal(
        result.figures,
        {
            "first": 0.71236,
            "second": 0.70001,
            "gain": pair.gain,
            "least_gain": least,
            "rows": 60.0,
        },
    )


@pytest.mark.parametrize("level", [0.6, 0.99])
@pytest.mark.parametrize("name", ["roc_auc", "log_loss"])
def test_least_gain_is_a_one_sided_bound_of_the_gates_level(name, level):
    first, second = make_calibrated(seed=0), make_calibrated(seed=0)
    second = Predictions(first.truth, first.probabilities[::-1], 1)
    result, _ = against(first, second, metric=name, level=level)
    apart = bootstrap.resampled(first, 100, 0)[name] - bootstrap.resampled(second, 100, 0)[name]
    expected = np.quantile(-apart if not METRICS[name].greater_is_better else apart, 1 - level)
    assert result.figures["least_gain"] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("level", "percentage"), [(0.95, "95%"), (0.9, "90%"), (0.975, "97.5%"), (0.99, "99%")]
)
def test_level_of_confidence_is_reported_as_it_is_set(level, percentage):
    sample = make_calibrated()
    for result in (
        against(sample, sample, level=level)[0],
        result_of("gate.dummy", make_evidence(), level=level),
    ):
        assert f"({percentage} confidence)" in result.sentence.replace(" %", "%")


@pytest.mark.parametrize(
    ("name", "first", "second", "passed"),
    [
        ("log_loss", 0.4, 0.5, True),
        ("log_loss", 0.5, 0.5, False),
        ("log_loss", 0.5, 0.4, False),
        ("brier", 0.1, 0.2, True),
        ("brier", 0.2, 0.1, False),
        ("roc_auc", 0.5, 0.4, True),
        ("roc_auc", 0.5, 0.5, False),
        ("roc_auc", 0.4, 0.5, False),
        ("accuracy", nextafter(0.5, 1), 0.5, True),
        ("log_loss", nan, 0.5, False),
        ("log_loss", 0.5, nan, False),
    ],
)
def test_candidate_must_be_better_by_cross_validation_too(
    *, monkeypatch, name, first, second, passed
):
    pair = Difference("roc_auc", 0.8, 0.7, 0.05, 0.15)
    monkeypatch.setattr(gate, "differences", lambda *_: {"roc_auc": pair})
    sample = make_predictions()
    evidence = make_evidence(
        sample, logged={}, comparison=make_comparison(sample, sample, (first, second))
    )
    result = result_of("gate.primary", evidence, primary=name, **QUIET)
    assert result.passed is passed
    better = "is better than" if passed else "is not better than"
    assert result.sentence == f"cv/{name} {first:.6g} {better} {second:.6g} of version 3"
    np.testing.assert_equal(result.figures, {"first": first, "second": second})


def test_cross_validation_on_other_rows_is_not_asked():
    sample = make_calibrated()
    result = result_of(
        "gate.primary", make_evidence(sample, comparison=make_comparison(sample, sample, None))
    )
    assert result.passed is None
    assert result.sentence == "version 3 was cross-validated on other rows: not compared"


def test_claim_is_of_the_paired_comparison_whatever_other_rules_say():
    comparison = make_comparison(make_sure(True), make_sure(False), (0.9, 0.1))
    evidence = make_evidence(make_sure(False), comparison=comparison)
    results, claim = gate.check(make_config(gate={"floors": {"accuracy": 0.9}}), evidence)
    assert claim == "better"
    broken = {one.rule for one in results if one.passed is False}
    assert broken >= {"gate.floors.accuracy", "gate.dummy", "gate.calibration", "gate.primary"}


# All rules together.


def faulty(*faults: str) -> tuple[Evidence, dict]:
    """An evidence that breaks just those rules, and the gate's settings."""
    sample = make_too_sure(2.0) if "gate.calibration" in faults else make_calibrated()
    worse = make_sure(False, rows=200)
    wrong = "gate.rule" in faults
    comparison = make_comparison(
        worse if wrong else make_sure(True, rows=200),
        make_sure(True, rows=200) if wrong else worse,
        (0.5, 0.4) if "gate.primary" in faults else (0.4, 0.5),
    )
    evidence = make_evidence(sample, comparison=comparison)
    if "reproduced" in faults:
        evidence = replace(evidence, logged={"accuracy": 0.1})
    if "gate.dummy" in faults:
        evidence = replace(evidence, dummy=sample)
    return evidence, {
        "floors": {"accuracy": 0.99 if "gate.floors.accuracy" in faults else 0.6},
        "slices": {"noise": (0.0,)},
        "slice_floors": {"roc_auc": 0.99 if "gate.slice_floors.roc_auc" in faults else 0.6},
        "calibration": 1e-9 if "gate.calibration" in faults else 0.1,
    }


FAULTS = (
    "reproduced",
    "gate.floors.accuracy",
    "gate.dummy",
    "gate.calibration",
    "gate.slice_floors.roc_auc",
    "gate.rule",
    "gate.primary",
)


@pytest.mark.parametrize(
    "faults",
    [(), *[(one,) for one in FAULTS], FAULTS],
    ids=" ".join,
)
def test_rules_that_are_broken_are_those_and_no_others(faults):
    evidence, settings = faulty(*faults)
    results = results_of(evidence, **settings)
    assert {one.rule for one in results} == set(FAULTS)
    assert {one.rule for one in results if one.passed is False} == set(faults)


def three_classes() -> tuple[Evidence, dict]:
    sample = make_predictions(3)
    evidence = make_evidence(sample, comparison=make_comparison(sample, sample, (0.4, 0.5)))
    return evidence, faulty()[1]


@pytest.mark.parametrize(
    ("evidence", "settings"),
    [faulty(), faulty(*FAULTS), three_classes()],
    ids=["passed", "broken", "3"],
)
def test_every_ruling_tells_its_figures_in_one_line(evidence, settings):
    for one in results_of(evidence, **settings):
        assert "\n" not in one.sentence
        assert not one.sentence.endswith(".")
        for name, value in one.figures.items():
            forms = (".4f", ".6g", "+.4f", "+.2f", ".2f", "g", ".0f")
            assert any(f"{value:{form}}" in one.sentence for form in forms), (one, name)
        if one.rule.startswith("gate.") and not one.figures:
            assert one.rule in one.sentence


@pytest.mark.parametrize(("groups", "passed"), [(6, False), (10, True)])
def test_groups_are_counted_where_rows_have_them(groups, passed):
    """A hundred rows of a few patients are no more than a few witnesses."""
    patients = pd.Series(np.arange(200) % groups)
    sample = replace(make_calibrated(rows=200), metadata=Metadata(groups=patients))
    result, _ = against(sample, sample, rows_per_class=10)
    assert result.passed is passed
    if not passed:
        assert "200 rows of 6 groups, 6 of one class, and gate.rows_per_class is 10" in (
            result.sentence
        )


def test_record_says_how_rows_were_parted_and_that_groups_were_drawn():
    groups = pd.Series(np.arange(200) % 40)
    sample = replace(make_calibrated(rows=200), metadata=Metadata(groups=groups))
    evidence = make_evidence(sample, rows_note="rows of one 'patient' stay together")
    result = result_of("rows", evidence)
    assert result.passed is None
    assert result.sentence.endswith("stay together; resamples draw 40 groups, not rows")
    assert "rows" not in rules(make_evidence())
