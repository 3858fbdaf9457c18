import sys
from collections.abc import Iterator

import numpy as np
import pytest
from hyperopt.pyll.stochastic import sample

from pipeline.config.ranges import parse
from pipeline.config.tune import Estimator, Tune
from pipeline.errors import ConfigError
from pipeline.models.families import BUILT_IN, build
from pipeline.tasks import BINARY
from pipeline.tracking.runs import value_text
from pipeline.tuning.hyperopt_space import SearchSpace
from pipeline.tuning.search_space import FamilySpace, check, family_spaces
from tests.support.builders import OPTIONS, RANGES

NEIGHBORS = {"n_neighbors": {"uniformint": [2, 20]}}
KNN = Estimator(
    estimator="sklearn.neighbors.KNeighborsClassifier",
    params={"p": 1},
    space={**NEIGHBORS, "weights": "distance"},
    default={"n_neighbors": 9},
)


def space(ranges, fixed=None, default=None) -> FamilySpace:
    """A family's space with its ranges as the config writes them."""
    return FamilySpace({k: parse(v) for k, v in ranges.items()}, fixed or {}, default or {})


def of(name: str, ranges=None, **settings) -> FamilySpace:
    """One family of a search, with ranges of `tune.space` over those of the table."""
    tune = Tune(families=(name,), space={} if ranges is None else {name: ranges}, **settings)
    return family_spaces(tune)[name]


def of_knn(ranges=None, **changes) -> FamilySpace:
    return of("knn", ranges, estimators={"knn": KNN.model_copy(update=changes)})


def faults(**settings) -> list[str]:
    """The lines of the message with which a search is refused, without its first."""
    with pytest.raises(ConfigError) as error:
        check(Tune(**settings))
    first, *lines = str(error.value).split("\n")
    assert first == "the search space is not valid:"
    assert all(line.startswith("  tune.") for line in lines)
    return [line.strip() for line in lines]


@pytest.mark.parametrize("name", BINARY.every_family)
def test_family_has_the_ranges_and_the_default_of_the_table(name):
    model = BUILT_IN[name]
    assert of(name) == FamilySpace(space=model.space, fixed={}, default=model.default)


@pytest.mark.parametrize("names", [("svc",), ("mlp", "knn", "svc"), BINARY.every_family])
def test_spaces_are_those_of_the_families_of_the_config_in_their_order(names):
    assert tuple(family_spaces(Tune(estimators={"knn": KNN}, families=names))) == names


@pytest.mark.parametrize(
    ("span", "start"),
    [
        ({"loguniform": [0.1, 5]}, 3.0),
        ({"loguniform": [5, 50]}, 5.0),
        ({"choice": [1, 3.0]}, 3.0),
        ({"choice": [1, 2]}, 1),
        ({"randint": [2]}, 1),
    ],
    ids=str,
)
def test_range_of_the_config_takes_the_place_of_the_familys_and_moves_the_default_inside(
    span, start
):
    searched = of("svc", {"C": span})
    ranges = {"C": parse(span), "gamma": BUILT_IN["svc"].space["gamma"]}
    assert searched == FamilySpace(ranges, {}, {"C": start, "gamma": 0.02})
    assert type(searched.default["C"]) is type(start)


@pytest.mark.parametrize("value", [5, None, "scale", [1, 2]], ids=repr)
def test_value_of_the_config_is_fixed_and_not_searched(value):
    ranges = {"C": BUILT_IN["svc"].space["C"]}
    assert of("svc", {"gamma": value}) == FamilySpace(ranges, {"gamma": value}, {"C": 3.0})
    assert of("svc", {"C": 1, "gamma": value}) == FamilySpace({}, {"C": 1, "gamma": value}, {})


def test_ranges_of_one_family_leave_the_others_and_the_table_alone():
    before = {name: (dict(m.space), dict(m.default)) for name, m in BUILT_IN.items()}
    ranges = {"C": {"uniform": [0, 1]}, "gamma": 3, "cv": {"choice": [2, 3]}}
    tune = Tune(families=("svc", "mlp"), space={"svc": ranges})
    assert family_spaces(tune)["mlp"] == of("mlp")
    assert {name: (m.space, m.default) for name, m in BUILT_IN.items()} == before


@pytest.mark.parametrize(
    ("name", "ranges", "start"),
    [
        ("svc", {"cv": {"choice": [2, 3]}}, 3),
        ("extra_trees", {"n_estimators": {"uniformint": [200, 500]}}, 200),
        ("extra_trees", {"max_depth": {"uniformint": [2, 6]}}, 4),
        ("extra_trees", {"max_depth": {"choice": [3, None]}}, None),
        ("raw_logistic_regression", {"C": {"loguniform": [0.01, 100]}}, 1.0),
    ],
    ids=str,
)
def test_further_parameter_starts_at_the_value_that_the_classifier_has(name, ranges, start):
    ((parameter, span),) = ranges.items()
    model, searched = BUILT_IN[name], of(name, ranges)
    assert searched.space == {**model.space, parameter: parse(span)}
    assert searched.default == {**model.default, parameter: start}


def test_further_parameter_may_be_fixed():
    searched = of("extra_trees", {"n_estimators": 30, "bootstrap": True})
    assert searched.fixed == {"n_estimators": 30, "bootstrap": True}
    assert searched.default == BUILT_IN["extra_trees"].default


DISTANCE = {"weights": "distance"}
N = "n_neighbors"
NINE = {N: 9}


def to_range(name, low, high):
    return {name: {"uniformint": [low, high]}}


@pytest.mark.parametrize(
    ("ranges", "expected"),
    [
        (None, space(NEIGHBORS, DISTANCE, NINE)),
        (to_range(N, 12, 15), space(to_range(N, 12, 15), DISTANCE, {N: 12})),
        ({"n_neighbors": 4}, space({}, {"n_neighbors": 4, **DISTANCE})),
        (
            {"weights": {"choice": ["distance", "uniform"]}},
            space(
                {**NEIGHBORS, "weights": {"choice": ["distance", "uniform"]}}, {}, NINE | DISTANCE
            ),
        ),
        (
            to_range("leaf_size", 10, 50),
            space(NEIGHBORS | to_range("leaf_size", 10, 50), DISTANCE, {**NINE, "leaf_size": 30}),
        ),
        (to_range("p", 1, 2), space(NEIGHBORS | to_range("p", 1, 2), DISTANCE, {**NINE, "p": 1})),
    ],
    ids=["as it is", "narrowed", "fixed", "no longer fixed", "further", "beside params"],
)
def test_ranges_of_the_config_are_laid_over_those_of_an_estimator(ranges, expected):
    assert of_knn(ranges) == expected


def test_family_without_ranges_has_nothing_to_search():
    assert of("raw_logistic_regression") == FamilySpace({}, {}, {})
    assert of_knn(space={}, default={}) == FamilySpace({}, {}, {})


# Reading what was written.


FIXED = {"fixed": [1, None], "other": 2.5}


def texts(params) -> dict[str, str]:
    return {name: value_text(value) for name, value in params.items()}


def test_read_gives_back_exactly_what_was_written():
    options = ["a", "two words", 0.1, [], *OPTIONS[:3]]
    spans = [*(s for s in RANGES if s != {"choice": OPTIONS}), {"choice": options}]
    searched = space({f"p{n}": span for n, span in enumerate(spans)}, FIXED)
    expression = SearchSpace({"x": searched})
    rng = np.random.default_rng(0)
    for _ in range(30):
        _, params = expression.decode(sample(expression.expression, rng))
        again = searched.read(texts(params), value_text)
        assert again == params
        assert {n: type(v) for n, v in again.items()} == {n: type(v) for n, v in params.items()}


@pytest.mark.parametrize(
    ("span", "value"),
    [
        *(({"normal": [0, 1]}, x) for x in (0.1 + 0.2, 5e-324, -1.7976931348623157e308, 2.0)),
        *(({"qnormal": [0, 1, 1]}, x) for x in (0, -7, 10**15)),
    ],
    ids=repr,
)
def test_read_gives_back_every_digit_of_a_number(span, value):
    again = space({"x": span}).read(texts({"x": value}), value_text)["x"]
    assert (type(again), again) == (type(value), value)


def test_read_takes_fixed_values_from_the_config():
    searched = space({"x": {"uniform": [0, 1]}}, FIXED)
    written = {"x": "0.5", "fixed": "text", "third": "4"}
    params = searched.read(written, value_text)
    assert params == {**FIXED, "x": 0.5}
    params["other"] = 3
    assert searched.fixed["other"] == 2.5


@pytest.mark.parametrize(
    ("span", "written"),
    [
        ({"uniform": [0, 1]}, {}),
        ({"choice": ["a", "b"]}, {"y": "a"}),
        ({"choice": ["a", "b"]}, {"x": "c"}),
        ({"choice": [1, "1"]}, {"x": "1"}),
        ({"pchoice": [[0.5, True], [0.5, "true"]]}, {"x": "true"}),
    ],
    ids=str,
)
def test_read_gives_nothing_where_the_texts_are_missing_or_ambiguous(span, written):
    assert space({"x": span}).read(written, value_text) is None


def test_read_tells_apart_what_looks_alike_elsewhere_only():
    searched = space({"x": {"choice": [1, "1", "a"]}})
    assert searched.read({"x": "a"}, value_text) == {"x": "a"}


# The check.


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"families": BINARY.every_family, "space": {"svc": {"C": {"uniform": [1, 2]}, "gamma": 3}}},
        {"space": {"extra_trees": {"n_estimators": {"uniformint": [5, 9]}, "max_depth": None}}},
        {"estimators": {"knn": KNN}, "space": {"knn": {"leaf_size": {"uniformint": [9, 30]}}}},
    ],
    ids=lambda settings: str(settings)[:60],
)
def test_check_takes_a_space_of_parameters_that_exist(settings):
    check(Tune(**settings))


def test_check_does_not_import_an_estimator_that_is_not_searched():
    absent = Estimator(estimator="no_such_package.Classifier")
    check(Tune(estimators={"absent": absent}, families=("svc",)))
    ranges = {"absent": {"x": 1}, "svc": {"gama": 1}}  # looked up once the classes are there
    (line,) = faults(estimators={"absent": absent}, families=("svc", "absent"), space=ranges)
    assert line.startswith(
        "tune.estimators.absent.estimator 'no_such_package.Classifier' cannot be imported: "
    )


def test_check_names_the_parameter_that_a_family_lacks():
    bayes = Estimator(estimator="sklearn.naive_bayes.GaussianNB")
    lacking = {"mlp": {"hidden_unit": 3}, "knn": {"leafsize": 3}, "bayes": {"zzz": 3}}
    assert faults(estimators={"knn": KNN, "bayes": bayes}, space=lacking) == [
        "tune.space.mlp.hidden_unit is no parameter of mlp, did you mean 'hidden_units'?",
        "tune.space.knn.leafsize is no parameter of knn, did you mean 'leaf_size'?",
        "tune.space.bayes.zzz is no parameter of bayes; it has priors, var_smoothing",
    ]


def test_check_tells_all_faults_of_all_estimators_at_once():
    bad = KNN.model_copy(update={"params": {"p": 1, "metrics": "l1"}, "space": {"weigths": 1}})
    far = KNN.model_copy(update={"default": {"n_neighbors": 21}})
    no_class = Estimator(estimator="sklearn.neighbors.KNeighborClassifier")
    lines = faults(estimators={"bad": bad, "far": far, "none": no_class})
    assert lines == [
        "tune.estimators.bad.space.weigths is no parameter of KNeighborsClassifier, "
        "did you mean 'weights'?",
        "tune.estimators.bad.params.metrics is no parameter of KNeighborsClassifier, "
        "did you mean 'metric'?",
        "tune.estimators.far.default.n_neighbors is 21, which lies outside of space.n_neighbors "
        "{'uniformint': [2, 20]}",
        "tune.estimators.none.estimator sklearn.neighbors has no 'KNeighborClassifier', "
        "did you mean 'KNeighborsClassifier'?",
    ]


@pytest.fixture
def users(tmp_path, monkeypatch) -> Iterator[str]:
    """The name of a module of the user, with one class."""
    name = "users_families"
    (tmp_path / f"{name}.py").write_text(
        "from sklearn.neighbors import KNeighborsClassifier\n\n\n"
        "class Near(KNeighborsClassifier):\n"
        "    def __init__(self, n_neighbors=3, radius=2.0, **others):\n"
        "        super().__init__(n_neighbors, **others)\n"
        "        self.radius = radius\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield name
    sys.modules.pop(name, None)


def test_check_and_search_take_a_class_of_a_module_of_the_user(users):
    near = Estimator(
        estimator=f"{users}.Near",
        params={"leaf_size": 20},
        space={"radius": {"uniform": [1, 4]}, "weights": {"choice": ["distance", "uniform"]}},
    )
    ranges = {"near": {"n_neighbors": {"uniformint": [2, 9]}}}
    tune = Tune(estimators={"near": near}, families=("near",), space=ranges)
    check(tune)
    searched = family_spaces(tune)["near"]
    assert searched.default == {"radius": 2.0, "weights": "distance", "n_neighbors": 3}
    model = build("near", searched.default, 0, estimators=tune.estimators)[-1]
    assert (model.n_neighbors, model.weights, model.leaf_size) == (3, "distance", 20)
