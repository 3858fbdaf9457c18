"""Which rows two models can be compared on, and what is said where they cannot."""

import io

import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient

from pipeline import flow
from pipeline.config.sections import Config
from pipeline.datasets import row_hash
from pipeline.datasets.sources import open_source
from pipeline.errors import ContractError, RegistryError
from pipeline.reporting.markdown import spaced
from pipeline.results import Arrays, Candidate, Dataset
from pipeline.steps.ingest import ingest
from pipeline.tracking import candidates, model_files, registry, runs
from pipeline.tracking.arrays import unpack
from pipeline.verbs import Options
from tests.support.builders import make_table
from tests.support.promotion_lab import (
    ROWS,
    STRONG,
    WEAK,
    Lab,
    aliases,
    latest,
    make_champions,
    rules,
)


def trained(lab: Lab, client: MlflowClient, **options: object) -> Candidate:
    lab.promote(lab.config("any", **options), dry_run=True)
    return candidates.candidate(candidates.of_run(latest(client).data.tags["mlflow.parentRunId"]))


def dataset(config: Config) -> Dataset:
    return ingest(config, open_source(config.data))


def test_table_that_grew_is_compared_on_rows_that_the_champion_has_not_seen(lab, client, weak):
    more = make_table(rows=100, seed=7)
    lab.keep("grown", pd.concat([lab.table, more], ignore_index=True))
    before, now = lab.config("grown", WEAK), lab.config("grown", STRONG, table="grown")
    make_champions("grown", weak)
    lab.promote(now)
    trained_on, judged_on = dataset(before).X_train, dataset(now).X_test
    expected = ~judged_on["height"].isin(trained_on["height"])
    assert 40 < expected.sum() < 150
    result = rules(latest(client))
    assert result["gate.rule"]["figures"]["rows"] == expected.sum()
    assert result["gate.primary"]["passed"] is None


def test_table_of_other_rows_is_compared_on_the_whole_test_part(lab, client, weak):
    lab.keep("others", make_table(rows=ROWS, seed=9))
    make_champions("others", weak)
    lab.promote(lab.config("others", STRONG, table="others"))
    assert rules(latest(client))["gate.rule"]["figures"]["rows"] == 120


@pytest.mark.parametrize("is_grouped", [True, False])
def test_rows_of_a_group_that_the_champion_trained_on_are_not_compared(lab, client, is_grouped):
    name = f"visits {is_grouped}"
    table = lab.table.assign(patient=np.arange(ROWS) // 4)
    lab.keep("visits", table)

    def config(C: float, split: dict[str, object]) -> Config:
        gate = {"rows_per_class": 1, "dummy": False, "calibration": None}
        plain = lab.config(name, C, table="visits", **gate)
        data = plain.data.model_copy(update={"drop": {"patient": "who"}})
        settings = plain.split.model_copy(update=split)
        return plain.model_copy(update={"data": data, "split": settings})

    before = config(WEAK, {"group": "patient"} if is_grouped else {"test_size": 0.9})
    now = config(STRONG, {"group": "patient", "seed": 2})
    lab.promote(before)
    lab.promote(now)

    familiar = set(table["patient"][dataset(before).X_train.index])
    tested = table["patient"][dataset(now).X_test.index]
    expected = (~tested.isin(familiar)).sum()
    assert 0 < expected < len(tested)
    result = rules(latest(client))
    assert result["gate.rule"]["figures"]["rows"] == expected
    assert "rows of one 'patient' stay together; resamples draw" in result["rows"]["sentence"]


def test_rows_in_another_order_are_known_again(lab, client, weak):
    shuffled = lab.table.sample(frac=1, random_state=3)[["flag", "gap", "label", "noise", "height"]]
    lab.keep("shuffled", shuffled)
    make_champions("shuffled", weak)
    lab.promote(lab.config("shuffled", STRONG, table="shuffled"))
    rows = rules(latest(client))["gate.rule"]["figures"]["rows"]
    assert rows == pytest.approx(120 * 0.3, abs=15)


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        (Arrays(row_hash.FORMAT + 1, {}), "has the format 2, and this version reads 1"),
        (Arrays(row_hash.FORMAT, {}), "is gone or damaged"),
        (
            Arrays(row_hash.FORMAT, {"identities": np.arange(9, dtype=np.uint64)}),
            "trained on this same table, and none of the rows that it was trained on is found",
        ),
    ],
    ids=["of another format", "without hashes", "of another hash"],
)
def test_gate_stays_shut_where_the_rows_of_the_champions_training_cannot_be_told(
    lab, client, weak, file, reason
):
    make_champions("untold", weak)
    run_id = registry.training_run(weak.model_id)
    content = runs.read_artifact(run_id, row_hash.FILE)
    runs.log_artifacts(run_id, {row_hash.FILE: file})
    try:
        lab.promote(lab.config("untold", STRONG, split=2))
    finally:
        runs.log_artifacts(run_id, {row_hash.FILE: content})
    result = rules(latest(client))["gate.rule"]
    assert result["passed"] is False
    assert reason in result["sentence"]
    assert aliases(client, "untold")["champion"] == "1"


def test_rows_recorded_before_there_were_formats_are_compared(lab, client, weak):
    make_champions("old", weak)
    run_id = registry.training_run(weak.model_id)
    content = runs.read_artifact(run_id, row_hash.FILE)
    old = io.BytesIO()
    np.savez_compressed(old, identities=unpack(content, row_hash.FORMAT)["identities"])
    runs.log_artifacts(run_id, {row_hash.FILE: old.getvalue()})
    try:
        lab.promote(lab.config("old", STRONG, split=2))
    finally:
        runs.log_artifacts(run_id, {row_hash.FILE: content})
    rows = rules(latest(client))["gate.rule"]["figures"]["rows"]
    assert rows == pytest.approx(120 * 0.3, abs=15)


def test_champion_that_refuses_the_rows_cannot_be_compared(lab, client, weak):
    """The rows have a flag of 2, which the champion's contract does not know."""
    lab.keep("flags", lab.table.assign(flag=lab.table["flag"] + 1))
    make_champions("flags", weak)
    config = lab.config("flags", STRONG, table="flags")
    flag = config.data.columns["flag"].model_copy(update={"range": (0.0, 2.0)})
    columns = {**config.data.columns, "flag": flag}
    data = config.data.model_copy(update={"columns": columns})
    lab.promote(config.model_copy(update={"data": data}))
    rule = rules(latest(client))["gate.rule"]
    assert rule["passed"] is False
    assert "flag: must be at most 1" in rule["sentence"]


def test_champion_of_another_question_cannot_be_compared(lab, client, weak):
    lab.keep("texts", lab.table.assign(label=np.where(lab.table["label"] == 1, "yes", "no")))
    make_champions("texts", weak)
    config = lab.config("texts", STRONG, table="texts")
    data = config.data.model_copy(update={"positive": "yes"})
    lab.promote(config.model_copy(update={"data": data}))
    rule = rules(latest(client))["gate.rule"]
    assert rule["passed"] is False
    assert (
        "version 1 has the classes (0, 1), and the config ('no', 'yes'); name the config"
        in rule["sentence"]
    )


def test_champion_that_was_tampered_with_cannot_be_compared(lab, client, weak):
    make_champions("changed", weak)
    with model_files.of(registry.model_id("changed", "1")) as folder:
        content = (folder / "served.json").read_bytes()
        (folder / "served.json").write_bytes(content + b" ")
        try:
            lab.promote(lab.config("changed", STRONG))
            rule = rules(latest(client))["gate.rule"]
            assert rule["passed"] is False
            assert "served.json was changed" in rule["sentence"]
            assert "gate.rule none" in rule["sentence"]  # and so it is
            lab.promote(lab.config("changed", STRONG, rule="none"))
        finally:
            (folder / "served.json").write_bytes(content)
    assert aliases(client, "changed")["champion"] != "1"


@pytest.fixture(scope="module")
def weak(lab, client) -> Candidate:
    return trained(lab, client, C=WEAK)


def compare(lab: Lab, one: Candidate, other: Candidate, **options: object) -> None:
    runs = (one.run_id, other.run_id)
    flow.run("compare", lab.config("any", STRONG, **options), Options(runs=runs))


def test_compare_leaves_metrics_settings_and_the_picture(lab, client, weak):
    strong = trained(lab, client, C=STRONG)
    compare(lab, weak, strong)
    run = latest(client, "compare")
    metrics, note = run.data.metrics, run.data.tags["mlflow.note.content"]
    apart = weak.metrics["test/log_loss"] - strong.metrics["test/log_loss"]
    assert metrics["difference/log_loss"] == pytest.approx(apart)
    low, high = (metrics[f"difference_95/log_loss_{end}"] for end in ("low", "high"))
    assert low < apart < high
    assert note.startswith("On 120 rows that neither was trained on")
    heading = f"| setting | run {weak.run_id[:8]} | run {strong.run_id[:8]} |"
    assert spaced(heading) in note
    assert "'C': 0.05" in note or "C: 0.05" in note
    assert {file.path for file in client.list_artifacts(run.info.run_id)} == {
        *("metrics.csv", "settings.csv", "curves.png"),
    }
    parent = client.get_run(run.data.tags["mlflow.parentRunId"])
    assert note in parent.data.tags["mlflow.note.content"]


def test_compare_of_runs_with_the_same_model_is_told(lab, client):
    strong = trained(lab, client, C=STRONG)
    again = trained(lab, client, C=STRONG)
    with pytest.raises(RegistryError, match=f"both runs have the same model, {strong.model_id}"):
        compare(lab, strong, again)


def test_compare_of_splits_takes_the_rows_that_neither_was_trained_on(lab, client, weak):
    compare(lab, weak, trained(lab, client, C=STRONG, split=2))
    note = latest(client, "compare").data.tags["mlflow.note.content"]
    assert int(note.split()[1]) == pytest.approx(120 * 0.3, abs=15)


def test_compare_without_a_row_that_neither_has_seen_is_told(lab, client, weak):
    one = weak
    trained_on = dataset(lab.config("any", STRONG))
    lab.keep("seen", pd.concat([trained_on.X_train, trained_on.y_train], axis=1))
    with pytest.raises(ContractError, match="there is no row that neither was trained on"):
        compare(lab, one, trained(lab, client, C=STRONG), table="seen")
