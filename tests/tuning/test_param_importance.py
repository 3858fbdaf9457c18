from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline.results import Trial
from pipeline.tuning.param_importance import importance
from tests.support.builders import make_trial


def make_trials(
    loss: Any, count: int = 40, seed: int = 0, families: tuple[str, ...] = ("svc",)
) -> list[Trial]:
    """Trials with three hyperparameters, the families by turns; `loss(family, params)`."""
    rng = np.random.default_rng(seed)
    trials = []
    for number in range(count):
        params = {
            "C": float(rng.uniform(0, 1)),
            "depth": int(rng.integers(2, 9)),
            "kernel": str(rng.choice(["linear", "poly", "rbf"])),
        }
        family = families[number % len(families)]
        trials.append(make_trial(number, family, 0.5 + loss(family, params), params))
    return trials


def by_name(trials: list[Trial]) -> "pd.Series[float]":
    return importance(trials).set_index("name")["mean"]


@pytest.mark.parametrize(
    ("decides", "loss"),
    [
        ("svc.C", lambda _, p: p["C"] / 5),
        ("svc.C", lambda _, p: (p["C"] - 0.5) ** 2),
        ("svc.depth", lambda _, p: p["depth"] / 50),
        ("svc.kernel", lambda _, p: {"linear": 0.1, "poly": 0.0, "rbf": 0.2}[p["kernel"]]),
    ],
)
def test_hyperparameter_that_decides_is_far_ahead(decides, loss):
    result = by_name(make_trials(loss))
    assert result.index[0] == decides
    assert set(result.index) == {"svc.C", "svc.depth", "svc.kernel"}
    assert result.iloc[0] > 0.5
    assert result.iloc[0] > 5 * result.iloc[1]


def test_largest_comes_first_with_its_spread():
    table = importance(make_trials(lambda _, p: p["C"] / 5 + p["depth"] / 100))
    assert list(table) == ["name", "mean", "std"]
    assert table["name"].tolist()[:2] == ["svc.C", "svc.depth"]
    assert table["mean"].is_monotonic_decreasing
    assert (table["std"] > 0).all()


def test_family_that_decides_is_first():
    trials = make_trials(lambda family, _: 0.1 * (family == "mlp"), families=("svc", "mlp"))
    assert by_name(trials).index[0] == "family"


def test_hyperparameters_of_two_families_are_told_apart_by_name():
    trials = make_trials(
        lambda family, p: p["C"] / 5 if family == "svc" else 0.1, families=("svc", "mlp")
    )
    result = by_name(trials)
    assert set(result.index) == {"family"} | {
        f"{family}.{name}" for family in ("svc", "mlp") for name in ("C", "depth", "kernel")
    }
    assert result.index[0] == "svc.C"
    assert result["svc.C"] > 5 * result["mlp.C"]


@pytest.mark.parametrize(
    "options", [(False, True), ([8], [8, 8]), ("auto", 0.5), (0, "0.0")], ids=str
)
def test_options_may_be_anything(options):
    rng = np.random.default_rng(0)
    trials = [
        make_trial(n, "svc", 0.5 + 0.1 * (n % 2), {"option": options[n % 2], "C": rng.random()})
        for n in range(30)
    ]
    result = by_name(trials)
    assert result.index[0] == "svc.option"
    assert result.iloc[0] > 0.5


def test_what_never_varies_is_left_out():
    trials = [
        replace(trial, params={**trial.params, "kernel": "rbf", "depth": 3})
        for trial in make_trials(lambda _, p: p["C"] / 5)
    ]
    assert importance(trials)["name"].tolist() == ["svc.C"]


def test_hyperparameter_that_is_there_once_does_not_vary():
    trials = make_trials(lambda _, p: p["C"] / 5)
    trials[7] = replace(trials[7], params={**trials[7].params, "rare": 0.3})
    assert "svc.rare" not in set(importance(trials)["name"])


def test_scale_of_the_losses_does_not_matter():
    trials = make_trials(lambda _, p: p["C"] / 5 + p["depth"] / 100)
    numbers = [
        replace(trial, params={name: trial.params[name] for name in ("C", "depth")})
        for trial in trials
    ]
    stretched = [
        replace(trial, metrics={"log_loss": float(np.exp(30 * trial.loss))}) for trial in numbers
    ]
    pd.testing.assert_frame_equal(importance(stretched), importance(numbers))


def test_same_trials_have_the_same_importance():
    trials = make_trials(lambda _, p: p["C"] / 5)
    pd.testing.assert_frame_equal(importance(trials), importance(trials))


@pytest.mark.parametrize(("count", "empty"), [(0, True), (1, True), (9, True), (10, False)])
def test_fewer_than_ten_trials_tell_nothing(count, empty):
    table = importance(make_trials(lambda _, p: p["C"] / 5, count))
    assert list(table) == ["name", "mean", "std"]
    assert table.empty is empty


def test_losses_that_are_all_equal_tell_nothing():
    assert importance(make_trials(lambda *_: 0.0)).empty


def test_trials_that_are_all_alike_tell_nothing():
    trials = [make_trial(n, "svc", 0.5 + n / 100, {"C": 1.0}) for n in range(20)]
    assert importance(trials).empty
