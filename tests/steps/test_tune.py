from dataclasses import replace
from math import inf

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from pipeline import crossval, models
from pipeline.config import Tune
from pipeline.errors import SearchError
from pipeline.results import Dataset, Trial, Tuning
from pipeline.steps import tune as step
from pipeline.steps.tune import tune
from pipeline.trials import Outcome, Task
from tests.builders import make_dataset, make_trial

FAMILIES = ("spline_logistic_regression", "logistic_regression")


def settings(**changes) -> Tune:
    return Tune(
        **{"families": FAMILIES, "max_evals": 6, "folds": 3, "seed": 4, "parallelism": 1, **changes}
    )


def run(dataset: Dataset, **changes) -> tuple[Tuning, list[Trial]]:
    told: list[Trial] = []
    return tune(settings(**changes), dataset, told.append), told


def without_seconds(tuning: Tuning) -> list[Trial]:
    return [replace(trial, seconds=0.0) for trial in tuning.trials]


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return make_dataset()


@pytest.fixture(scope="module")
def found(dataset) -> tuple[Tuning, list[Trial]]:
    return run(dataset)


@pytest.fixture
def fake_search(monkeypatch):
    """A search that ends with the given (family, loss) pairs; predictions tell the number."""

    def install(*results: tuple[str, float]) -> None:
        def search(task: Task, tune: Tune, on_outcome) -> None:
            for number, (family, loss) in enumerate(results):
                predicted = None if loss == inf else np.full((2, 2), float(number))
                on_outcome(Outcome(make_trial(number, family, loss), predicted))

        monkeypatch.setattr(step, "search", search)

    return install


def test_tune_hands_on_each_trial_in_order(found):
    tuning, told = found
    assert [trial.number for trial in told] == list(range(6))
    assert tuple(told) == tuning.trials


def test_tune_hands_on_a_trial_as_it_ends(dataset):
    def stop(trial: Trial) -> None:
        raise KeyboardInterrupt(trial.number)

    with pytest.raises(KeyboardInterrupt, match="0"):
        tune(settings(), dataset, stop)


@pytest.mark.parametrize(
    ("labels", "positive"),
    [((0, 1), 1), (("no", "yes"), "no"), ((False, True), True), (("a", "b", "c"), None)],
)
def test_tune_keeps_the_out_of_fold_predictions_of_each_familys_best(labels, positive):
    dataset = make_dataset(labels, positive)
    tuning, _ = run(dataset, max_evals=5)
    assert set(tuning.out_of_fold) == set(FAMILIES)
    folds = crossval.folds(dataset.y_train, 3, seed=4)
    for family, best in tuning.best_of_family.items():
        assert best.loss == min(trial.loss for trial in tuning.trials if trial.family == family)
        model = models.build(family, best.params, seed=4)
        expected = crossval.out_of_fold(model, dataset.X_train, dataset.y_train, folds)
        np.testing.assert_allclose(tuning.out_of_fold[family], expected, atol=1e-9)
        means, spread = crossval.score(
            dataset.y_train, expected, folds, dataset.contract.positive_index
        )
        assert best.metrics == pytest.approx(means)
        assert best.spread == pytest.approx(spread)


def test_tune_keeps_the_earlier_of_equal_trials(fake_search, dataset):
    fake_search(("svc", 0.6), ("mlp", 0.5), ("svc", 0.4), ("svc", 0.4), ("mlp", 0.7))
    tuning, _ = run(dataset)
    assert {family: best.number for family, best in tuning.best_of_family.items()} == {
        "svc": 2,
        "mlp": 1,
    }
    assert {family: kept[0, 0] for family, kept in tuning.out_of_fold.items()} == {
        "svc": 2.0,
        "mlp": 1.0,
    }


def test_best_of_family_has_the_best_family_first(fake_search, dataset):
    fake_search(("svc", 0.6), ("mlp", 0.5), ("extra_trees", 0.55), ("svc", 0.4))
    tuning, _ = run(dataset)
    assert list(tuning.best_of_family) == ["svc", "mlp", "extra_trees"]


def test_trials_are_listed_with_the_best_first(fake_search, dataset):
    fake_search(("svc", 0.6), ("mlp", 0.5), ("svc", 0.4), ("mlp", 0.5))
    table = run(dataset)[0].artifacts["trials.csv"]
    assert table["trial"].tolist() == [2, 1, 3, 0]
    assert table["log_loss"].tolist() == [0.4, 0.5, 0.5, 0.6]
    assert table["log_loss_std"].tolist() == [0.01] * 4


def test_trials_are_listed_with_their_params(found):
    tuning, _ = found
    table = tuning.artifacts["trials.csv"].set_index("trial")
    assert table.loc[0, "params"] == "C=0.5, n_knots=3"
    assert table.loc[1, "params"] == "C=0.3, transform=standard"
    for trial in tuning.trials:
        assert table.loc[trial.number, "family"] == trial.family
        for name in ("log_loss", "roc_auc", "brier", "accuracy"):
            assert table.loc[trial.number, name] == trial.metrics[name]
    assert isinstance(tuning.artifacts["history.png"], Figure)


def test_tune_says_which_timeout_left_no_trial(dataset):
    with pytest.raises(SearchError, match=r"tune\.timeout 1e-09 .* raise it"):
        run(dataset, timeout=1e-9)


def test_failed_trial_is_told_and_never_the_best(fake_search, dataset):
    fake_search(("svc", inf), ("svc", 0.6), ("mlp", inf), ("svc", inf))
    tuning, told = run(dataset)
    assert [bool(trial.error) for trial in told] == [True, False, True, True]
    assert {family: best.number for family, best in tuning.best_of_family.items()} == {"svc": 1}
    assert {family: kept[0, 0] for family, kept in tuning.out_of_fold.items()} == {"svc": 1.0}
    table = tuning.artifacts["trials.csv"]
    assert table["trial"].tolist() == [1, 0, 2, 3]
    assert table["error"].tolist() == ["", *["ValueError: no way"] * 3]


def test_tune_says_why_when_every_trial_failed(fake_search, dataset):
    fake_search(("svc", inf), ("mlp", inf))
    with pytest.raises(SearchError, match=r"all 2 trials failed.*ValueError: no way.*families"):
        run(dataset)


def test_tune_says_why_when_every_fit_fails(dataset):
    empty = replace(dataset, X_train=dataset.X_train.assign(noise=np.nan))
    with pytest.raises(SearchError, match=r"all 2 trials failed.*ValueError"):
        run(empty, families=("hist_gradient_boosting",), max_evals=2)


def test_tune_is_the_same_for_the_same_seed(found, dataset):
    again, _ = run(dataset)
    assert without_seconds(again) == without_seconds(found[0])


def test_tune_never_looks_at_the_test_part(found, dataset):
    garbage = replace(
        dataset,
        X_test=dataset.X_test * np.nan,
        y_test=pd.Series("garbage", index=dataset.y_test.index),
    )
    tuning, _ = run(garbage)
    assert without_seconds(tuning) == without_seconds(found[0])
    for family in FAMILIES:
        np.testing.assert_array_equal(tuning.out_of_fold[family], found[0].out_of_fold[family])
