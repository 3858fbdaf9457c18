import math

import pytest

from pipeline.promotion import gate
from pipeline.promotion.select import decide, select
from pipeline.results import Decision, RuleResult
from pipeline.tasks import BINARY, METRICS
from tests.support.builders import (
    make_calibrated,
    make_candidate,
    make_comparison,
    make_config,
    make_evidence,
)

NOBODY: dict[str, dict[str, float]] = {}


# Which candidate.


@pytest.mark.parametrize("losses", [(0.3, 0.4, 0.5), (0.5, 0.3, 0.4), (0.4, 0.5, 0.3), (0.3,)])
def test_best_is_the_lowest_cross_validated_log_loss(losses):
    candidates = [make_candidate(f"run {loss}", loss) for loss in losses]
    best, message = select("log_loss", candidates, NOBODY)
    assert best.run_id == "run 0.3"
    assert message == f"best of {len(losses)} by cv/log_loss 0.3000"


@pytest.mark.parametrize("name", BINARY.search_metrics)
def test_best_is_that_of_the_primary_metric_whichever_way_is_better(name):
    others = {f"cv__{other}": 0.5 for other in BINARY.search_metrics if other != "log_loss"}
    low, high = (
        make_candidate(message, **{"loss": 0.5, **others, **changed})
        for message, changed in (
            ("low", {"loss" if name == "log_loss" else f"cv__{name}": 0.21236}),
            ("high", {"loss" if name == "log_loss" else f"cv__{name}": 0.7}),
        )
    )
    best, message = select(name, [low, high], NOBODY)
    assert best.run_id == ("low" if not METRICS[name].greater_is_better else "high")
    text = "0.2124" if not METRICS[name].greater_is_better else "0.7000"
    assert message == f"best of 2 by cv/{name} {text}"


def test_best_is_never_chosen_by_the_test_part():
    by_cv = make_candidate("by cv", 0.3, test__log_loss=0.9, test__roc_auc=0.6)
    by_test = make_candidate("by test", 0.4, test__log_loss=0.1, test__roc_auc=0.9)
    for candidates in ([by_test, by_cv], [by_cv, by_test]):
        assert select("log_loss", candidates, NOBODY)[0] is by_cv


@pytest.mark.parametrize("name", BINARY.search_metrics)
def test_best_is_the_earlier_of_equals_where_the_latest_comes_first(name):
    worst = make_candidate("worst", 0.9, cv__roc_auc=0.1, cv__accuracy=0.1, cv__brier=0.9)
    latest, earlier = make_candidate("latest"), make_candidate("earlier")
    for candidates in ([latest, earlier, worst], [worst, latest, earlier]):
        assert select(name, candidates, NOBODY)[0] is earlier


def test_model_that_was_rolled_back_is_left_out_and_counted():
    best, next_best, worst = (
        make_candidate(run, loss) for run, loss in (("a", 1), ("b", 2), ("c", 3))
    )
    result, message = select(
        "log_loss", [best, next_best, worst], {"model of a": {}, "of another table": {}}
    )
    assert result is next_best
    assert message == "best of 2 by cv/log_loss 2.0000 (1 left out: rolled back)"


def test_model_that_was_rolled_back_is_known_by_its_own_id_and_not_its_runs():
    one = make_candidate("a")
    assert select("log_loss", [one], {"a": {}})[0] is one


def test_model_that_was_rolled_back_is_known_again_when_it_is_trained_once_more():
    first, twin, other = (
        make_candidate(run, loss, test__roc_auc=auc)
        for run, loss, auc in (("a", 0.4, 0.8), ("b", 0.4, 0.8), ("c", 0.4, 0.81))
    )
    gone = {first.model_id: {name: first.metrics[name] for name in ("cv/log_loss", "test/roc_auc")}}
    result, message = select("log_loss", [twin, other], gone)
    assert result is other
    assert message.endswith("(1 left out: rolled back)")


@pytest.mark.parametrize("runs", ["a", "ab"])
def test_nothing_is_chosen_where_every_model_was_rolled_back(runs):
    candidates = [make_candidate(run) for run in runs]
    best, message = select("log_loss", candidates, {"model of a": {}, "model of b": {}})
    assert best is None
    assert f"({len(runs)}) was rolled back" in message
    assert "promote --run ID" in message


def test_choice_of_some_says_that_there_are_more():
    best, twin, other = (make_candidate(run, loss) for run, loss in (("a", 1), ("b", 2), ("c", 3)))
    _, choice = select("log_loss", [best, other], NOBODY, is_all=False)
    assert choice == "best of at least 2 by cv/log_loss 1.0000"
    gone = {best.model_id: {}}
    _, choice = select("log_loss", [best, twin, other], gone, is_all=False)
    assert choice == ("best of at least 2 by cv/log_loss 2.0000 (at least 1 left out: rolled back)")


@pytest.mark.parametrize("name", BINARY.search_metrics)
@pytest.mark.parametrize("value", [math.nan, None])
def test_model_without_the_metric_is_never_best(name, value):
    better, without = make_candidate("better"), make_candidate("without")
    if value is None:
        del without.metrics[f"cv/{name}"]
    else:
        without.metrics[f"cv/{name}"] = value
    for candidates in ([better, without], [without, better]):
        best, choice = select(name, candidates, NOBODY)
        assert best is better
        assert choice.startswith("best of 1 ")
    none, why = select(name, [without], NOBODY)
    assert none is None
    assert f"no candidate has cv/{name}" in why
    assert "gate.primary" in why


# Before the gate.


def test_decision_is_the_gates_with_how_the_candidate_was_chosen():
    candidate, evidence, config = make_candidate(), make_evidence(), make_config()
    rules, claim = gate.check(config, evidence)
    assert decide(config, candidate, "best of 1", evidence) == Decision(
        candidate, "best of 1", rules, claim, ""
    )


@pytest.mark.parametrize(
    ("comparison", "digest"),
    [
        (make_comparison(make_calibrated(), make_calibrated()), "d" * 64),
        (None, ""),
        ("it has no rows", ""),
    ],
)
def test_decision_names_the_rows_of_a_comparison(comparison, digest):
    evidence = make_evidence(comparison=comparison)
    assert decide(make_config(), make_candidate(), "", evidence).rows_digest == digest


def test_candidate_that_is_not_worse_passes_with_the_comparison_as_a_reason():
    sample = make_calibrated()
    evidence = make_evidence(comparison=make_comparison(sample, sample, (0.4, 0.5)))
    result = decide(make_config(), make_candidate(), "best of 2", evidence)
    assert result.passed
    assert result.claim == "not worse"
    choice, compared = result.reasons
    assert choice == "best of 2"
    assert compared.endswith("not worse by gate.margin 0.02")


@pytest.mark.parametrize(
    ("each", "passed"),
    [
        ((True, True), True),
        ((True, None), True),
        ((None, None), True),
        ((), True),
        ((True, False), False),
        ((False, None), False),
        ((False, False), False),
    ],
)
def test_decision_passes_only_where_no_rule_is_broken(each, passed):
    rules = tuple(RuleResult(f"rule {n}", one, f"sentence {n}") for n, one in enumerate(each))
    result = Decision(make_candidate(), "the choice", rules, "better")
    assert result.passed is passed
    broken = tuple(f"sentence {n}" for n, one in enumerate(each) if one is False)
    assert result.reasons == (broken or ("the choice",))
