"""New rows beside those of the training: what is beyond the bounds, and what is not."""

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from pipeline.config.monitor import Monitor
from pipeline.evaluation.checked_rows import OTHER_CLASS, RowReader, other_labels
from pipeline.evaluation.profile import profile_of
from pipeline.inference.predictor import Params, Predictor, Trained
from pipeline.steps import monitor as step
from pipeline.steps.monitor import Monitoring, Reference, monitor, observe
from tests.support.builders import make_config
from tests.support.mixed import KINDS, make_mixed_dataset, make_mixed_table
from tests.support.pima import CONTRACT
from tests.support.tables import make_data, source_of

TRAINED = ("number", "since", "visits")  # what the answers follow


def make_reference(classes: int) -> tuple[Predictor, Reference]:
    dataset = make_mixed_dataset(classes)
    places = [list(KINDS).index(name) for name in TRAINED]
    center = np.nanmedian(dataset.X_train.to_numpy()[:, places].astype(float), axis=0)
    scale = np.nanstd(dataset.X_train.to_numpy()[:, places].astype(float), axis=0)

    def predict(X: Any) -> Any:
        odds = np.nan_to_num((X[:, places].astype(float) - center) / scale).sum(axis=1)
        signs = (-1.0) ** np.arange(classes)
        shares = 1 / (1 + np.exp(np.outer(odds, signs)))
        return shares / shares.sum(axis=1, keepdims=True)

    X = dataset.X_train.to_numpy()
    predictor = Predictor(dataset.contract, predict, Trained.on(dataset.contract, X, None))
    answers = predictor.answers(dataset.X_test.to_numpy(), Params())
    profile = profile_of(dataset.contract, X, predictor.target.columns, answers)
    metrics = {"test/log_loss": 0.5, "test_95/log_loss_low": 0.0, "test_95/log_loss_high": 0.01}
    return predictor, Reference(dataset.contract, None, profile, metrics)


REFERENCES = {classes: make_reference(classes) for classes in (2, 3)}


def look(
    table: pd.DataFrame, classes: int = 2, target: str | None = None, **bounds: Any
) -> Monitoring:
    predictor, reference = REFERENCES[classes]
    source = source_of(make_data(target="label"), table.to_csv(index=False).encode())
    batches = list(source.batches(90))
    reader = RowReader(predictor, batches[0].column_names)
    config = make_config().model_copy(update={"monitor": Monitor(**bounds)})
    return monitor(config, reference, observe(reader, reference.profile, batches, target))


ROWS = make_mixed_table(400, seed=9)
ROWS = ROWS[ROWS["shop"].isin(make_mixed_table()["shop"])]


@pytest.mark.parametrize("classes", [2, 3])
def test_rows_of_the_same_source_raise_no_alarm(classes: int) -> None:
    result = look(ROWS, classes)

    assert result.alarms == []
    assert result.report.metrics["rows"] == len(ROWS)
    assert {one.name for one in result.drifts} == {*KINDS, "answer: label", "answer: probability"}
    assert "As before" in result.report.note


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("number", lambda cells: (pd.to_numeric(cells) + 15).astype("str").replace("nan", "")),
        ("visits", lambda cells: (pd.to_numeric(cells) + 2).astype("Int64")),
        ("city", lambda cells: cells.replace({"Rome": "Paris"})),
        ("size", lambda cells: cells.replace({"s": "l"})),
        ("is_new", lambda _: "true"),
        ("since", lambda cells: cells.str.replace("20", "21", n=1)),
        ("number", lambda cells: cells.mask(np.arange(len(cells)) % 3 == 0)),
    ],
    ids=["number", "integer", "unseen level", "ordinal", "boolean", "date", "missing"],
)
def test_column_that_changed_is_named_first(name: str, change: Any) -> None:
    result = look(ROWS.assign(**{name: change(ROWS[name])}))

    assert result.drifts[0].name == name
    assert any(alarm.startswith(f"{name} (index") for alarm in result.alarms)
    assert result.report.artifacts["drift.csv"]["column"].iloc[0] == name


def test_drift_of_the_answers_is_seen() -> None:
    result = look(ROWS.assign(number=(pd.to_numeric(ROWS["number"]) + 30).fillna(60)))
    assert any(alarm.startswith("answer: probability") for alarm in result.alarms)


def test_rows_that_break_the_contract_are_counted_by_rule() -> None:
    some = ROWS.copy()
    some.loc[some.index[:10], "visits"] = "-1"

    result = look(some)

    (alarm,) = result.alarms
    assert "break the contract" in alarm
    assert "visits: must be at least 0 (10)" in alarm
    assert result.report.metrics["rows_rejected"] == 10
    assert look(ROWS.assign(visits="-1")).drifts == []


def test_bounds_of_the_config_decide() -> None:
    moved = ROWS.assign(is_new="true")
    assert look(moved).alarms
    assert look(moved, psi=100.0, missing=1.0).alarms == []


@pytest.mark.parametrize("classes", [2, 3])
def test_labels_give_metrics_beside_those_of_the_promotion(classes: int) -> None:
    table = ROWS.copy()
    if classes == 3:
        table["label"] = table["label"].mask(table["size"] == "s", "maybe")

    result = look(table, classes, target="label")

    assert 0 < result.report.metrics["monitor/log_loss"] < 5
    assert any(alarm.startswith("log_loss is") and "was 0.500" in alarm for alarm in result.alarms)
    assert "| log_loss |" in result.report.note


def test_of_many_rows_the_model_is_asked_for_some_and_the_page_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = look(ROWS, target="label")
    assert "asked" not in whole.report.note
    monkeypatch.setattr(step, "MOST_ASKED", 150)

    result = look(ROWS, target="label")

    assert f"{len(ROWS)} rows, of which 0 break the contract. The model was asked for 150 of" in (
        result.report.note
    )
    by_name = {one.name: one for one in result.drifts}
    assert sum(by_name["answer: label"].now.counts) == 150
    assert sum(by_name["number"].now.counts) == len(ROWS)
    losses = [one.report.metrics["monitor/log_loss"] for one in (whole, result)]
    assert losses[0] != losses[1] == pytest.approx(losses[0], rel=0.3)


@pytest.mark.parametrize("labels", [["good", "bad"], ["7", ""]])
def test_labels_that_are_no_class_are_counted_and_said(labels: list[Any]) -> None:
    result = look(ROWS.assign(label=(labels * len(ROWS))[: len(ROWS)]), target="label")
    count = len(ROWS) if "" not in labels else (len(ROWS) + 1) // 2
    such = f"{count} labels are no classes of the model, such as '{labels[0]}'"
    assert such in result.report.note
    assert "monitor/log_loss" not in result.report.metrics


def test_label_that_is_not_a_number_is_a_missing_one() -> None:
    table = pa.table({"Outcome": [1.5, float("nan"), None]})
    truth = np.full(3, OTHER_CLASS)
    assert other_labels(CONTRACT, table, "Outcome", truth) == {"1.5": 1}


def test_labels_of_one_class_give_no_metrics() -> None:
    result = look(ROWS.assign(label="yes"), target="label")
    assert not any(name.startswith("monitor/") for name in result.report.metrics)
