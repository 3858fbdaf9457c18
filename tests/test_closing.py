"""What a command says at its end."""

import json
import shlex
from pathlib import Path

import pytest
from mlflow.entities import Run, RunData, RunInfo

from pipeline import closing
from pipeline.results import Dataset, Promotion
from tests.support.builders import make_dataset

KEPT = Promotion("kept", "1", "why", "v2 kept: not better", "2", ("new", "old"))
CHAMPION = Promotion("promoted", "2", "why", "v2 champion", "2", ("new", "new"))
DATASET = make_dataset()


def text(store: str, decision: Promotion | None, dataset: Dataset | None = DATASET) -> str:
    info = RunInfo("new", "7", "me", "RUNNING", 0, None, "active", "uri")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mlflow.get_tracking_uri", lambda: store)
        return closing.text(Run(info, RunData()), "people one", decision, dataset)


@pytest.mark.parametrize(
    ("verb", "decision", "name"),
    [
        ("run", CHAMPION, "people v2 champion"),
        ("promote", KEPT, "people v2 kept: not better"),
        ("tune", None, "people tune only"),
        ("audit", None, "people audit"),
    ],
)
def test_run_is_called_by_what_came_of_it(verb, decision, name):
    assert closing.run_name("people", verb, decision) == name


@pytest.mark.parametrize(
    ("store", "address", "start"),
    [
        ("http://host:80/", "http://host:80/#/", "look at it:"),
        ("sqlite:///mlflow.db", "http://127.0.0.1:5000/#/", "which `mlflow ui` starts"),
        ("sqlite:////x/a.db", "http://127.0.0.1:5000/#/", "--backend-store-uri sqlite:////x/a.db`"),
        ("postgresql://a:secret@h/d", "http://127.0.0.1:5000/#/", '"$MLFLOW_TRACKING_URI"`'),
    ],
)
def test_addresses_are_those_of_the_ui_of_the_store(store, address, start):
    said = text(store, None)
    page = "experiments/7/runs/new?workflowType=machine_learning"
    assert f"{address}{page}" in said
    assert start in said.splitlines()[0]
    assert "secret" not in said


def test_candidate_that_is_kept_out_leads_to_the_comparison_and_to_both_versions():
    said = text("http://host", KEPT)
    assert "/compare-runs?runs=%5B%22new%22%2C%20%22old%22%5D&experiments=%5B%227%22%5D&" in said
    assert "/models/people%20one/versions/1" in said
    assert "/models/people%20one/versions/2" in said
    assert "compare-runs" not in text("http://host", CHAMPION)


def test_champion_is_served_and_asked_for_a_row_of_its_table():
    *_, serve, curl, sentence = text("http://host", CHAMPION).splitlines()
    assert sentence == CHAMPION.sentence
    assert shlex.split(serve)[-2:] == ["--registry.model", "people one"]
    (row,) = json.loads(shlex.split(curl)[-1])["dataframe_records"]
    assert list(row) == list(DATASET.contract.columns)


def test_example_that_is_not_there_or_too_long_is_where_the_server_shows_it(monkeypatch):
    monkeypatch.setattr(closing, "LONGEST_REQUEST", 10)
    for dataset in (DATASET, None):
        assert "http://127.0.0.1:8080/docs" in text("http://host", CHAMPION, dataset)


def test_local_store_in_the_folder_needs_no_address(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "`mlflow ui`" in text(f"sqlite:///{tmp_path}/mlflow.db", None)
