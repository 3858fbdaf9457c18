from math import inf

import numpy as np
import pandas as pd
import pytest

from pipeline.errors import SearchError
from pipeline.evaluation.cross_validation import make_folds, out_of_fold
from pipeline.models import families as models
from pipeline.tasks import BINARY
from pipeline.tuning import trial as trials
from pipeline.tuning.selection import Selection
from pipeline.tuning.trial import TrialInputs, TrialResult
from tests.support.builders import make_dataset, make_trial

ROWS = 200
FAMILIES = ("svc", "mlp")
LABELS = [((0, 1), 1), (("no", "yes"), "no"), (("a", "b", "c"), None)]


def make_task(labels=(0, 1), positive=1, rows: int = ROWS) -> TrialInputs:
    dataset = make_dataset(labels, positive, rows=rows)
    folds = make_folds(BINARY, dataset.y, 2, seed=0)
    return TrialInputs(dataset.X, dataset.y, folds, dataset.contract.positive_index, seed=0)


def predictions(task: TrialInputs, expected: "np.ndarray | float") -> np.ndarray:
    """`own` goes to the true class of each row, the rest to the others alike."""
    codes = np.unique(task.y, return_inverse=True)[1]
    count = codes.max() + 1
    expected = np.broadcast_to(expected, len(codes))
    probabilities = np.repeat(((1 - expected) / (count - 1))[:, None], count, axis=1)
    probabilities[np.arange(len(codes)), codes] = expected
    return probabilities


def outcome(number: int, family: str, loss: float, out_of_fold: np.ndarray | None = None):
    return TrialResult(make_trial(number, family, loss), out_of_fold)


def filled(*results: tuple[int, str, float]) -> tuple[Selection, list[bool]]:
    selected = Selection(FAMILIES)
    return selected, [selected.add(outcome(*result)) for result in results]


def numbers(outcomes: dict[str, TrialResult]) -> dict[str, int]:
    return {family: one.trial.number for family, one in outcomes.items()}


def test_default_of_each_family_is_the_trial_at_its_place():
    selected, taken = filled((0, "svc", 0.5), (1, "mlp", 0.6), (2, "svc", 0.7), (3, "mlp", 0.8))
    assert numbers(selected.defaults) == {"svc": 0, "mlp": 1}
    assert taken == [True, True, False, False]


def test_trial_of_another_family_at_that_place_is_no_default():
    selected, _ = filled((1, "svc", 0.5), (0, "mlp", 0.6))
    assert selected.defaults == {}


def test_default_is_taken_when_it_ends_after_a_better_trial():
    selected, taken = filled((2, "svc", 0.4), (0, "svc", 0.5))
    assert taken == [True, True]
    assert numbers(selected.defaults) == {"svc": 0}
    assert numbers(selected.best) == {"svc": 2}


def test_trial_that_is_better_than_its_familys_best_so_far_is_taken():
    selected, taken = filled(
        (0, "svc", 0.5), (1, "mlp", 0.3), (2, "svc", 0.4), (3, "svc", 0.45), (4, "svc", 0.39)
    )
    assert taken == [True, True, True, False, True]
    assert numbers(selected.best) == {"svc": 4, "mlp": 1}


@pytest.mark.parametrize("order", [(5, 3, 7), (3, 5, 7), (7, 5, 3)])
def test_of_equal_trials_the_earlier_is_the_best_in_whatever_order_they_end(order):
    selected, taken = filled(*((number, "svc", 0.4) for number in order))
    assert numbers(selected.best) == {"svc": 3}
    assert taken == [number == min(order[: place + 1]) for place, number in enumerate(order)]


def test_failed_trial_is_never_taken():
    selected, taken = filled((0, "svc", inf), (1, "mlp", 0.5), (2, "mlp", inf))
    assert taken == [False, True, False]
    assert (numbers(selected.defaults), numbers(selected.best)) == ({"mlp": 1}, {"mlp": 1})


@pytest.mark.parametrize(("labels", "positive"), LABELS)
def test_default_stands_for_its_family_when_the_best_is_within_two_standard_errors(
    labels, positive
):
    task = make_task(labels, positive)
    noise = np.random.default_rng(0).normal(0, 0.1, len(task.y))
    selected = Selection(FAMILIES)
    default, best = predictions(task, 0.5), predictions(task, 0.51 + noise - noise.mean())
    selected.add(outcome(0, "svc", 0.50, default))
    selected.add(outcome(5, "svc", 0.49, best))
    chosen = selected.choose(task)
    assert chosen["svc"].trial.number == 0
    np.testing.assert_array_equal(chosen["svc"].out_of_fold, default)


@pytest.mark.parametrize(("labels", "positive"), LABELS)
def test_best_stands_for_its_family_when_it_is_clearly_better_than_the_default(labels, positive):
    task = make_task(labels, positive)
    noise = np.random.default_rng(0).normal(0, 0.1, len(task.y))
    selected = Selection(FAMILIES)
    best = predictions(task, 0.55 + noise - noise.mean())
    selected.add(outcome(0, "svc", 0.50, predictions(task, 0.5)))
    selected.add(outcome(5, "svc", 0.40, best))
    chosen = selected.choose(task)
    assert chosen["svc"].trial.number == 5
    np.testing.assert_array_equal(chosen["svc"].out_of_fold, best)


@pytest.mark.parametrize(("excess", "number"), [(1.9, 0), (2.1, 5)])
def test_default_may_be_two_standard_errors_worse_and_no_more(excess, number):
    task = make_task()
    spread = np.random.default_rng(0).normal(size=ROWS)
    spread = (spread - spread.mean()) / spread.std(ddof=1)
    worse_by = 0.1 * (spread + excess / np.sqrt(ROWS))
    selected = Selection(FAMILIES)
    selected.add(outcome(0, "svc", 0.6, predictions(task, 0.5 * np.exp(-worse_by))))
    selected.add(outcome(5, "svc", 0.5, predictions(task, 0.5)))
    assert selected.choose(task)["svc"].trial.number == number


def test_best_stands_for_a_family_whose_default_failed():
    task = make_task()
    selected = Selection(FAMILIES)
    selected.add(outcome(0, "svc", inf))
    selected.add(outcome(2, "svc", 0.5, predictions(task, 0.6)))
    selected.add(outcome(3, "svc", 0.6, predictions(task, 0.6)))
    assert selected.choose(task)["svc"].trial.number == 2


def test_chosen_have_the_lowest_loss_of_what_stands_for_them_first():
    task = make_task()
    selected = Selection(("svc", "mlp", "extra_trees"))
    for number, family, loss in [(0, "svc", 0.6), (1, "mlp", 0.5), (2, "extra_trees", 0.55)]:
        selected.add(outcome(number, family, loss, predictions(task, 0.5)))
    selected.add(outcome(3, "svc", 0.4, predictions(task, 0.5)))  # as good as its default
    selected.add(outcome(4, "extra_trees", 0.45, predictions(task, 0.9)))
    chosen = selected.choose(task)
    assert [(family, one.trial.number) for family, one in chosen.items()] == [
        ("extra_trees", 4),
        ("mlp", 1),
        ("svc", 0),
    ]


def test_nothing_is_chosen_where_every_trial_failed():
    selected, _ = filled((0, "svc", inf), (1, "mlp", inf))
    assert selected.choose(make_task()) == {}


@pytest.mark.parametrize(("labels", "positive"), LABELS)
def test_predictions_that_were_not_kept_are_made_again(labels, positive):
    task = make_task(labels, positive, rows=60)
    family = "logistic_regression"
    points = [
        (0, {"transform": "standard", "C": 0.001}),
        (3, {"transform": "standard", "C": 1.0}),
    ]
    selected = Selection((family,))
    for number, params in points:
        trial = trials.evaluate(task, number, family, params).trial
        assert selected.add(TrialResult(trial, None))
    chosen = selected.choose(task)[family]
    assert (chosen.trial.number, chosen.trial.params) == points[1]
    model = models.build(family, points[1][1], task.seed)
    expected = out_of_fold(model, task.X, task.y, task.folds)
    np.testing.assert_array_equal(chosen.out_of_fold, expected)


def test_predictions_that_cannot_be_made_again_are_told_with_the_remedy():
    task = make_task(rows=60)
    unlearnable = TrialInputs(
        pd.DataFrame(np.nan, index=task.X.index, columns=task.X.columns),
        task.y,
        task.folds,
        task.positive,
        task.seed,
    )
    selected = Selection(("hist_gradient_boosting",))
    selected.add(outcome(0, "hist_gradient_boosting", 0.5))
    with pytest.raises(SearchError, match=r"trial 0 of an earlier run .* run with --fresh"):
        selected.choose(unlearnable)
