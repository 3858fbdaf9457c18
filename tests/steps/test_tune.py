from collections.abc import Sequence
from dataclasses import replace
from math import inf

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from pipeline.config.sections import Config
from pipeline.config.tune import Tune
from pipeline.errors import SearchError
from pipeline.evaluation.cross_validation import make_folds, out_of_fold, score
from pipeline.evaluation.metrics import of_rows
from pipeline.models import families as models
from pipeline.results import Dataset, Probabilities, Trial, Tuning
from pipeline.steps import tune as step
from pipeline.steps.tune import tune
from pipeline.tasks import BINARY
from pipeline.tuning.trial import TrialInputs, TrialResult
from tests.support.builders import make_config, make_dataset, make_trial

FAMILIES = ("spline_logistic_regression", "logistic_regression")


def settings(**changes) -> Config:
    return make_config(
        tune={
            "families": FAMILIES,
            "max_evals": 6,
            "folds": 3,
            "seed": 4,
            "parallelism": 1,
            **changes,
        }
    )


def run(dataset: Dataset, finished=None, **changes) -> tuple[Tuning, list[Trial]]:
    trials: list[Trial] = []
    tuning = tune(settings(**changes), dataset, lambda trial, _: trials.append(trial), finished)
    return tuning, trials


def without_seconds(tuning: Tuning) -> list[Trial]:
    return [replace(trial, seconds=0.0) for trial in tuning.trials]


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return make_dataset()


@pytest.fixture(scope="module")
def whole_run(dataset) -> tuple[Tuning, list[Trial]]:
    return run(dataset)


@pytest.fixture
def fake_search(monkeypatch, dataset):
    """A search that ends with the given (family, loss) pairs; predictions have that loss.

    Every row has the trial's loss, so no difference is a matter of chance.
    """

    def install(*results: tuple[str, float], order: Sequence[int] | None = None) -> None:
        def search(task: TrialInputs, tune: Tune, finished, on_end, on_result) -> None:
            outcomes = [
                TrialResult(
                    make_trial(number, family, loss),
                    None if loss == inf else predictions(task, loss),
                )
                for number, (family, loss) in enumerate(results)
            ]
            for number in order or range(len(outcomes)):
                on_end(outcomes[number])
            for outcome in outcomes:
                on_result(outcome)

        monkeypatch.setattr(step, "search", search)

    return install


def predictions(task: TrialInputs, loss: float) -> Probabilities:
    """The same loss on every row."""
    expected = np.exp(-loss)
    truth = np.unique(task.y, return_inverse=True)[1]
    return np.where(np.eye(2)[truth] == 1, expected, 1 - expected)


def test_tune_hands_on_each_trial_in_order(whole_run):
    tuning, message = whole_run
    assert [trial.number for trial in message] == list(range(6))
    assert tuple(message) == tuning.trials


def test_tune_hands_on_a_trial_as_it_ends(dataset):
    def stop(trial: Trial, _: object) -> None:
        raise KeyboardInterrupt(trial.number)

    with pytest.raises(KeyboardInterrupt, match="0"):
        tune(settings(), dataset, stop)


@pytest.mark.parametrize(
    ("labels", "positive"),
    [((0, 1), 1), (("no", "yes"), "no"), ((False, True), True), (("a", "b", "c"), None)],
)
def test_tuning_has_the_out_of_fold_predictions_of_each_familys_choice(labels, positive):
    dataset = make_dataset(labels, positive)
    tuning, _ = run(dataset, max_evals=5)
    assert set(tuning.out_of_fold) == set(tuning.chosen) == set(FAMILIES)
    folds = make_folds(BINARY, dataset.y_train, 3, seed=4)
    for family, chosen in tuning.chosen.items():
        assert chosen in tuning.trials
        model = models.build(family, chosen.params, seed=4)
        expected = out_of_fold(model, dataset.X_train, dataset.y_train, folds)
        np.testing.assert_allclose(tuning.out_of_fold[family], expected, atol=1e-9)
        means, spread = score(of_rows(dataset.contract, dataset.y_train, expected, None), folds)
        assert chosen.metrics == pytest.approx(means)
        assert chosen.spread == pytest.approx(spread)


def test_tune_chooses_the_earlier_of_equal_trials(fake_search, dataset):
    results = [(FAMILIES[0], 0.6), (FAMILIES[1], 0.5), (FAMILIES[0], 0.4), (FAMILIES[0], 0.4)]
    fake_search(*results, order=(3, 2, 1, 0))
    tuning, _ = run(dataset)
    assert {family: trial.number for family, trial in tuning.chosen.items()} == {
        FAMILIES[0]: 2,
        FAMILIES[1]: 1,
    }
    truth = np.unique(dataset.y_train, return_inverse=True)[1]
    selected = tuning.out_of_fold[FAMILIES[0]][np.arange(len(truth)), truth]
    assert -np.log(selected) == pytest.approx(np.full(len(truth), 0.4))


def test_chosen_have_the_best_family_first(fake_search, dataset):
    fake_search((FAMILIES[0], 0.6), (FAMILIES[1], 0.5), (FAMILIES[0], 0.4))
    assert list(run(dataset)[0].chosen) == list(FAMILIES)
    fake_search((FAMILIES[0], 0.6), (FAMILIES[1], 0.5), (FAMILIES[1], 0.4))
    assert list(run(dataset)[0].chosen) == list(reversed(FAMILIES))


def test_trial_is_told_with_predictions_when_it_is_a_default_or_the_best_so_far(
    fake_search, dataset
):
    fake_search(
        (FAMILIES[0], 0.6),
        (FAMILIES[1], 0.9),
        (FAMILIES[0], 0.5),
        (FAMILIES[0], 0.55),
        (FAMILIES[1], 0.9),
        (FAMILIES[1], inf),
        (FAMILIES[1], 0.8),
        order=(0, 2, 1, 3, 4, 5, 6),
    )
    reported: dict[int, bool] = {}
    tune(
        settings(),
        dataset,
        lambda trial, predictions: reported.update({trial.number: predictions is not None}),
    )
    assert reported == {0: True, 2: True, 1: True, 3: False, 4: False, 5: False, 6: True}


def test_search_goes_on_with_what_has_finished(whole_run, dataset):
    whole, _ = whole_run
    selected = [trial for trial in whole.trials if trial.number in (0, 1, 3)]
    again, message = run(dataset, {trial.number: TrialResult(trial, None) for trial in selected})
    assert without_seconds(again) == without_seconds(whole)
    assert [trial.number for trial in message] == [2, 4, 5]
    assert again.chosen.keys() == whole.chosen.keys()
    for family in FAMILIES:
        np.testing.assert_array_equal(again.out_of_fold[family], whole.out_of_fold[family])


def test_trials_are_listed_with_the_best_first(fake_search, dataset):
    fake_search(("svc", 0.6), ("mlp", 0.5), ("svc", 0.4), ("mlp", 0.5))
    table = run(dataset)[0].report.artifacts["trials.csv"]
    assert table["trial"].tolist() == [2, 1, 3, 0]
    assert table["log_loss"].tolist() == [0.4, 0.5, 0.5, 0.6]
    assert table["log_loss_std"].tolist() == [0.01] * 4


def test_trials_are_listed_with_their_params(whole_run):
    tuning, _ = whole_run
    table = tuning.report.artifacts["trials.csv"].set_index("trial")
    assert table.loc[0, "params"] == "n_knots=3, C=0.5"
    assert table.loc[1, "params"] == "transform=power, C=0.3"
    for trial in tuning.trials:
        assert table.loc[trial.number, "family"] == trial.family
        for name in ("log_loss", "roc_auc", "brier", "accuracy"):
            assert table.loc[trial.number, name] == trial.metrics[name]
    assert isinstance(tuning.report.artifacts["history.png"], Figure)


def test_tune_says_which_timeout_left_no_trial(dataset):
    with pytest.raises(SearchError, match=r"tune\.timeout 1e-09 .* raise it"):
        run(dataset, timeout=1e-9)


def test_failed_trial_is_told_and_never_the_best(fake_search, dataset):
    fake_search(("svc", inf), ("svc", 0.6), ("mlp", inf), ("svc", inf))
    tuning, message = run(dataset)
    assert [bool(trial.error) for trial in message] == [True, False, True, True]
    assert {family: trial.number for family, trial in tuning.chosen.items()} == {"svc": 1}
    table = tuning.report.artifacts["trials.csv"]
    assert table["trial"].tolist() == [1, 0, 2, 3]
    assert table["error"].tolist() == ["", *["ValueError: no way"] * 3]


def test_tune_says_why_when_every_trial_failed(fake_search, dataset):
    fake_search(("svc", inf), ("mlp", inf))
    with pytest.raises(
        SearchError, match=r"all 2 trials failed.*ValueError: no way.*families, tune\.space"
    ):
        run(dataset)


def test_tune_says_why_when_every_fit_fails(dataset):
    empty = replace(dataset, X_train=dataset.X_train.assign(noise=np.nan))
    with pytest.raises(SearchError, match=r"all 2 trials failed.*ValueError"):
        run(empty, families=("hist_gradient_boosting",), max_evals=2)


def test_families_are_listed_with_their_best_and_their_failures(fake_search, dataset):
    fake_search((FAMILIES[0], inf), (FAMILIES[1], 0.5), (FAMILIES[0], 0.4), ("svc", inf))
    table = run(dataset)[0].report.artifacts["families.csv"].set_index("family")
    assert table.index.tolist() == [FAMILIES[0], FAMILIES[1], "svc"]
    assert table["trial"].tolist()[:2] == [2, 1]
    assert table["chosen"].tolist()[:2] == [2, 1]
    assert table["log_loss"].tolist()[:2] == [0.4, 0.5]
    assert np.isnan(table.loc["svc", "log_loss"])
    assert table["trials"].tolist() == [2, 1, 1]
    assert table["failed"].tolist() == [1, 0, 1]


def test_importance_is_shown_when_there_are_trials_enough(dataset):
    few, many = (run(dataset, max_evals=count)[0].report.artifacts for count in (6, 12))
    assert "importance.png" not in few
    assert isinstance(many["importance.png"], Figure)
    assert "family" in set(many["importance.csv"]["name"])


def test_tune_is_the_same_for_the_same_seed_and_any_test_part(whole_run, dataset):
    garbage = replace(
        dataset,
        X_test=dataset.X_test * np.nan,
        y_test=pd.Series("garbage", index=dataset.y_test.index),
    )
    tuning, _ = run(garbage)
    assert without_seconds(tuning) == without_seconds(whole_run[0])
    for family in FAMILIES:
        np.testing.assert_array_equal(tuning.out_of_fold[family], whole_run[0].out_of_fold[family])
