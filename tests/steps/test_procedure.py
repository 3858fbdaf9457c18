from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from pipeline.datasets.dataset import build_dataset
from pipeline.datasets.sampling import search_part
from pipeline.errors import SearchError
from pipeline.results import Dataset, Training, Tuning
from pipeline.schema.columns import NumberColumn
from pipeline.steps import procedure
from pipeline.steps.train import fit
from pipeline.steps.tune import tune
from tests.support.builders import COLUMNS, make_config, make_dataset, make_table

FAMILIES = ("logistic_regression", "spline_logistic_regression")
CONFIG = make_config(tune={"families": FAMILIES, "max_evals": 4, "seed": 3})
KINDS = [((0, 1), 1), (("no", "yes"), "no"), (("a", "b", "c"), None)]


@pytest.fixture(scope="module", params=KINDS, ids=str)
def case(request) -> tuple[Dataset, Tuning, Training]:
    dataset = make_dataset(*request.param)
    return dataset, *procedure.run(CONFIG, dataset)


def without_seconds(tuning: Tuning) -> list:
    return [replace(trial, seconds=0.0) for trial in tuning.trials]


def assert_same(dataset: Dataset, one: Training, other: Training) -> None:
    assert (one.weights, one.threshold) == (other.weights, other.threshold)
    assert (one.metrics, one.spread) == (other.metrics, other.spread)
    np.testing.assert_array_equal(
        one.model.predict_proba(dataset.X), other.model.predict_proba(dataset.X)
    )


def test_procedure_is_the_tune_step_and_then_the_train_step(case):
    dataset, tuning, training = case
    by_step = tune(CONFIG, dataset)
    assert without_seconds(tuning) == without_seconds(by_step)
    assert len(tuning.trials) == 4
    assert_same(dataset, training, fit(CONFIG, dataset, by_step))


def test_procedure_never_looks_at_the_test_part(case):
    dataset, tuning, training = case
    garbage = replace(
        dataset,
        X_test=dataset.X_test * np.nan,
        y_test=pd.Series("garbage", index=dataset.y_test.index),
    )
    again, trained = procedure.run(CONFIG, garbage)
    assert without_seconds(again) == without_seconds(tuning)
    assert_same(dataset, trained, training)


def test_procedure_gives_a_fitted_model_of_the_tables_classes(case):
    dataset, _, training = case
    predicted = training.model.predict_proba(dataset.X_test)
    assert tuple(training.model.classes_) == dataset.contract.classes
    assert predicted.sum(axis=1) == pytest.approx(np.ones(len(dataset.X_test)))
    assert (training.threshold is None) == (dataset.contract.positive is None)


def test_procedure_heeds_the_settings_of_tune_and_train():
    dataset = make_dataset()
    settings = {"train": {"ensemble": False, "threshold": 0.3}}
    config = make_config(tune={"families": FAMILIES, "max_evals": 3}, **settings)
    tuning, training = procedure.run(config, dataset)
    assert len(tuning.trials) == 3
    assert training.weights == {next(iter(tuning.chosen)): 1.0}
    assert training.threshold == 0.3


def test_procedure_says_why_when_every_trial_failed():
    dataset = make_dataset()
    empty = replace(dataset, X_train=dataset.X_train.assign(noise=np.nan))
    config = make_config(tune={"families": ("hist_gradient_boosting",), "max_evals": 2})
    with pytest.raises(SearchError, match=r"all 2 trials failed.*ValueError"):
        procedure.run(config, empty)


@pytest.mark.parametrize("by", ["", "group", "time"])
def test_search_blend_and_threshold_are_of_the_same_sample(by):
    table = make_table(rows=400)
    table["visit"] = np.arange(len(table)) // 4
    config = make_config(
        columns={**COLUMNS, "visit": NumberColumn()},
        split={by: "visit"} if by else {},
        tune={"max_rows": 160, "folds": 3, "families": FAMILIES, "max_evals": 2},
    )
    dataset = build_dataset(config, table, "0" * 64)
    tuning, training = procedure.run(config, dataset)
    part = search_part(config, dataset)
    rows = len(part.y_train)
    assert 150 <= rows <= 160
    assert {len(each) for each in tuning.out_of_fold.values()} == {rows}
    assert f"sees {rows} of {len(dataset.y_train)} training rows" in tuning.report.note
    assert f"chosen by {rows} " in training.report.note
    assert training.metrics == fit(config.model_copy(), part, tuning).metrics
