import pytest

from pipeline.config import Gate, Metric
from pipeline.metrics import ALL
from pipeline.results import Candidate
from pipeline.steps.promote import decide

LOWER_IS_BETTER = ("log_loss", "brier")
TEST = {f"test/{name}": 0.5 for name in ALL}


def make_candidate(run_id: str, loss: float, **test: float) -> Candidate:
    values = {f"test/{name}": value for name, value in test.items()}
    return Candidate(
        run_id=run_id,
        model_id=f"model of {run_id}",
        metrics={"cv/log_loss": loss, **TEST, **values},
        params={},
        digests={},
    )


def floors(**values: float) -> Gate:
    return Gate(floors=values)


@pytest.mark.parametrize("losses", [(0.3, 0.4, 0.5), (0.5, 0.3, 0.4), (0.4, 0.5, 0.3), (0.3,)])
def test_decide_picks_the_lowest_cross_validated_log_loss(losses):
    candidates = [make_candidate(f"run {loss}", loss) for loss in losses]
    decision = decide(Gate(), candidates)
    assert decision.candidate.run_id == "run 0.3"
    assert decision.passed


def test_decide_never_chooses_by_the_test_part():
    by_cv = make_candidate("by cv", 0.3, log_loss=0.9, roc_auc=0.6, accuracy=0.6)
    by_test = make_candidate("by test", 0.4, log_loss=0.1, roc_auc=0.9, accuracy=0.9)
    assert decide(floors(roc_auc=0.8), [by_test, by_cv]).candidate is by_cv
    assert not decide(floors(roc_auc=0.8), [by_test, by_cv]).passed


def test_decide_keeps_to_the_earlier_of_equals_where_the_latest_comes_first():
    latest, earlier, worst = (
        make_candidate("latest", 0.3),
        make_candidate("earlier", 0.3),
        make_candidate("worst", 0.9),
    )
    assert decide(Gate(), [latest, earlier, worst]).candidate is earlier
    assert decide(Gate(), [worst, latest, earlier]).candidate is earlier


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(("value", "passed"), [(0.5, True), (0.5001, "higher"), (0.4999, "lower")])
def test_decide_takes_a_floor_as_the_worst_value_that_passes(name: Metric, value, passed):
    if passed is not True:
        passed = (passed == "lower") is (name in LOWER_IS_BETTER)
    decision = decide(floors(**{name: 0.5}), [make_candidate("a", 0.3, **{name: value})])
    assert decision.passed is passed


@pytest.mark.parametrize(
    ("gate", "failed"),
    [
        (floors(accuracy=0.7, log_loss=0.6), []),
        (floors(accuracy=0.8, log_loss=0.6), ["accuracy"]),
        (floors(accuracy=0.7, log_loss=0.5), ["log_loss"]),
        (floors(accuracy=0.8, log_loss=0.5), ["accuracy", "log_loss"]),
    ],
)
def test_decide_passes_only_when_every_floor_is_reached(gate, failed):
    decision = decide(gate, [make_candidate("a", 0.3, accuracy=0.75, log_loss=0.55)])
    assert decision.passed is not bool(failed)
    if failed:
        assert [reason.split()[0] for reason in decision.reasons] == [f"test/{n}" for n in failed]


def test_decide_names_the_numbers_of_a_missed_floor():
    candidate = make_candidate("a", 0.3, roc_auc=0.71239, log_loss=0.65)
    reasons = decide(floors(roc_auc=0.75, log_loss=0.6), [candidate]).reasons
    assert reasons == (
        "test/roc_auc 0.71239 does not reach gate.floors.roc_auc 0.75",
        "test/log_loss 0.65 does not reach gate.floors.log_loss 0.6",
    )


def test_decide_names_the_numbers_of_a_pass():
    candidates = [make_candidate("a", 0.51236), make_candidate("b", 0.6), make_candidate("c", 0.7)]
    decision = decide(floors(accuracy=0.1), candidates)
    assert decision.reasons == ("best of 3 by cv/log_loss 0.5124",)


def test_decide_does_not_fall_back_on_the_next_best_when_the_best_misses_a_floor():
    best, next_best = make_candidate("best", 0.3, accuracy=0.5), make_candidate("next", 0.4)
    decision = decide(floors(accuracy=0.6), [best, next_best])
    assert decision.candidate is best
    assert not decision.passed


def test_decide_tells_a_narrowly_missed_floor_with_digits_that_show_it():
    (reason,) = decide(floors(roc_auc=0.75), [make_candidate("a", 0.3, roc_auc=0.74999)]).reasons
    assert "0.7500 " not in reason


def test_decide_fails_a_floor_of_a_metric_that_is_not_a_number():
    candidate = make_candidate("a", 0.3, roc_auc=float("nan"))
    assert not decide(floors(roc_auc=0.75), [candidate]).passed


def test_decide_fails_a_floor_of_a_metric_that_the_candidate_lacks():
    candidate = make_candidate("a", 0.3)
    del candidate.metrics["test/roc_auc"]
    decision = decide(floors(roc_auc=0.75), [candidate])
    assert not decision.passed
    assert "roc_auc" in decision.reasons[0]
