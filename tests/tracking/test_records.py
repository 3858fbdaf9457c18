"""What is read back of a run that is reused."""

import json

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from pipeline.errors import StoreError
from pipeline.tracking import records


@pytest.fixture
def run(store) -> Run:
    """Of a model that is not there any more."""
    client = MlflowClient()
    run = client.create_run("0", tags={"model_id": "m-0"})
    client.log_text(run.info.run_id, json.dumps({"weights": {}}), "training.json")
    return client.get_run(run.info.run_id)


@pytest.mark.parametrize("text", [None, "{", "[]", "{}"])
def test_search_that_cannot_be_read_back_is_told_with_the_remedy(run, text):
    if text is not None:
        MlflowClient().log_text(run.info.run_id, text, "tuning.json")
    told = f"what run {run.info.run_id} has left is gone or damaged .+; --fresh runs all steps"
    with pytest.raises(StoreError, match=told):
        records.load_tuning(run)


def test_training_whose_model_is_gone_is_told_with_the_remedy(run):
    with pytest.raises(StoreError, match=r"gone or damaged \(.*m-0.*; --fresh runs all steps anew"):
        records.load_training(run)
