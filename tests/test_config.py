from typing import get_args

import pytest
from pydantic import ValidationError

from pipeline.columns import Column
from pipeline.config import LOWER_IS_BETTER, Config, Data, Metric, Registry, Serve, Split, Tune
from pipeline.config_file import settings

DATA = {"source": "people.csv", "target": "ill", "columns": {"Age": Column()}}


def test_config_needs_only_data_and_registry():
    config = Config(data=Data(**DATA), registry=Registry(model="m"))

    assert config.split == Split()
    assert config.tune == Tune()


def test_target_among_the_columns_is_refused():
    with pytest.raises(ValidationError, match="target 'Age' is among the columns; take it out"):
        Data(**{**DATA, "target": "Age"})


@pytest.mark.parametrize("positive", [1, 0, True, "yes", None])
def test_positive_keeps_its_type(positive):
    assert type(Data(**DATA, positive=positive).positive) is type(positive)


@pytest.mark.parametrize("name", ["m", "pima-diabetes", "two words", "2024", "größe_1"])
def test_registry_takes_a_name_that_fits_a_models_address(name):
    assert Registry(model=name).model == name


@pytest.mark.parametrize("name", ["", " m", "a/b", "a:b", "a.b/", ".", "a%b", "a'b", 'a"b'])
def test_registry_refuses_a_name_that_breaks_a_models_address(name):
    with pytest.raises(ValidationError, match="model"):
        Registry(model=name)


@pytest.mark.parametrize(
    ("section", "settings"),
    [
        (Data, {**DATA, "columns": {}}),
        (Data, {**DATA, "source": ""}),
        (Data, {**DATA, "target": ""}),
        (Data, {**DATA, "timeout": 0}),
        (Data, {**DATA, "timeout": float("inf")}),
        (Data, {**DATA, "sha256": "A" * 64}),
        (Data, {**DATA, "sha256": "a" * 63}),
        (Split, {"test_size": 0.0}),
        (Split, {"test_size": 1.0}),
        (Split, {"seed": -1}),
        (Split, {"seed": 2**32}),
        (Tune, {"families": ()}),
        (Tune, {"families": ("xgb",)}),
        (Tune, {"families": ("svc", "svc")}),
        (Tune, {"max_evals": 0}),
        (Tune, {"max_evals": True}),
        (Tune, {"folds": 1}),
        (Tune, {"parallelism": "many"}),
        (Tune, {"parallelism": 0}),
        (Serve, {"port": 0}),
        (Serve, {"port": 65536}),
        (Serve, {"workers": 0}),
    ],
)
def test_setting_outside_its_rule_is_refused(section, settings):
    with pytest.raises(ValidationError):
        section(**settings)


def test_every_setting_says_what_it_means():
    assert [key for key, field in settings() if not field.description] == []


def test_lower_is_better_names_metrics():
    assert set(get_args(Metric)) >= LOWER_IS_BETTER
