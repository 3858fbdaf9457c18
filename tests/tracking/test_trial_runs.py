"""Trials written to a real MLflow store and read back from it."""

from dataclasses import replace
from math import inf, nan
from pathlib import Path
from urllib.parse import urlparse
from uuid import uuid4

import numpy as np
import pytest
from mlflow import MlflowClient

from pipeline.config.tune import Tune
from pipeline.results import Trial
from pipeline.tracking import runs, trial_runs
from tests.support.builders import make_trial

pytestmark = pytest.mark.usefixtures("store")

TUNE = Tune(
    families=("logistic_regression", "hist_gradient_boosting", "raw_logistic_regression"),
    space={
        "logistic_regression": {"class_weight": {"choice": [None, "balanced", 1, True, [1, 2]]}},
        "hist_gradient_boosting": {"max_depth": 3},
    },
)
LOGISTIC = {"transform": "power", "C": 0.1 + 0.2, "class_weight": None}
BOOSTING = {
    "max_depth": 3,
    "learning_rate": 1e-7 / 3,
    "max_leaf_nodes": 7,
    "max_iter": 80,
    "l2_regularization": 1e22,
    "max_features": 0.4,
}
PREDICTIONS = np.array([[0.1, 0.9], [1 / 3, 2 / 3]])


@pytest.fixture
def run_id():
    with runs.parent_run("tune", "people") as run_id:
        yield run_id


@pytest.fixture
def search() -> str:
    """A search of the test's own."""
    return uuid4().hex


def written(run_id: str, search: str, trial: Trial, predictions=None) -> None:
    trial_runs.record(run_id, search, trial, predictions)


@pytest.mark.parametrize(
    "trial",
    [
        make_trial(7, "logistic_regression", 0.45, LOGISTIC),
        *(
            make_trial(1, "logistic_regression", 0.4, {**LOGISTIC, "class_weight": weight})
            for weight in ("balanced", 1, True, [1, 2])
        ),
        make_trial(2, "hist_gradient_boosting", 1 / 3, BOOSTING),
        make_trial(3, "raw_logistic_regression", 0.5),
        make_trial(4, "raw_logistic_regression", inf),
        replace(make_trial(5, "raw_logistic_regression", inf), error="two\nlines: 'quoted'"),
    ],
    ids=lambda trial: f"{trial.family} {trial.params} {trial.error}"[:60],
)
def test_trial_is_read_back_to_the_last_digit(run_id, search, trial):
    written(run_id, search, trial)
    result = trial_runs.finished(search, TUNE)
    assert {number: outcome.trial for number, outcome in result.items()} == {trial.number: trial}
    assert type(result[trial.number].trial.params.get("class_weight")) is type(
        trial.params.get("class_weight")
    )


def test_trial_whose_option_looks_like_another_is_left_out(run_id, search):
    ranges = {"logistic_regression": {"C": {"choice": [1, "1"]}}}
    tune = Tune(families=("logistic_regression",), space=ranges)
    params = {"transform": "power", "C": 1}
    written(run_id, search, make_trial(0, "logistic_regression", 0.5, params))
    assert trial_runs.finished(search, tune) == {}


def test_metric_that_is_not_defined_is_read_back_so(run_id, search):
    trial = make_trial(0, "raw_logistic_regression", 0.5)
    written(run_id, search, replace(trial, metrics={**trial.metrics, "roc_auc": nan}))
    metrics = trial_runs.finished(search, TUNE)[0].trial.metrics
    assert np.isnan(metrics.pop("roc_auc"))
    assert metrics == {name: v for name, v in trial.metrics.items() if name != "roc_auc"}


def test_predictions_are_read_back_where_there_are_any(run_id, search):
    for number, predictions in enumerate((PREDICTIONS, None)):
        written(run_id, search, make_trial(number, "raw_logistic_regression", 0.5), predictions)
    first, second = trial_runs.finished(search, TUNE).values()
    np.testing.assert_array_equal(first.out_of_fold, PREDICTIONS)
    assert second.out_of_fold is None


def test_predictions_that_are_gone_are_none(run_id, search):
    written(run_id, search, make_trial(0, "raw_logistic_regression", 0.5), PREDICTIONS)
    (run,) = runs.search(f"tags.search = '{search}'")
    folder = Path(urlparse(run.info.artifact_uri).path)
    (folder / trial_runs.PREDICTIONS).unlink()
    assert trial_runs.finished(search, TUNE)[0].out_of_fold is None


def test_trial_of_another_search_is_left_out(run_id, search):
    written(run_id, f"not {search}", make_trial(0, "raw_logistic_regression", 0.5))
    assert trial_runs.finished(search, TUNE) == {}


@pytest.mark.parametrize("status", ["RUNNING", "KILLED"])
def test_trial_is_complete_once_its_metrics_are_written_whatever_became_of_the_run(
    run_id, search, status
):
    written(run_id, search, make_trial(0, "raw_logistic_regression", 0.5))
    (run,) = runs.search(f"tags.search = '{search}'")
    MlflowClient().update_run(run.info.run_id, status)
    assert trial_runs.finished(search, TUNE)[0].trial.loss == 0.5


def test_trial_that_was_not_written_to_its_end_is_a_killed_run_and_left_out(
    run_id, search, monkeypatch
):
    def interrupt(*_: object) -> None:
        raise SystemExit(143)

    with monkeypatch.context() as patch:
        patch.setattr(runs, "log", interrupt)
        with pytest.raises(SystemExit):
            written(run_id, search, make_trial(0, "raw_logistic_regression", 0.5), PREDICTIONS)
    (run,) = runs.search(f"tags.search = '{search}'", status="%")
    assert run.info.status == "KILLED"
    assert trial_runs.finished(search, TUNE) == {}


def test_trials_beyond_the_last_are_left_out_and_all_are_in_order(run_id, search):
    for number in (5, 0, 3, 4):
        written(run_id, search, make_trial(number, "raw_logistic_regression", 0.5))
    few = TUNE.model_copy(update={"max_evals": 4})
    assert list(trial_runs.finished(search, few)) == [0, 3]
    assert list(trial_runs.finished(search, TUNE)) == [0, 3, 4, 5]


def test_latest_of_a_number_counts(run_id, search):
    for seconds in (9.0, 1.0):  # the longer started earlier
        trial = make_trial(0, "raw_logistic_regression", 0.5)
        written(run_id, search, replace(trial, seconds=seconds))
    assert trial_runs.finished(search, TUNE)[0].trial.seconds == 1.0


def test_trials_are_read_until_the_latest_of_each_number_is_there(
    run_id, search, monkeypatch, searches
):
    monkeypatch.setattr(trial_runs, "LARGEST_PAGE", 3)
    for repeat in range(4):
        for number in range(2):
            trial = make_trial(number, "raw_logistic_regression", 0.5 + repeat / 10)
            written(run_id, search, replace(trial, seconds=float(10 - repeat)))
    two = TUNE.model_copy(update={"max_evals": 2})
    result = trial_runs.finished(search, two)
    assert [outcome.trial.seconds for outcome in result.values()] == [7.0, 7.0]
    assert searches == [3]
    assert list(trial_runs.finished(search, TUNE)) == [0, 1]
    assert searches[1:] == [3, 3, 2]


def test_predictions_are_read_of_the_trials_that_count_alone(run_id, search, monkeypatch):
    for seconds in (9.0, 1.0):
        trial = replace(make_trial(0, "raw_logistic_regression", 0.5), seconds=seconds)
        written(run_id, search, trial, PREDICTIONS)
    written(run_id, search, make_trial(9, "raw_logistic_regression", 0.5), PREDICTIONS)
    asked: list[str] = []
    read_artifact = runs.read_artifact

    def counted(run_id: str, name: str) -> bytes:
        asked.append(name)
        return read_artifact(run_id, name)

    monkeypatch.setattr(runs, "read_artifact", counted)
    result = trial_runs.finished(search, TUNE.model_copy(update={"max_evals": 2}))
    assert [outcome.trial.seconds for outcome in result.values()] == [1.0]
    assert asked == [trial_runs.PREDICTIONS]


@pytest.mark.parametrize(("limit", "numbers"), [(5.0, [0]), (9.0, []), (None, [])])
def test_trial_that_passed_a_shorter_limit_is_tried_again(run_id, search, limit, numbers):
    trial = make_trial(0, "raw_logistic_regression", inf)
    passed = replace(trial, error="passed tune.trial_timeout of 5 s", seconds=5.0)
    written(run_id, search, passed)
    today = TUNE.model_copy(update={"trial_timeout": limit})
    assert list(trial_runs.finished(search, today)) == numbers


def test_trial_is_a_child_run_as_long_as_it_took(run_id, search):
    trial = replace(make_trial(3, "logistic_regression", 0.5, LOGISTIC), seconds=12.5)
    written(run_id, search, trial)
    (run,) = runs.search(f"tags.search = '{search}'")
    assert run.info.run_name == "03 logistic_regression"
    assert run.info.end_time - run.info.start_time == 12_500
    assert run.data.tags["mlflow.parentRunId"] == run_id
    assert run.data.params == {
        "family": "logistic_regression",
        "transform": "power",
        "C": "0.30000000000000004",
        "class_weight": "null",
    }


def test_failed_trial_is_a_failed_run_with_its_reason(run_id, search):
    written(run_id, search, make_trial(0, "raw_logistic_regression", inf))
    (run,) = runs.search(f"tags.search = '{search}'", status="FAILED")
    assert run.data.tags["mlflow.note.content"] == "ValueError: no way"
    assert run.data.metrics == {"seconds": 0.1}
