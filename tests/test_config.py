from typing import get_args

import pytest
from pydantic import ValidationError

from pipeline.columns import Column
from pipeline.config import (
    BUILT_IN,
    DEFAULT_FAMILIES,
    LOWER_IS_BETTER,
    Config,
    Data,
    Estimator,
    Metric,
    Registry,
    Serve,
    Split,
    Tune,
)
from pipeline.config_file import settings

DATA = {"source": "people.csv", "target": "ill", "columns": {"Age": Column()}}
KNN = Estimator(estimator="sklearn.neighbors.KNeighborsClassifier")
BAYES = Estimator(estimator="sklearn.naive_bayes.GaussianNB")


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
        (Tune, {"trial_timeout": 0}),
        (Tune, {"backend": "cluster"}),
        (Tune, {"families": ("knn",), "estimators": {"bayes": BAYES}}),
        (Tune, {"families": ("knn", "knn"), "estimators": {"knn": KNN}}),
        (Tune, {"estimators": {"mlp": KNN}}),
        (Tune, {"estimators": {"raw_logistic_regression": KNN}}),
        (Tune, {"space": {"svc": 3}}),
        (Tune, {"space": {"svc": {"C": {"uniform": [2, 1]}}}}),
        (Tune, {"space": {"knn": {}}}),
        (Tune, {"families": ("mlp",), "space": {"svc": {}}}),
        (Estimator, {}),
        (Estimator, {"estimator": ""}),
        (Estimator, {"estimator": "Class"}),
        (Estimator, {"estimator": ".Class"}),
        (Estimator, {"estimator": "package."}),
        (Estimator, {"estimator": "package..Class"}),
        (Estimator, {"estimator": "package.1Class"}),
        (Estimator, {"estimator": "package/module.Class"}),
        (Estimator, {"estimator": "package.Class()"}),
        (Estimator, {"estimator": " package.Class"}),
        (Estimator, {"estimator": "package.Class", "param": {}}),
        (Estimator, {"estimator": "package.Class", "params": [1]}),
        (Estimator, {"estimator": "package.Class", "space": {"C": {"uniform": [2, 1]}}}),
        (Estimator, {"estimator": "package.Class", "preprocessing": ("onehot",)}),
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


# Families and their spaces.


def test_families_are_those_of_the_project_but_for_the_tutorials():
    assert Tune().families == DEFAULT_FAMILIES
    assert set(BUILT_IN) - set(DEFAULT_FAMILIES) == {"raw_logistic_regression"}


def test_families_that_are_not_set_are_also_the_estimators():
    tune = Tune(estimators={"knn": KNN, "bayes": BAYES})

    assert tune.families == (*DEFAULT_FAMILIES, "knn", "bayes")


@pytest.mark.parametrize("families", [("svc",), ("bayes", "svc", "knn"), (*BUILT_IN, "knn")])
def test_families_that_are_set_are_those_alone(families):
    assert Tune(estimators={"knn": KNN, "bayes": BAYES}, families=families).families == families


@pytest.mark.parametrize(
    ("families", "paths"),
    [
        (("svc", "mlp"), ()),
        (("knn",), (KNN.estimator,)),
        (("bayes", "svc", "knn"), (BAYES.estimator, KNN.estimator)),
    ],
)
def test_import_paths_are_those_of_the_estimators_that_are_searched(families, paths):
    estimators = {"knn": KNN, "bayes": BAYES}

    assert Tune(estimators=estimators, families=families).import_paths() == paths


def test_import_paths_of_the_projects_own_families_are_none():
    assert Tune().import_paths() == ()


def test_estimator_imputes_and_scales_and_has_nothing_to_search_unless_told():
    assert KNN.preprocessing == ("impute", "scale")
    assert (KNN.params, KNN.space, KNN.default) == ({}, {}, {})


@pytest.mark.parametrize("path", ["package.Class", "a.b.c.Class", "größe.Klasse", "_a._B"])
def test_estimator_takes_an_import_path(path):
    assert Estimator(estimator=path).estimator == path


@pytest.mark.parametrize(
    "value", [3, 0.5, None, True, "auto", [1, None, {"a": 1}], {"choice": [True, 1, None]}]
)
def test_space_keeps_a_value_as_it_is(value):
    spaces = (
        Tune(space={"svc": {"C": value}}).space["svc"],
        Estimator(estimator="package.Class", space={"C": value}).space,
    )

    assert [repr(space) for space in spaces] == [repr({"C": value})] * 2


@pytest.mark.parametrize("value", [3, None, [1], {"uniform": [2, 1]}, {"a": {"b": 1}}])
def test_params_and_default_of_an_estimator_may_be_anything(value):
    estimator = Estimator(estimator="package.Class", params={"x": value}, default={"y": value})

    assert (estimator.params, estimator.default) == ({"x": value}, {"y": value})


def test_space_of_a_family_that_is_not_searched_is_refused_with_the_choices():
    with pytest.raises(ValidationError, match="'svc', which is not in families; choose from mlp"):
        Tune(families=("mlp",), space={"svc": {}})


@pytest.mark.parametrize("name", ["a__b", "weights", "voting", "file", "", "a|b", "a b", "3rd"])
def test_estimator_has_a_name_that_can_stand_in_the_blend_and_its_files(name):
    with pytest.raises(ValidationError, match="cannot name an estimator"):
        Tune(estimators={name: {"estimator": "package.Class"}})
