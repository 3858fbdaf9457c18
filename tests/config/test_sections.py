import re
from math import inf

import pytest
from pydantic import ValidationError

from pipeline.config.gate import Gate
from pipeline.config.keys import settings
from pipeline.config.load import load
from pipeline.config.ranges import Choice
from pipeline.config.sections import Config, Data, Evaluate, Registry, Split, check_slices
from pipeline.config.serve import Serve
from pipeline.config.tune import Estimator, Tune
from pipeline.errors import ConfigError
from pipeline.schema.columns import NumberColumn, TextColumn
from pipeline.tasks import BINARY, FAMILIES, METRICS

DATA = {"source": "people.csv", "target": "ill", "columns": {"Age": NumberColumn()}}
KNN = Estimator(estimator="sklearn.neighbors.KNeighborsClassifier")
BAYES = Estimator(estimator="sklearn.naive_bayes.GaussianNB")


def test_config_needs_only_data_and_registry():
    config = Config(data=Data(**DATA), registry=Registry(model="m"))
    assert config.split == Split()
    assert config.tune == Tune()


def test_a_column_without_a_name_is_refused():
    with pytest.raises(ValidationError, match="empty name, which MLflow cannot carry"):
        Data(**{**DATA, "columns": {**DATA["columns"], "": {}}})


@pytest.mark.parametrize(("name", "what"), [("ill", "the target"), ("Age", "among the columns")])
def test_weight_is_no_feature(name, what):
    with pytest.raises(
        ValidationError, match=f"weight is '{name}', which is {what}; a weight is no"
    ):
        Data(**DATA, weight=name)


@pytest.mark.parametrize(
    ("drop", "message"),
    [
        ({"ill": "it is"}, "drop has 'ill', which is the target"),
        ({"Age": "late", "id": "unique"}, "drop has 'Age', which columns has too; a column is"),
    ],
)
def test_a_dropped_column_has_no_other_use(drop, message):
    with pytest.raises(ValidationError, match=message):
        Data(**DATA, drop=drop)


@pytest.mark.parametrize("positive", [1, 0, True, "yes", None])
def test_positive_keeps_its_type(positive):
    assert type(Data(**DATA, positive=positive).positive) is type(positive)


@pytest.mark.parametrize("name", ["", " m", "a/b", "a:b", ".", "a%b", "a'b", 'a"b'])
def test_registry_refuses_a_name_that_breaks_a_models_address(name):
    with pytest.raises(ValidationError, match="model"):
        Registry(model=name)


@pytest.mark.parametrize(
    ("section", "settings"),
    [
        (Data, {**DATA, "source": ""}),
        (Data, {**DATA, "target": ""}),
        (Data, {**DATA, "timeout": 0}),
        (Data, {**DATA, "sha256": "A" * 64}),
        (Data, {**DATA, "sha256": "a" * 63}),
        (Split, {"test_size": 0.0}),
        (Split, {"test_size": 1.0}),
        (Split, {"seed": -1}),
        (Split, {"seed": 2**32}),
        (Tune, {"families": ()}),
        (Tune, {"max_evals": 0}),
        (Tune, {"folds": 1}),
        (Tune, {"parallelism": 0}),
        (Tune, {"trial_timeout": 0}),
        (Tune, {"families": ("knn",), "estimators": {"bayes": BAYES}}),
        (Tune, {"estimators": {"raw_logistic_regression": KNN}}),
        (Tune, {"space": {"knn": {}}}),
        (Estimator, {"estimator": ""}),
        (Estimator, {"estimator": ".Class"}),
        (Estimator, {"estimator": "package."}),
        (Estimator, {"estimator": "package..Class"}),
        (Estimator, {"estimator": "package.1Class"}),
        (Estimator, {"estimator": "package.Class()"}),
        (Estimator, {"estimator": " package.Class"}),
        (Gate, {"primary": "f1"}),
        (Gate, {"metric": "auc"}),
        (Gate, {"floors": {"auc": 0.7}}),
        (Gate, {"floors": {"roc_auc": float("nan")}}),
        (Gate, {"floors_on": "low"}),
        (Gate, {"margin": -0.001}),
        (Gate, {"margin": float("inf")}),
        (Gate, {"level": 0.5}),
        (Gate, {"level": 1.0}),
        (Gate, {"rows_per_class": 0}),
        (Gate, {"calibration": 0}),
        (Gate, {"serve_check": "none"}),
        (Gate, {"latency": 0}),
        (Gate, {"slices": {"Age": (float("inf"),)}, "slice_floors": {"f1": 0.1}}),
        (Gate, {"slices": {"Age": 30.0}, "slice_floors": {"f1": 0.1}}),
        (Gate, {"slices": {"Age": (30.0,)}, "slice_floors": {"auc": 0.1}}),
        (Serve, {"port": 0}),
        (Serve, {"workers": 0}),
        (Serve, {"version": "latest"}),
        (Serve, {"version": 0}),
        (Serve, {"shadow": 2.0}),
        (Serve, {"shadow_sample": 0}),
    ],
)
def test_setting_outside_its_rule_is_refused(section, settings):
    with pytest.raises(ValidationError):
        section(**settings)


def test_every_setting_says_what_it_means():
    assert [key for key, field in settings() if not field.description] == []


# The gate.


def test_gate_asks_for_more_than_the_dummy_and_a_champions_equal_unless_told_otherwise():
    gate = Gate()
    assert (gate.primary, gate.dummy, gate.floors, gate.floors_on) == (
        *("log_loss", True, {}, "value"),
    )
    assert (gate.rule, gate.metric, gate.margin, gate.level) == (
        *("non_inferiority", "roc_auc", 0.02, 0.95),
    )
    assert (gate.calibration, gate.rows_per_class, gate.slices) == (0.1, 10, {})
    assert (gate.serve_check, gate.latency) == ("in_process", 0.1)


@pytest.mark.parametrize(
    "settings",
    [
        {"margin": 0, "level": 0.501, "rows_per_class": 1, "calibration": 1e-9, "latency": 1e-9},
        {"calibration": None, "level": 0.999, "rule": "none", "dummy": False},
        {"floors": {"roc_auc": 0.0, "log_loss": 0.0, "mcc": -1.0, "brier": 0.0}},
        {"floors": {"roc_auc": 1.0, "log_loss": 1e9, "mcc": 1.0, "brier": 2.0}},
    ],
)
def test_gate_takes_a_setting_at_the_edge_of_its_rule(settings):
    gate = Gate(**settings)
    assert {name: getattr(gate, name) for name in settings} == settings


IMPOSSIBLE = [
    (name, bound + step)
    for name, metric in METRICS.items()
    for bound, step in zip(metric.bounds, (-0.01, 0.01), strict=True)
    if abs(bound) < inf
]


@pytest.mark.parametrize(("name", "floor"), IMPOSSIBLE)
@pytest.mark.parametrize("setting", ["floors", "slice_floors"])
def test_floor_that_its_metric_cannot_be_is_refused(setting, name, floor):
    slices = {"slices": {"Age": (30.0,)}} if setting == "slice_floors" else {}
    with pytest.raises(ValidationError, match=rf"{setting}\n.*{name} is {floor:g}; it should be"):
        Gate(**slices, **{setting: {"accuracy": 0.5, name: floor}})


def with_level(level: float, resamples: int) -> Config:
    return Config(
        data=Data(**DATA),
        registry=Registry(model="m"),
        gate=Gate(level=level),
        evaluate=Evaluate(resamples=resamples),
    )


@pytest.mark.parametrize(
    ("level", "resamples", "needed"),
    [(0.991, 100, 112), (0.995, 199, 200), (0.999, 999, 1000), (0.9999, 9999, 10_000)],
)
def test_level_that_the_resamples_cannot_resolve_is_refused_with_how_many_could(
    level, resamples, needed
):
    message = (
        f"gate.level is {level} and evaluate.resamples is {resamples}; (1 - gate.level) * "
        "evaluate.resamples should be at least 1, or not one resample lies beyond the bound; "
        f"raise evaluate.resamples to at least {needed}, or lower gate.level"
    )
    with pytest.raises(ValidationError, match=re.escape(message)):
        with_level(level, resamples)
    assert with_level(level, needed).evaluate.resamples == needed


@pytest.mark.parametrize(
    "cuts", [(50.0, 30.0), (30.0, 30.0), (1.0, 3.0, 2.0), (0.0, -0.0)], ids=str
)
def test_slices_refuse_cuts_that_do_not_rise(cuts):
    message = f"Age is cut at {list(cuts)}; give each number once, the smallest first"
    with pytest.raises(ValidationError, match=re.escape(message)):
        Gate(slices={"BMI": (1.0,), "Age": cuts}, slice_floors={"f1": 0.1})


@pytest.mark.parametrize(
    ("one", "other", "value"),
    [("slices", "slice_floors", {"Age": (30.0,)}), ("slice_floors", "slices", {"f1": 0.1})],
)
def test_slices_and_their_floors_come_together(one, other, value):
    with pytest.raises(ValidationError, match=f"{one} is set and {other} is not; set both or"):
        Gate(**{one: value})


def with_slices(*names: str) -> Config:
    gate = Gate(slices=dict.fromkeys(names, (30.0,)), slice_floors={"f1": 0.1})
    data = Data(**{**DATA, "columns": {"Age": NumberColumn(), "BMI": NumberColumn()}})
    return Config(data=data, registry=Registry(model="m"), gate=gate)


def test_slices_are_of_columns():
    assert set(with_slices("BMI", "Age").gate.slices) == {"Age", "BMI"}


@pytest.mark.parametrize(
    ("name", "hint"),
    [("age", ", did you mean 'Age'?"), ("ill", "; choose from data.columns")],  # ill: the target
)
def test_slices_of_what_is_no_column_are_refused_with_a_hint(name, hint):
    message = f"gate.slices has {name!r}, which is no column{hint}"
    with pytest.raises(ValidationError, match=re.escape(message)):
        with_slices("Age", name)


def test_slices_of_texts_are_refused_once_the_columns_are_said():
    columns = {"Age": NumberColumn(), "note": TextColumn()}
    with pytest.raises(ValueError, match=r"gate.slices has 'note', whose texts make no groups"):
        check_slices({"Age": (30.0,), "note": ()}, columns)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            {"gate.slices": "{age: [30]}", "gate.slice_floors": "{f1: 0.1}"},
            "  gate.slices has 'age', which is no column, did you mean 'Age'?",
        ),
        (
            {"gate.slices": "{Age: [50, 30]}", "gate.slice_floors": "{f1: 0.1}"},
            "  gate.slices: Age is cut at [50.0, 30.0]; give each number once, the smallest first",
        ),
        (
            {"gate.slices": "{Age: [30]}"},
            "  gate: slices is set and slice_floors is not; set both or neither",
        ),
        (
            {"gate.floors": "{roc_auc: 2, f1: 0.5, accuracy: -1}"},
            "  gate.floors: roc_auc is 2; it should be within 0 and 1; "
            "accuracy is -1; it should be within 0 and 1",
        ),
        (
            {"gate.floors": "{log_loss: -0.1}"},
            "  gate.floors: log_loss is -0.1; it should be greater than or equal to 0",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else "",
)
def test_fault_of_the_gate_is_told_by_its_key(overrides, message):
    with pytest.raises(ConfigError) as error:
        load("configs/pima.yaml", overrides)
    assert str(error.value) == f"configs/pima.yaml is not a valid config:\n{message}"


def test_gate_is_set_from_the_command_line():
    overrides = {
        "gate.slices": "{Age: [30, 50]}",
        "gate.slices.BMI": "[25]",
        "gate.slice_floors.recall": "0.5",
        "gate.calibration": "null",
    }
    gate = load("configs/pima.yaml", overrides).gate
    assert gate.slices == {"Age": (30, 50), "BMI": (25,)}
    assert gate.slice_floors == {"recall": 0.5}
    assert gate.calibration is None
    assert gate.floors == {"accuracy": 0.70, "roc_auc": 0.75, "log_loss": 0.60}


# Families and their spaces.


def test_families_that_are_not_set_are_also_the_estimators():
    tune = Tune(estimators={"knn": KNN, "bayes": BAYES})
    assert tune.families == (*BINARY.families, "knn", "bayes")


@pytest.mark.parametrize(
    ("families", "paths"),
    [
        (("svc",), ()),
        (("bayes", "svc", "knn"), (BAYES.estimator, KNN.estimator)),
        ((*FAMILIES, "knn"), (KNN.estimator,)),
    ],
)
def test_families_that_are_set_are_those_alone_that_are_searched_and_imported(families, paths):
    tune = Tune(estimators={"knn": KNN, "bayes": BAYES}, families=families)
    assert (tune.families, tune.import_paths()) == (families, paths)


def test_estimator_imputes_and_scales_and_has_nothing_to_search_unless_told():
    assert KNN.preprocessing == ("impute", "scale")
    assert (KNN.params, KNN.space, KNN.default) == ({}, {}, {})


@pytest.mark.parametrize(
    "value", [3, 0.5, None, True, "auto", [1, None, {"a": 1}], Choice((True, 1, None))]
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


@pytest.mark.parametrize("name", ["a__b", "weights", "voting", "file", "", "a|b", "3rd"])
def test_estimator_has_a_name_that_can_stand_in_the_blend_and_its_files(name):
    with pytest.raises(ValidationError, match="cannot name an estimator"):
        Tune(estimators={name: {"estimator": "package.Class"}})
