from math import nan, nextafter

import numpy as np
import pytest
from sklearn import metrics as sk

from pipeline.evaluation import bootstrap, metrics
from pipeline.evaluation.calibration import calibration
from pipeline.evaluation.metrics import Predictions
from pipeline.evaluation.paired_bootstrap import Difference, differences
from pipeline.promotion import gate
from pipeline.promotion.gate import Evidence
from pipeline.results import RuleResult
from pipeline.tasks import METRICS, SEARCH_METRICS
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


def judge(evidence: Evidence, **settings) -> list[RuleResult]:
    return list(gate.check(make_config(gate=settings), evidence)[0])


def rule(evidence: Evidence, rule: str, **settings) -> RuleResult:
    """The one of that rule."""
    (found,) = [one for one in judge(evidence, **settings) if one.rule == rule]
    return found


def rules(evidence: Evidence, **settings) -> dict[str, bool | None]:
    return {one.rule: one.passed for one in judge(evidence, **settings)}


def one_class(rows: int = 20) -> Evidence:
    """A test part without a negative: its ROC AUC is not defined."""
    chance = np.linspace(0.1, 0.9, rows)
    sample = Predictions(np.ones(rows, dtype=int), np.c_[1 - chance, chance], 1)
    return make_evidence(sample, logged={})


def with_labels(right: int, wrong: int) -> Predictions:
    """So many rows right and wrong, each of them by the same probability."""
    truth = np.arange(right + wrong) % 2
    sure = np.r_[np.full(right, 0.75), np.full(wrong, 0.25)]
    told = np.where(np.eye(2)[truth] == 1, sure[:, None], 1 - sure[:, None])
    return Predictions(truth, told, positive=1)


# What is asked.


def test_candidate_that_comes_first_keeps_the_rules_that_are_set_without_asking():
    assert rules(make_evidence()) == {
        "reproduced": True,
        "gate.dummy": True,
        "gate.calibration": True,
        "gate.rule": None,
    }


def test_every_rule_that_is_set_has_its_ruling():
    sample = make_calibrated()
    found = rules(
        make_evidence(sample, comparison=make_comparison(sample, sample, (0.4, 0.5))),
        floors={"roc_auc": 0.5, "brier": 0.9},
        slices={"height": (0.0,)},
        slice_floors={"accuracy": 0.5},
    )
    assert found == {
        "reproduced": True,
        "gate.floors.roc_auc": True,
        "gate.floors.brier": True,
        "gate.dummy": True,
        "gate.calibration": True,
        "gate.slice_floors.accuracy": True,
        "gate.rule": True,
        "gate.primary": True,
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


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize(
    ("shift", "passed"), [(0, True), (9e-7, True), (-9e-7, True), (1.1e-6, False), (-1.1e-6, False)]
)
def test_metric_is_found_again_to_the_sixth_digit(name, shift, passed):
    sample = make_calibrated()
    evidence = make_evidence(sample, logged={name: metrics.value(name, sample) + shift})
    assert rule(evidence, "reproduced", **QUIET).passed is passed


def test_metric_that_is_not_found_again_is_told_with_both_its_values():
    sample = make_calibrated()
    found = metrics.value("roc_auc", sample)
    evidence = make_evidence(sample)
    evidence.logged["roc_auc"] = 0.512345
    told = rule(evidence, "reproduced", **QUIET)
    assert told.sentence == (
        f"test/roc_auc was 0.512345 when it was evaluated and is {found:.6g} now"
    )
    assert told.figures == {"test/roc_auc": found}


@pytest.mark.parametrize("known", [0.8, nan])
def test_metric_that_is_not_defined_is_not_found_again(known):
    evidence = one_class()
    evidence.logged["roc_auc"] = known
    assert rule(evidence, "reproduced", **QUIET).passed is False


# Floors.


@pytest.mark.parametrize("name", ["accuracy", "roc_auc", "log_loss"])
@pytest.mark.parametrize("towards", [0, -1, 1])
@pytest.mark.parametrize("floors_on", ["value", "interval"])
def test_floor_is_the_worst_value_that_passes(name, towards, floors_on):
    sample = make_predictions()
    low, high = bootstrap.intervals(sample, 100, 0)[name]
    worse_end = low if METRICS[name].greater_is_better else high
    judged = metrics.value(name, sample) if floors_on == "value" else worse_end
    floor = judged if towards == 0 else nextafter(judged, towards * np.inf)
    is_stricter = towards == (-1 if not METRICS[name].greater_is_better else 1)
    evidence = make_evidence(sample, logged={})
    settings = {"floors": {name: floor}, "floors_on": floors_on, **QUIET}
    found = rule(evidence, f"gate.floors.{name}", **settings)
    assert found.passed is not is_stricter
    assert found.figures == {
        "value": metrics.value(name, sample),
        "low": low,
        "high": high,
        "floor": floor,
    }


@pytest.mark.parametrize(
    ("name", "floor", "passed"),
    [
        ("accuracy", 0.75, True),
        ("accuracy", 0.7501, False),
        ("brier", 0.1875, True),
        ("brier", 0.1874, False),
    ],
)
def test_floor_is_held_against_the_metric_of_the_test_part(name, floor, passed):
    evidence = make_evidence(
        with_labels(75, 25)
    )  # Brier score: 0.75 * 0.25² + 0.25 * 0.75² = 0.1875
    assert rules(evidence, floors={name: floor}, **QUIET)[f"gate.floors.{name}"] is passed


@pytest.mark.parametrize(("name", "floor"), [("accuracy", 0.74), ("brier", 0.19)])
def test_floor_that_the_value_reaches_may_be_beyond_its_interval(name, floor):
    evidence, rule = make_evidence(with_labels(75, 25)), f"gate.floors.{name}"
    assert rules(evidence, floors={name: floor}, **QUIET)[rule] is True
    assert rules(evidence, floors={name: floor}, floors_on="interval", **QUIET)[rule] is False


@pytest.mark.parametrize("floors_on", ["value", "interval"])
@pytest.mark.parametrize(("name", "floor"), [("roc_auc", 0.0), ("average_precision", 0.0)])
def test_floor_of_a_metric_that_is_not_defined_is_broken(name, floor, floors_on):
    found = rules(one_class(), floors={name: floor}, floors_on=floors_on, **QUIET)
    assert found[f"gate.floors.{name}"] is False


def test_floors_are_each_judged_by_themselves():
    evidence = make_evidence(with_labels(75, 25))
    found = rules(evidence, floors={"accuracy": 0.9, "brier": 0.2, "recall": 0.99}, **QUIET)
    assert [found[f"gate.floors.{name}"] for name in ("accuracy", "brier", "recall")] == [
        False,
        True,
        False,
    ]


@pytest.mark.parametrize(
    ("floor", "floors_on", "begin", "end"),
    [
        (0.7, "value", "test/accuracy 0.75 (", "reaches gate.floors.accuracy 0.7"),
        (0.8, "value", "test/accuracy 0.75 (", "does not reach gate.floors.accuracy 0.8"),
        (
            0.74,
            "interval",
            "the worse end of test/accuracy 0.75 (",
            "does not reach gate.floors.accuracy 0.74",
        ),
    ],
)
def test_floor_is_told_with_value_interval_and_setting(floor, floors_on, begin, end):
    sample = with_labels(75, 25)
    low, high = bootstrap.intervals(sample, 100, 0)["accuracy"]
    found = rule(
        make_evidence(sample),
        "gate.floors.accuracy",
        floors={"accuracy": floor},
        floors_on=floors_on,
        **QUIET,
    )
    assert found.sentence == f"{begin}95 % interval {low:.6g} to {high:.6g}) {end}"


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
    found = rule(evidence, name_of_floor, floors={name: floor}, floors_on="interval", **QUIET)
    value, low, high, _ = found.figures.values()
    assert found.passed is False
    assert found.sentence == (
        f"test/{name} {value:.6g} (95 % interval {low:.6g} to {high:.6g}): the interval of 60 rows "
        f"has no width and proves nothing of {name_of_floor} {floor:g}; judge by gate.floors_on "
        "value, or on more test rows"
    )


def test_interval_that_leaves_out_many_resamples_does_not_reach_a_floor():
    """One row in sixty is of the class, and a third of the resamples has none."""
    truth = (np.arange(60) == 7).astype(int)
    sample = Predictions(truth, np.eye(2)[truth] * 0.8 + 0.1, positive=1)
    found = rule(
        make_evidence(sample, logged={}),
        "gate.floors.roc_auc",
        floors={"roc_auc": 0.9},
        floors_on="interval",
        **QUIET,
    )
    assert found.passed is False
    assert "of the resamples, which lack a class, and proves nothing of gate.floors.roc_auc" in (
        found.sentence
    )


@pytest.mark.parametrize(("name", "floor"), [("accuracy", 0.0), ("mcc", -1.0), ("brier", 2.0)])
@pytest.mark.parametrize("right", [True, False])
def test_floor_that_every_model_reaches_needs_no_proof(name, floor, right):
    evidence = make_evidence(make_sure(right), logged={})
    found = rule(
        evidence, f"gate.floors.{name}", floors={name: floor}, floors_on="interval", **QUIET
    )
    assert found.passed is True
    assert found.sentence.endswith(f"reaches gate.floors.{name} {floor:g}")


def test_narrowly_missed_floor_is_told_with_digits_that_show_it():
    sample = make_calibrated()
    value = metrics.value("log_loss", sample)
    told = rule(
        make_evidence(sample), "gate.floors.log_loss", floors={"log_loss": value - 1e-5}, **QUIET
    ).sentence
    shown, floor = told.split()[1], told.split()[-1]
    assert float(shown) > float(floor)


# Better than the shares of the classes.


@pytest.mark.parametrize("name", SEARCH_METRICS)
@pytest.mark.parametrize("sample", [make_calibrated(), make_predictions(3, rows=60)])
def test_candidate_is_better_than_the_class_shares(name, sample):
    found = rule(make_evidence(sample, logged={}), "gate.dummy", primary=name, calibration=None)
    pair = differences(sample, make_dummy(sample), 100, 0, 0.9)[name]
    expected = {
        "first": pair.first,
        "second": pair.second,
        "gain": pair.gain,
        "least_gain": pair.least_gain,
    }
    assert found.passed is True
    assert found.figures == pytest.approx(expected)


@pytest.mark.parametrize("name", SEARCH_METRICS)
def test_candidate_that_is_the_class_shares_is_not_better(name):
    sample = make_dummy(make_calibrated())
    evidence = make_evidence(sample, dummy=sample, logged={})
    found = rule(evidence, "gate.dummy", primary=name, calibration=None)
    assert found.passed is False
    assert found.figures["least_gain"] == 0


def test_candidate_that_is_better_by_chance_is_not_proven_better():
    sample = make_calibrated(rows=20, seed=1)
    found = rule(make_evidence(sample), "gate.dummy", calibration=None)
    assert found.figures["gain"] > 0 > found.figures["least_gain"]
    assert found.passed is False


def test_candidate_that_cannot_be_held_against_the_class_shares_is_not_better():
    evidence = one_class()
    found = rule(evidence, "gate.dummy", primary="roc_auc", calibration=None)
    assert found.passed is False


@pytest.mark.parametrize(
    ("sample", "meant"), [(make_calibrated(), "is better"), (make_sure(False), "is not proven")]
)
def test_comparison_with_the_class_shares_is_told_with_its_numbers(sample, meant):
    found = rule(make_evidence(sample), "gate.dummy")
    first, second, gain, least_gain = found.figures.values()
    assert found.sentence == (
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
    found = rule(make_evidence(sample), "gate.calibration", calibration=most)
    assert found.passed is passed


@pytest.mark.parametrize(
    ("sample", "most", "within"),
    [
        (make_calibrated(), 0.2, "within gate.calibration 0.2"),
        (make_calibrated(), 1e-6, "beyond gate.calibration 1e-06, which may be chance"),
        (make_too_sure(), 1e-6, "beyond gate.calibration 1e-06"),
    ],
)
def test_calibration_is_told_with_its_numbers(sample, most, within):
    of_sample = calibration(sample)
    found = rule(make_evidence(sample), "gate.calibration", calibration=most)
    assert found.sentence == (
        f"probabilities are {of_sample.error:.4f} from their recalibration on average, "
        f"{of_sample.relative:.4f} relative to the rate {of_sample.rate:.4f}, {within} "
        f"(slope {of_sample.slope:.2f}, intercept {of_sample.intercept:+.2f}, "
        f"p-value {of_sample.p_value:.2g})"
    )
    assert found.figures == {
        "error": of_sample.error,
        "relative": of_sample.relative,
        "rate": of_sample.rate,
        "slope": of_sample.slope,
        "intercept": of_sample.intercept,
        "p_value": of_sample.p_value,
    }


def test_probabilities_that_are_far_too_sure_break_the_calibration():
    assert rules(make_evidence(make_too_sure()))["gate.calibration"] is False


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
    found = rule(make_evidence(sample, logged={}), "gate.calibration")
    assert found.passed is None
    assert f"without an error on these {rows} rows" in found.sentence


def test_one_class_that_is_separated_leaves_the_others_to_be_asked():
    truth = np.arange(300) % 3
    told = np.tile([0.4, 0.3, 0.3], (300, 1))
    told[truth == 0] = [0.9, 0.05, 0.05]
    told[(truth > 0)] = [0.02, 0.95, 0.03]  # of the last two, one is right half of the time
    found = rule(make_evidence(Predictions(truth, told), logged={}), "gate.calibration")
    assert found.passed is False
    assert found.figures["rate"] == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("slope", "intercept", "passed"), [(1.0, 0.0, True), (2.39, 5.74, False), (1.0, 0.9, False)]
)
def test_calibration_of_a_rare_class_is_relative_to_its_rate(slope, intercept, passed):
    """One row in a hundred is of the class: probabilities are small, and so is any distance."""
    rng = np.random.default_rng(1)
    chance = np.clip(rng.lognormal(-5, 1, 20_000), 0, 0.5)
    truth = (rng.random(20_000) < chance).astype(int)
    odds = np.exp((np.log(chance / (1 - chance)) - intercept) / slope)
    told = odds / (1 + odds)
    found = rule(
        make_evidence(Predictions(truth, np.c_[1 - told, told], positive=1), logged={}),
        "gate.calibration",
    )
    assert found.figures["error"] < 0.1  # whichever: that alone tells nothing
    assert found.passed is passed


# Classes that are never predicted.


def test_a_class_that_is_never_predicted_is_named_with_its_rows_and_the_remedy():
    chance = np.linspace(0.01, 0.3, 100)
    truth = (np.arange(100) >= 95).astype(int)
    evidence = make_evidence(
        Predictions(truth, np.c_[1 - chance, chance], positive=1), classes=("n", "y")
    )
    found = rule(evidence, "labels")
    assert found.passed is None
    assert found.sentence.startswith("'y' is never predicted, and 5 of 100 test rows are of that")
    assert found.sentence.endswith(
        "raise train.cost_false_negative, or set gate.floors on recall, f1 or average_precision"
    )


def test_each_of_several_classes_that_are_never_predicted_is_named():
    truth = np.arange(90) % 3
    told = np.tile([0.2, 0.5, 0.3], (90, 1))
    found = judge(make_evidence(Predictions(truth, told), logged={}, classes=("a", "b", "c")))
    named = [one.sentence[:22] for one in found if one.rule == "labels"]
    assert named == ["'a' is never predicted", "'c' is never predicted"]


def test_calibration_that_cannot_be_told_is_broken():
    assert rules(one_class(), dummy=False)["gate.calibration"] is False


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
    evidence = make_evidence(sample)
    return Evidence(
        evidence.logged, sample, evidence.dummy, evidence.X.assign(height=heights), None, (0, 1)
    )


def of_slices(evidence: Evidence, **settings) -> list[tuple[bool | None, str]]:
    found = judge(evidence, **{**SLICED, **settings})
    return [(one.passed, one.sentence) for one in found if "slice_floors" in one.rule]


def test_slice_that_misses_a_floor_is_found_under_a_whole_that_reaches_it():
    evidence = sliced((-1, 90, 10), (1, 10, 10))
    assert rules(evidence, floors={"accuracy": 0.8}, **SLICED)["gate.floors.accuracy"] is True
    (one, _), (other, told) = of_slices(evidence)
    assert (one, other) == (True, False)
    assert told.startswith("test/accuracy where height >= 0 0.5 (95 % interval ")
    assert told.endswith(" does not reach gate.slice_floors.accuracy 0.6")


def test_every_slice_is_held_against_every_floor():
    evidence = sliced((-1, 30, 10), (1, 30, 10), (nan, 30, 10))
    settings = {**SLICED, "slice_floors": {"accuracy": 0.75, "brier": 0.1875, "recall": 0.8}}
    found = [one for one in judge(evidence, **settings) if "slice_floors" in one.rule]
    assert [one.rule.rpartition(".")[2] for one in found] == ["accuracy", "brier", "recall"] * 3
    assert [one.passed for one in found] == [True, True, False] * 3


def test_numbers_of_a_slice_are_those_of_its_rows():
    sample = make_predictions(rows=150)
    evidence = make_evidence(sample)
    settings = {**SLICED, "slices": {"noise": (0.0, 0.5)}, "slice_floors": {"roc_auc": 0.5}}
    found = [one for one in judge(evidence, **settings) if "slice_floors" in one.rule]
    noise = evidence.X["noise"]
    parts = [noise < 0, (noise >= 0) & (noise < 0.5), noise >= 0.5]
    for one, where in zip(found, parts, strict=True):
        expected = sk.roc_auc_score(sample.truth[where], sample.probabilities[where, 1])
        assert one.figures["value"] == pytest.approx(expected)
        assert one.figures["low"] < expected < one.figures["high"]


def test_gaps_are_a_slice():
    evidence = sliced((-1, 30, 10), (1, 30, 10), (nan, 5, 35))
    *_, (passed, told) = of_slices(evidence)
    assert passed is False
    assert "where height missing 0.125 " in told


@pytest.mark.parametrize(
    ("rows", "expected"), [(20, True), (19, None), (18, None), (2, None), (0, None)]
)
def test_slice_with_fewer_rows_of_a_class_than_asked_for_is_not_judged(rows, expected):
    found = of_slices(sliced((-1, 40, 0), (1, rows, 0)), rows_per_class=10)
    assert [passed for passed, _ in found] == [True, expected]
    if expected is None:
        assert found[1][1] == (
            f"where height >= 0: {rows} rows, {rows // 2} of one class, and gate.rows_per_class "
            "is 10"
        )


def test_slice_of_one_class_is_not_judged():
    sample = make_sure(True)
    evidence = make_evidence(sample)
    evidence = Evidence(
        evidence.logged,
        sample,
        evidence.dummy,
        evidence.X.assign(height=sample.truth - 0.5),
        None,
        (0, 1),
    )
    assert [passed for passed, _ in of_slices(evidence, rows_per_class=1)] == [None, None]


def test_slices_are_held_against_the_worse_end_if_floors_are():
    evidence = sliced((-1, 90, 10), (1, 28, 12))  # 0.7, and the interval reaches below 0.6
    assert [passed for passed, _ in of_slices(evidence)] == [True, True]
    found = of_slices(evidence, floors_on="interval")
    assert [passed for passed, _ in found] == [True, False]
    assert found[1][1].startswith("the worse end of test/accuracy where height >= 0 0.7 ")


def test_slice_without_an_error_is_not_proven_to_reach_a_floor():
    evidence = sliced((-1, 90, 10), (1, 40, 0))
    found = of_slices(evidence, floors_on="interval")
    assert [passed for passed, _ in found] == [True, False]
    assert found[1][1].startswith(
        "test/accuracy where height >= 0 1 (95 % interval 1 to 1): the interval of 40 rows has no "
        "width and proves nothing of gate.slice_floors.accuracy 0.6; "
    )


def test_each_column_has_slices_of_its_own():
    evidence = make_evidence(make_predictions(rows=200))
    settings = {"slices": {"height": (0.0,), "noise": (-0.3, 0.3)}, "slice_floors": {"f1": 0.0}}
    told = [sentence.split(" where ")[1] for _, sentence in of_slices(evidence, **settings)]
    assert [text.split(" (")[0].rpartition(" ")[0] for text in told] == [
        "height < 0",
        "height >= 0",
        "noise < -0.3",
        "-0.3 <= noise < 0.3",
        "noise >= 0.3",
    ]


# Against the champion.

APART = {"accuracy": 1, "roc_auc": 1, "brier": 1, "f1": 1, "precision": 1, "recall": 1, "mcc": 2}


def against(first: Predictions, second: Predictions, **settings) -> tuple[RuleResult, str]:
    """The rule of gate.rule, and the claim."""
    evidence = make_evidence(logged={}, comparison=make_comparison(first, second, (0.4, 0.5)))
    found, claim = gate.check(make_config(gate={**QUIET, **settings}), evidence)
    (one,) = [one for one in found if one.rule == "gate.rule"]
    return one, claim


def test_first_candidate_has_no_champion_to_be_compared_with():
    for rule in ("non_inferiority", "superiority", "none"):
        found, claim = gate.check(make_config(gate={"rule": rule}), make_evidence())
        assert claim == "first"
        assert found[-1] == RuleResult("gate.rule", None, "there is no champion to compare with")


@pytest.mark.parametrize(
    "comparison", [make_comparison(make_sure(False), make_sure(True)), "no rows"]
)
def test_comparison_that_is_not_wanted_is_not_made(comparison):
    found, claim = gate.check(
        make_config(gate={"rule": "none"}), make_evidence(comparison=comparison)
    )
    assert claim == "not compared"
    assert found[-1].passed is None
    assert "gate.rule is none" in found[-1].sentence
    assert "gate.primary" not in [one.rule for one in found]


@pytest.mark.parametrize("rule", ["non_inferiority", "superiority"])
def test_comparison_that_cannot_be_made_breaks_the_rule_and_says_why(rule):
    evidence = make_evidence(comparison="its target is 'ill', and here it is 'label'")
    found, claim = gate.check(make_config(gate={"rule": rule}), evidence)
    assert claim == "not compared"
    assert found[-1].passed is False
    assert found[-1].sentence == (
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
    found, claim = against(right, wrong, rows_per_class=10)
    assert found.passed is passed
    assert claim == ("better" if passed else "not compared")
    if not passed:
        assert (
            f": {sum(counts)} rows, {min(counts)} of one class, and gate.rows_per_class is 10"
            in (found.sentence)
        )


def test_comparison_on_rows_that_lack_the_last_of_three_classes_breaks_the_rule():
    sample = make_predictions(3)
    sample = sample.where(sample.truth < 2)
    found, claim = against(sample, sample, rows_per_class=1)
    assert (found.passed, claim) == (False, "not compared")
    assert "40 rows, 0 of one class" in found.sentence


@pytest.mark.parametrize(("name", "apart"), APART.items())
def test_candidate_that_is_right_is_better_than_a_champion_that_is_wrong(name, apart):
    found, claim = against(make_sure(True), make_sure(False), metric=name)
    assert (found.passed, claim) == (True, "better")
    assert found.figures["gain"] == found.figures["least_gain"] == apart


@pytest.mark.parametrize("name", ["roc_auc", "brier", "mcc"])
@pytest.mark.parametrize("beyond", [True, False])
def test_gate_keeps_champion_when_candidate_may_be_worse_than_the_margin(name, beyond):
    """The candidate is worse by exactly that much, on every resample."""
    margin = float(APART[name]) if beyond else nextafter(APART[name], np.inf)
    found, claim = against(make_sure(False), make_sure(True), metric=name, margin=margin)
    assert found.passed is not beyond
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
    found = against(sample, sample, rule=rule, margin=margin, metric=name)
    assert (found[0].passed, found[1]) == (passed, claim)


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
    found, said = against(sample, sample, rule=rule, metric=name)
    assert (found.passed, said) == (passed, claim)
    told, _, last = found.sentence.rpartition(": ")
    assert last.startswith(meant)
    assert told == (
        f"{name} 0.7124 against 0.7000 of version 3 on the same 60 rows, gain {pair.gain:+.4f}, "
        f"at least {least:+.4f} (95% confidence)"
    )
    np.testing.assert_equal(
        found.figures,
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
    found, _ = against(first, second, metric=name, level=level)
    apart = bootstrap.resampled(first, 100, 0)[name] - bootstrap.resampled(second, 100, 0)[name]
    expected = np.quantile(-apart if not METRICS[name].greater_is_better else apart, 1 - level)
    assert found.figures["least_gain"] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("level", "told"), [(0.95, "95%"), (0.9, "90%"), (0.975, "97.5%"), (0.99, "99%")]
)
def test_level_of_confidence_is_told_as_it_is_set(level, told):
    sample = make_calibrated()
    for found in (
        against(sample, sample, level=level)[0],
        rule(make_evidence(), "gate.dummy", level=level),
    ):
        assert f"({told} confidence)" in found.sentence.replace(" %", "%")


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
    found = rule(evidence, "gate.primary", primary=name, **QUIET)
    assert found.passed is passed
    better = "is better than" if passed else "is not better than"
    assert found.sentence == f"cv/{name} {first:.6g} {better} {second:.6g} of version 3"
    np.testing.assert_equal(found.figures, {"first": first, "second": second})


def test_cross_validation_on_other_rows_is_not_asked():
    sample = make_calibrated()
    found = rule(
        make_evidence(sample, comparison=make_comparison(sample, sample, None)), "gate.primary"
    )
    assert found.passed is None
    assert found.sentence == "version 3 was cross-validated on other rows: not compared"


def test_claim_is_of_the_paired_comparison_whatever_other_rules_say():
    comparison = make_comparison(make_sure(True), make_sure(False), (0.9, 0.1))
    evidence = make_evidence(make_sure(False), comparison=comparison)
    found, claim = gate.check(make_config(gate={"floors": {"accuracy": 0.9}}), evidence)
    assert claim == "better"
    broken = {one.rule for one in found if one.passed is False}
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
    evidence = Evidence(
        {"accuracy": 0.1} if "reproduced" in faults else evidence.logged,
        sample,
        sample if "gate.dummy" in faults else evidence.dummy,
        evidence.X,
        comparison,
        evidence.classes,
    )
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
    found = judge(evidence, **settings)
    assert {one.rule for one in found} == set(FAULTS)
    assert {one.rule for one in found if one.passed is False} == set(faults)


def three_classes() -> tuple[Evidence, dict]:
    sample = make_predictions(3)
    evidence = make_evidence(sample, comparison=make_comparison(sample, sample, (0.4, 0.5)))
    return evidence, faulty()[1]


@pytest.mark.parametrize(
    ("evidence", "settings"),
    [faulty(), faulty(*FAULTS), three_classes()],
    ids=["kept", "broken", "3"],
)
def test_every_ruling_tells_its_figures_in_one_line(evidence, settings):
    for one in judge(evidence, **settings):
        assert "\n" not in one.sentence
        assert not one.sentence.endswith(".")
        for name, value in one.figures.items():
            forms = (".4f", ".6g", "+.4f", "+.2f", ".2f", "g", ".0f")
            assert any(f"{value:{form}}" in one.sentence for form in forms), (one, name)
        if one.rule.startswith("gate.") and not one.figures:
            assert one.rule in one.sentence


@pytest.mark.parametrize("seed", range(3))
def test_random_candidate_passes_only_where_every_rule_is_kept_by_its_figures(seed):
    rng = np.random.default_rng(seed)
    sample = make_calibrated(rows=120, seed=seed)
    noise = rng.dirichlet((1, 1), size=120)
    share = rng.uniform(0, 0.6)
    blurred = Predictions(sample.truth, (1 - share) * sample.probabilities + share * noise, 1)
    floor, most, margin = rng.uniform(0.6, 0.9), rng.uniform(0.02, 0.15), rng.uniform(0, 0.1)
    settings = {"floors": {"roc_auc": floor}, "calibration": most, "margin": margin}
    found = rules(
        make_evidence(blurred, comparison=make_comparison(blurred, sample, None)), **settings
    )

    auc = sk.roc_auc_score(blurred.truth, blurred.probabilities[:, 1])
    own, dummy, champion = (
        bootstrap.resampled(one, 100, 0) for one in (blurred, make_dummy(blurred), sample)
    )
    assert found == {
        "reproduced": True,
        "gate.floors.roc_auc": auc >= floor,
        "gate.dummy": np.quantile(own["log_loss"] - dummy["log_loss"], 0.95) < 0,
        "gate.calibration": calibration(blurred).relative <= most
        or calibration(blurred).p_value >= 0.05,
        "gate.rule": np.quantile(own["roc_auc"] - champion["roc_auc"], 0.05) > -margin,
        "gate.primary": None,
    }
