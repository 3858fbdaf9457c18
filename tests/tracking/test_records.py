"""What is read back of a run that is reused."""

import json

import numpy as np
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from pipeline.errors import StoreError
from pipeline.results import Arrays, Report, Tuning
from pipeline.tracking import records, runs
from tests.support.builders import make_trial

TRIALS = tuple(make_trial(number, "raw_logistic_regression", 0.5) for number in (0, 1))
SEARCH = Tuning(TRIALS, {TRIALS[1].family: TRIALS[1]}, {TRIALS[1].family: np.eye(2)})


@pytest.fixture
def run(store) -> Run:
    """Of a model that is not there any more."""
    client = MlflowClient()
    run = client.create_run("0", tags={"model_id": "m-0"})
    client.log_text(
        run.info.run_id, json.dumps(dict.fromkeys(records.TRAINING_VALUES)), "training.json"
    )
    return client.get_run(run.info.run_id)


@pytest.mark.parametrize("text", [None, "{", "[]", "{}", '{"format": 2}'])
def test_search_that_cannot_be_read_back_is_refused_with_the_remedy(run, text):
    if text is not None:
        MlflowClient().log_text(run.info.run_id, text, "tuning.json")
    message = f"what run {run.info.run_id} has left is gone or damaged .+; --fresh runs all steps"
    with pytest.raises(StoreError, match=message):
        records.load_tuning(run)


def test_training_whose_model_is_gone_is_refused_with_the_remedy(run):
    with pytest.raises(StoreError, match=r"gone or damaged \(.*m-0.*; --fresh runs all steps anew"):
        records.load_training(run)


def test_search_is_read_back_as_it_was_recorded(run):
    runs.log_artifacts(run.info.run_id, records.tuning_files(SEARCH))
    loaded = records.load_tuning(run)
    assert (loaded.trials, loaded.chosen) == (SEARCH.trials, SEARCH.chosen)
    np.testing.assert_array_equal(loaded.out_of_fold[TRIALS[1].family], np.eye(2))


def test_search_recorded_before_there_were_formats_is_read_back(run):
    runs.log_artifacts(run.info.run_id, records.tuning_files(SEARCH))
    text = json.loads(runs.read_artifact(run.info.run_id, records.TUNING))
    assert text.pop("format") == records.FORMAT
    MlflowClient().log_text(run.info.run_id, json.dumps(text), records.TUNING)
    assert records.load_tuning(run).trials == SEARCH.trials


def test_predictions_of_another_format_are_refused(run):
    files = records.tuning_files(SEARCH) | {records.OUT_OF_FOLD: Arrays(2, {})}
    runs.log_artifacts(run.info.run_id, files)
    with pytest.raises(StoreError, match=r"has the format 2, .* reads 1.*--fresh"):
        records.load_tuning(run)


def test_report_is_recorded_with_the_mark_that_the_run_is_complete(run):
    report = Report({"rows": 3.0}, {"best": "a"}, {"page.md": "text"}, note="what came of it")
    records.record(run.info.run_id, report, "f" * 64)
    recorded = MlflowClient().get_run(run.info.run_id).data
    assert recorded.metrics == report.metrics
    expected = {**report.tags, "mlflow.note.content": report.note, runs.FINGERPRINT: "f" * 64}
    assert expected.items() <= recorded.tags.items()
    assert runs.read_artifact(run.info.run_id, "page.md") == b"text"
