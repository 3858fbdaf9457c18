"""Targets that are amounts: told from classes, read, checked, and parted evenly."""

import numpy as np
import pandas as pd
import pytest

from pipeline.config.of_task import of_task
from pipeline.config.sections import Data
from pipeline.datasets import amounts
from pipeline.datasets.dataset import build_dataset
from pipeline.datasets.splits import strata
from pipeline.errors import ConfigError, ContractError
from pipeline.tasks import BINARY, REGRESSION, TASKS
from tests.support.builders import make_config, make_dataset, make_table

RNG = np.random.default_rng(0)
FRACTIONS = pd.Series(RNG.normal(50, 10, 60).round(2))
COUNTS = pd.Series(RNG.poisson(500, 60))


def data_of(**settings):
    return Data(source="prices.csv", target="price", **settings)


@pytest.mark.parametrize(
    ("cells", "settings", "task"),
    [
        (FRACTIONS, {}, "regression"),
        (FRACTIONS.map("{:.2f}".format), {}, "regression"),  # 12.50 is no plain writing of 12.5
        (COUNTS, {}, "regression"),
        (COUNTS, {"task": "classification"}, "classification"),
        (COUNTS, {"positive": 500}, "classification"),
        (COUNTS, {"target_kind": "text"}, "classification"),
        (pd.Series([0, 1, 2] * 20), {}, "classification"),
        (pd.Series([0, 1, 2] * 20), {"task": "regression"}, "regression"),
        (pd.Series(np.repeat(np.arange(30), 20)), {}, "classification"),
        (pd.Series([True, False] * 30), {}, "classification"),
        (pd.Series(["a", "b", "1.5"] * 20), {}, "classification"),
    ],
)
def test_task_follows_from_the_cells_unless_the_config_says_it(cells, settings, task):
    data, reason = amounts.with_task(data_of(**settings), cells, rows_per_class=9)

    assert data.task == task
    assert bool(reason) == (task == "regression" and "task" not in settings)


@pytest.mark.parametrize(
    ("cells", "settings", "parts"),
    [
        (["1.5", "abc", "2"], {}, ["row 2, price: holds 'abc'", "asks for finite numbers"]),
        ([1.0, 2.0, np.inf], {}, ["row 3, price: holds 'inf'"]),
        ([1.0, -2.0, 3.0], {"target_range": (0, None)}, ["row 2", "data.target_range is [0"]),
        ([5.0, 5.0], {}, ["price: is 5 in every row"]),
        ([True, False], {}, ["holds true and false"]),
    ],
)
def test_cells_that_are_no_amounts_are_named(cells, settings, parts):
    with pytest.raises(ContractError) as raised:
        amounts.read_amounts(data_of(task="regression", **settings), pd.Series(cells))

    assert all(part in str(raised.value) for part in parts)


def test_table_of_amounts_has_doubles_no_classes_and_the_range_of_the_config():
    config = make_config(positive=None)
    data = config.data.model_copy(update={"target_range": (-100.0, None)})
    dataset = build_dataset(config.model_copy(update={"data": data}), make_table(None), "0" * 64)

    assert dataset.contract.task is REGRESSION
    assert (dataset.contract.classes, dataset.contract.target_range) == ((), (-100.0, None))
    assert dataset.y.dtype == np.float64
    assert dataset.data is not None
    assert dataset.data.task == "regression"


@pytest.mark.parametrize("rows", [25, 120, 121, 1000])
def test_parts_have_the_same_share_of_each_tenth(rows):
    y = pd.Series(RNG.gamma(1, 10, rows))
    codes = strata(y)
    assert np.ptp(np.bincount(codes)) <= 1
    assert len(np.unique(codes)) == min(10, rows // 10)
    assert y[codes == 0].max() <= y[codes == codes.max()].min()
    dataset = make_dataset(None, None, rows=rows * 4)
    assert dataset.y_test.median() == pytest.approx(dataset.y_train.median(), abs=3)


def test_too_few_rows_for_intervals_and_settings_for_classes_are_refused():
    with pytest.raises(ContractError, match="rows, and 40 are needed for intervals"):
        make_dataset(None, None, rows=50)
    with pytest.raises(ConfigError, match=r"data.positive is set, and data.task is regression"):
        amounts.check_settings(data_of(task="regression", positive=1))


@pytest.mark.parametrize(
    ("least", "targets", "losses"),
    [(-1.0, 1, 2), (0.0, 2, 3), (0.5, 3, 4)],
)
def test_search_has_the_transformations_and_losses_that_the_amounts_allow(least, targets, losses):
    config = make_config(tune={"families": ("ridge", "hist_gradient_boosting_regressor")})

    space = of_task(config, REGRESSION, least).tune.space

    assert len(space["ridge"]["target"].options) == targets
    assert len(space["hist_gradient_boosting_regressor"]["loss"].options) == losses


@pytest.mark.parametrize(
    ("task", "tune", "gate", "sentence"),
    [
        (
            REGRESSION,
            {"families": ("svc",)},
            {},
            "has svc, which is no family of reg",
        ),
        (
            BINARY,
            {"families": ("ridge",)},
            {},
            "has ridge, which is no family of bin",
        ),
        (
            REGRESSION,
            {"families": ("ridge",)},
            {"primary": "log_loss"},
            "gate.primary has log_loss",
        ),
        (BINARY, {}, {"floors": {"rmse": 3.0}}, "gate.floors has rmse, which is no metric of bin"),
    ],
)
def test_families_and_metrics_of_another_task_are_refused(task, tune, gate, sentence):
    with pytest.raises(ConfigError, match=sentence):
        of_task(make_config(tune=tune, gate=gate), task)


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_families_are_the_tasks_own_where_the_config_names_none(task):
    config = make_config()
    config = config.model_copy(update={"tune": type(config.tune)()})

    assert of_task(config, task).tune.families == task.families
