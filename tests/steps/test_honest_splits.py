"""What a split by chance hides: groups that are known by heart, and a past unlike the future."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline.datasets.dataset import build_dataset
from pipeline.export.compilation import compile_model
from pipeline.results import Dataset, Evaluation, Training
from pipeline.schema.columns import NumberColumn
from pipeline.steps import procedure
from pipeline.steps.audit import audit
from pipeline.steps.evaluate import evaluate
from tests.support.builders import make_config

PATIENTS, VISITS = 100, 10
TUNE = {"families": ("hist_gradient_boosting", "extra_trees"), "max_evals": 2, "folds": 4}


def patients() -> pd.DataFrame:
    """Whether a patient is ill is chance; badge and bed are noise that names the patient."""
    rng = np.random.default_rng(0)
    patient = rng.permutation(np.repeat(np.arange(PATIENTS), VISITS))
    return pd.DataFrame(
        {
            "badge": rng.normal(size=PATIENTS)[patient],
            "bed": rng.normal(size=PATIENTS)[patient],
            "patient": patient,
            "day": np.arange(PATIENTS * VISITS),
            "label": rng.permutation(np.arange(PATIENTS) % 2)[patient],
        }
    )


def drifting() -> pd.DataFrame:
    """What goes with the label turns round slowly: no past says much of the future."""
    rng = np.random.default_rng(0)
    label = rng.integers(0, 2, 600)
    day = np.arange(600)
    turn = np.cos(np.pi * day / 300)
    return pd.DataFrame(
        {
            "badge": day / 600 + rng.normal(scale=0.01, size=600),
            "bed": turn * (2 * label - 1) + rng.normal(scale=0.7, size=600),
            "patient": day,
            "day": day,
            "label": label,
        }
    )


def run(table: pd.DataFrame, **split: Any) -> tuple[Dataset, Training, Evaluation]:
    """Ingest, tune, train and evaluate."""
    config = make_config(
        columns={"badge": NumberColumn(), "bed": NumberColumn()}, split=split, tune=TUNE
    )
    drop = {"patient": "of the split", "day": "of the split"}
    data = config.data.model_copy(update={"drop": drop})
    config = config.model_copy(update={"data": data})
    dataset = build_dataset(config, table, digest="0" * 64)
    _, training = procedure.run(config, dataset)
    return dataset, training, evaluate(config.evaluate, dataset, training)


def test_split_by_group_gives_the_score_that_a_split_by_chance_hides():
    _, by_chance, chance = run(patients())
    dataset, by_group, group = run(patients(), group="patient")

    assert chance.metrics["roc_auc"] > 0.95
    assert by_chance.metrics["roc_auc"] > 0.95
    assert chance.metrics["log_loss"] < 0.2
    assert by_group.metrics["roc_auc"] == pytest.approx(0.5, abs=0.1)
    low, high = group.intervals["roc_auc"]
    assert low < 0.5 < high
    assert group.metrics["log_loss"] > np.log(2)
    widths = [np.ptp(one.intervals["roc_auc"]) for one in (chance, group)]
    assert widths[1] > 4 * widths[0]
    assert dataset.rows_note in by_group.report.note


def test_split_by_time_gives_the_score_that_a_split_by_chance_hides():
    _, by_chance, chance = run(drifting())
    dataset, by_time, time = run(drifting(), time="day")

    assert chance.metrics["roc_auc"] > 0.8
    assert by_chance.metrics["roc_auc"] > 0.8
    assert time.metrics["roc_auc"] < 0.7
    assert by_time.metrics["roc_auc"] < by_chance.metrics["roc_auc"] - 0.1
    assert dataset.X_train.index.max() < dataset.X_test.index.min()


@pytest.mark.parametrize("split", [{"group": "patient"}, {"time": "day"}])
def test_audit_splits_as_the_table_is_split_outside_and_inside(split):
    config = make_config(
        columns={"badge": NumberColumn(), "bed": NumberColumn()},
        split=split,
        tune={**TUNE, "max_evals": 1},
    )
    drop = {"patient": "of the split", "day": "of the split"}
    updates = {
        "data": config.data.model_copy(update={"drop": drop}),
        "audit": config.audit.model_copy(update={"folds": 3}),
    }
    config = config.model_copy(update=updates)
    table = patients()
    dataset = build_dataset(config, table, digest="0" * 64)
    (column,) = split.values()
    parts = []

    def whole(config: Any, part: Dataset) -> Any:
        parts.append(part)
        return procedure.run(config, part)

    report = audit(config, dataset, whole, lambda _: None)

    assert len(parts) == 3
    for part in parts:
        train, test = (table.loc[X.index, column] for X in (part.X_train, part.X_test))
        assert not set(train) & set(test)
        assert column == "patient" or train.max() < test.min()
    tested = sum(len(part.X_test) for part in parts)
    assert tested == (1000 if column == "patient" else 750)
    assert dataset.rows_note in report.note


def test_weights_count_in_fits_and_in_every_metric():
    """Half of the rows say the opposite of the others: the answer is that of those that count."""
    table = drifting().assign(count=1.0)
    table["bed"] = np.where(table["label"] == 1, 1.0, -1.0)
    opposite = table.assign(bed=-table["bed"])
    both = pd.concat([table, opposite.assign(count=0.1)], ignore_index=True)
    config = make_config(
        columns={"badge": NumberColumn(), "bed": NumberColumn()},
        tune={"families": ("logistic_regression", "svc"), "max_evals": 2, "folds": 3},
    )
    drop = {"patient": "of the split", "day": "of the split"}
    results = []
    for settings in ({"weight": "count"}, {}):
        dropped = drop if settings else {**drop, "count": "unused"}
        data = config.data.model_copy(update={"drop": dropped, **settings})
        one = config.model_copy(update={"data": data})
        dataset = build_dataset(one, both, digest="0" * 64)
        _, training = procedure.run(one, dataset)
        results.append((training, evaluate(one.evaluate, dataset, training)))

    (weighted, tested), (alike, tested_alike) = results
    for name in ("accuracy", "roc_auc"):
        assert weighted.metrics[name] > 0.85
        assert tested.metrics[name] > 0.85
        assert alike.metrics[name] < 0.6
        assert tested_alike.metrics[name] < 0.65
    low, high = tested.intervals["accuracy"]
    assert 0.8 < low < tested.metrics["accuracy"] < high
    assert tested.baselines["tutorial"]["accuracy"] > 0.85
    assert compile_model(dataset, weighted).summary
