"""What MLflow's UI shows of an experiment and of a registered model."""

import json
from urllib.parse import parse_qs, urlsplit

import pytest
from mlflow import MlflowClient

from pipeline.tracking import pages, registry, runs

pytestmark = pytest.mark.usefixtures("store")


def described(name: str, text: str) -> dict[str, str]:
    """The tags of the experiment that runs for a model go to, after its description."""
    with runs.parent_run("tune", name):
        pages.describe(name, text)
        return dict(MlflowClient().get_experiment(runs.experiment_id()).tags)


def test_experiment_of_a_table_is_shown_as_one_of_models_and_its_description_kept_current():
    for text in ("Champion now: version 1", "Champion now: version 2"):
        tags = described("people", text)
        assert tags[pages.KIND] == "custom_model_development"
        assert tags[pages.NOTE].startswith(f"{text}\n")
        assert tags[pages.NOTE].endswith(pages.HOW_TO_READ)


def test_experiment_that_a_user_has_described_or_named_stays_as_it_is(monkeypatch):
    client = MlflowClient()
    number = client.create_experiment("described", tags={pages.NOTE: "ours"})
    assert described("described", "text")[pages.NOTE] == "ours"
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", number)
    client.set_experiment_tag(number, pages.NOTE, pages.HOW_TO_READ)
    assert described("people", "text")[pages.NOTE] == pages.HOW_TO_READ


def test_saved_view_is_the_one_that_the_address_of_the_runs_names():
    address = urlsplit(pages.runs("1").removeprefix("#"))
    key = parse_qs(address.query)["viewStateShareKey"][0]
    view = json.loads(pages.of_experiment()[f"mlflow.sharedViewState.{key}"])
    assert "metrics.`cv/log_loss`" in view["selectedColumns"]


@pytest.mark.parametrize(
    ("before", "about", "start"),
    [
        ("", "Predicts `a`.", "Predicts `a`."),
        ("Predicts `a`.\n\n## Champions\n\nold", "Predicts `b`.", "Predicts `b`."),
        ("Predicts `a`.\n\n## Champions\n\nold", "", "Predicts `a`."),
        ("Ask Ann first.", "Predicts `a`.", "Ask Ann first."),
    ],
)
def test_registered_model_says_what_it_is_and_which_champions_it_had(before, about, start):
    client, name = MlflowClient(), f"model {len(before)} {len(about)}"
    client.create_registered_model(name, description=before)
    registry.describe_model(name, about, "| new |")
    assert client.get_registered_model(name).description == f"{start}\n\n## Champions\n\n| new |"
