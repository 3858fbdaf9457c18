"""From a file that nobody has described to both doors: columns of each kind."""

import io
import json
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest

from pipeline import run as run_verb
from pipeline.cli import main
from tests.end_to_end.conftest import clone, served, working_in
from tests.support.doors import JSON, Door, open_door
from tests.support.mixed import KINDS, make_mixed_table

CUSTOMER = {
    "region": "NA",
    "tariff": "07",
    "satisfaction": "low",
    "roaming": True,
    "since": "2024-01-31",
    "calls_to_support": 3,
    "monthly_bill": 41.5,
}
CONFIG = "configs/mine.yaml"


@dataclass(frozen=True)
class Shop:
    """A folder with a champion of the table, and what the run left."""

    folder: Path
    result: Any


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    folder = clone(tmp_path_factory.mktemp("shop"))
    with working_in(folder, f"sqlite:///{folder}/mlflow.db"):
        words = ["init", "data/churn.csv", "--target", "left", "--output", CONFIG]
        assert main(words) == 0
        small = {
            "tune.families": ["logistic_regression", "hist_gradient_boosting"],
            "tune.max_evals": 2,
            "tune.parallelism": 1,
        }
        yield Shop(folder, run_verb(CONFIG, small))


@pytest.fixture(scope="module")
def door(shop: Shop) -> Iterator[Door]:
    with open_door(shop.folder, CONFIG) as opened:
        yield opened


def test_table_is_promoted_as_it_comes_with_both_doors_proven_alike(shop: Shop) -> None:
    """The gate's rule `serve_check` holds each form and kind of cell against the pipeline."""
    assert shop.result.decision.action == "promoted"
    compiled = mlflow.get_run(shop.result.steps["train"]).data.tags["compiled"]
    assert compiled.startswith("ONNX, equal on 840 training")


def test_ingest_logs_the_whole_config_by_which_the_same_is_read(shop: Shop) -> None:
    with working_in(shop.folder, f"sqlite:///{shop.folder}/mlflow.db"):
        full = mlflow.artifacts.load_text(f"runs:/{shop.result.steps['ingest']}/config.yaml")
    assert 'since: {kind: date, format: "%d.%m.%Y"}' in full
    assert 'country: "has one value only, all"' in full


def test_forms_of_a_request_are_answered_alike(door: Door) -> None:
    columns = {name: [value] for name, value in CUSTOMER.items()}
    parquet = io.BytesIO()
    pd.DataFrame(columns).to_parquet(parquet)
    names = ",".join(CUSTOMER)
    requests = [
        ({"dataframe_records": [CUSTOMER]}, JSON),
        ({"inputs": columns}, JSON),
        (f"{names}\nNA,07,low,true,2024-01-31,3,41.5\n".encode(), "text/csv"),
        (parquet.getvalue(), "application/vnd.apache.parquet"),
    ]
    answers = [door.post(body, kind).json for body, kind in requests]
    (answer,) = answers[0]["predictions"]
    assert answer["label"] == "yes"
    assert 0.5 < answer["probability"] < 1
    assert answers == [answers[0]] * len(requests)


def test_missing_and_unseen_values_are_answered_and_wrong_ones_named(door: Door) -> None:
    rows = [dict.fromkeys(CUSTOMER), {**CUSTOMER, "region": "MOON"}]
    wrong = {**CUSTOMER, "tariff": True, "roaming": "maybe", "since": "31.1.2024"}
    wrong |= {"calls_to_support": 2.5}
    assert len(door.post({"dataframe_records": rows}).json["predictions"]) == 2
    refused = door.post({"dataframe_records": [wrong]})
    assert refused.status == 400
    assert refused.json["message"].splitlines() == [
        "row 1, calls_to_support: must be a whole number",
        "row 1, roaming: must be true or false",
        "row 1, since: must be a date as ISO 8601 writes it, such as 2024-12-31 or "
        "2024-12-31T23:59:00Z",
        "row 1, tariff: must be a text",
    ]


def test_each_column_of_each_kind_is_explained(door: Door) -> None:
    body = {"dataframe_records": [CUSTOMER], "params": {"explain": True}}
    (answer,) = door.post(body).json["predictions"]
    assert list(answer["contributions"]) == list(CUSTOMER)
    assert answer["contributions"]["region"] > 0  # NA: they leave most
    assert answer["contributions"]["satisfaction"] > 0


def test_table_with_texts_is_promoted_and_answered_though_it_is_not_compiled(shop: Shop) -> None:
    make_mixed_table().to_csv(shop.folder / "data/letters.csv", index=False)
    config = "configs/letters.yaml"
    small = {"tune.families": ["logistic_regression"], "tune.max_evals": 1}
    small |= {"tune.parallelism": 1, "gate.calibration": None}
    with working_in(shop.folder, f"sqlite:///{shop.folder}/mlflow.db"):
        words = [
            "init",
            "data/letters.csv",
            "--target",
            "label",
            "--output",
            "configs/letters.yaml",
        ]
        assert main(words) == 0
        result = run_verb("configs/letters.yaml", {**small, "tune.parallelism": 1})
        tags = mlflow.get_run(result.steps["train"]).data.tags
    assert result.decision.action == "promoted"
    assert tags["compiled"].startswith("no: 'note' holds texts")
    rows = [{**dict.fromkeys(KINDS), "note": note} for note in ("it never arrived", "on time", 5)]
    with open_door(shop.folder, config) as door:
        late, fine = door.post({"dataframe_records": rows[:2]}).json["predictions"]
        refused = door.post({"dataframe_records": rows}).json["message"]
        schema = door.get("/openapi.json").json["components"]["schemas"]["Row"]["properties"]
    assert late["probability"] > fine["probability"]
    assert refused == "row 3, note: must be a text of at most 1000 characters"
    assert schema["note"]["maxLength"] == 1000


def test_mlflows_own_command_answers_as_the_production_door(shop: Shop, door: Door) -> None:
    rows = [CUSTOMER, dict.fromkeys(CUSTOMER), {**CUSTOMER, "tariff": "01", "roaming": None}]
    body = json.dumps({"dataframe_records": rows}).encode()
    model = ("-m", "models:/churn@champion", "--env-manager", "local")
    with served(shop.folder, "mlflow", "models", "serve", *model) as address:
        request = urllib.request.Request(
            f"{address}/invocations", data=body, headers={"Content-Type": JSON}
        )
        with urllib.request.urlopen(request, timeout=30) as response:
            answer = json.load(response)
    assert answer == door.post(body).json
