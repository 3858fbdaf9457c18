import sys
from collections.abc import Iterator

import numpy as np
import pytest
from hyperopt.pyll.stochastic import sample

from pipeline.config import ranges as distributions
from pipeline.config.sections import BUILT_IN, Estimator, Tune
from pipeline.errors import ConfigError
from pipeline.models import families as models
from pipeline.tracking.runs import value_text
from pipeline.tuning import search_space as families
from pipeline.tuning.hyperopt_space import SearchSpace
from pipeline.tuning.search_space import Searched, searched

KNN = Estimator(
    estimator="sklearn.neighbors.KNeighborsClassifier",
    params={"p": 1},
    space={"n_neighbors": {"uniformint": [2, 20]}, "weights": "distance"},
    default={"n_neighbors": 9},
)


def of(name: str, ranges=None, **settings) -> Searched:
    """One family of a search, with ranges of `tune.space` over its own."""
    space = {name: ranges} if ranges is not None else {}
    return searched(Tune(**{"families": (name,), "space": space, **settings}))[name]


def of_knn(ranges=None, **changes) -> Searched:
    estimator = KNN.model_copy(update=changes)
    return of("knn", ranges, estimators={"knn": estimator})


def faults(**settings) -> list[str]:
    """The lines of the message with which a search is refused, without its first."""
    with pytest.raises(ConfigError) as error:
        families.check(Tune(**settings))
    first, *lines = str(error.value).split("\n")
    assert first == "the search space is not valid:"
    assert all(line.startswith("  tune.") for line in lines)
    return [line.strip() for line in lines]


# What a search is over.


@pytest.mark.parametrize("name", BUILT_IN)
def test_family_has_the_ranges_and_the_default_of_the_table(name):
    model = models.MODELS[name]
    assert of(name) == Searched(space=model.space, fixed={}, default=model.default)


@pytest.mark.parametrize("names", [("svc",), ("mlp", "knn", "svc"), BUILT_IN])
def test_searched_are_the_families_of_the_config_in_their_order(names):
    found = searched(Tune(estimators={"knn": KNN}, families=names))
    assert tuple(found) == names


def test_family_without_a_space_has_nothing_to_try():
    assert of("raw_logistic_regression") == Searched({}, {}, {})


def test_estimator_has_its_own_ranges_fixed_values_and_default():
    assert of_knn() == Searched(
        space={"n_neighbors": {"uniformint": [2, 20]}},
        fixed={"weights": "distance"},
        default={"n_neighbors": 9},
    )


def test_estimator_without_a_space_has_nothing_to_try():
    assert of_knn(space={}, default={}) == Searched({}, {}, {})


@pytest.mark.parametrize(
    ("span", "start"),
    [
        ({"loguniform": [0.1, 5]}, 3.0),
        ({"loguniform": [5, 50]}, 5.0),
        ({"loguniform": [0.1, 2]}, 2.0),
        ({"uniform": [0, 1]}, 1.0),
        ({"choice": [1, 3.0]}, 3.0),
        ({"choice": [1, 2]}, 1),
        ({"randint": [2]}, 1),
        ({"normal": [0, 1]}, 3.0),
    ],
    ids=str,
)
def test_range_of_the_config_takes_the_place_of_the_familys_and_moves_the_default_inside(
    span, start
):
    found = of("svc", {"C": span})
    gamma = models.MODELS["svc"].space["gamma"]
    assert found == Searched({"C": span, "gamma": gamma}, {}, {"C": start, "gamma": 0.02})
    assert type(found.default["C"]) is type(start)


@pytest.mark.parametrize("value", [5, 0.5, None, "scale", True, [1, 2]], ids=repr)
def test_value_of_the_config_is_fixed_and_not_tried(value):
    found = of("svc", {"gamma": value})
    assert found.fixed == {"gamma": value}
    assert found.space == {"C": models.MODELS["svc"].space["C"]}
    assert found.default == {"C": 3.0}


def test_family_with_all_values_fixed_has_nothing_to_try():
    assert of("svc", {"C": 1, "gamma": 2}) == Searched({}, {"C": 1, "gamma": 2}, {})


def test_ranges_of_one_family_leave_the_others_alone():
    tune = Tune(families=("svc", "mlp"), space={"svc": {"C": 1}})
    assert searched(tune)["mlp"] == of("mlp")


def test_table_of_families_is_left_alone():
    before = {name: (dict(m.space), dict(m.default)) for name, m in models.MODELS.items()}
    of("svc", {"C": {"uniform": [0, 1]}, "gamma": 3, "cv": {"choice": [2, 3]}})
    assert {name: (m.space, m.default) for name, m in models.MODELS.items()} == before


@pytest.mark.parametrize(
    ("name", "ranges", "start"),
    [
        ("svc", {"cv": {"choice": [2, 3]}}, 3),
        ("svc", {"method": {"choice": ["isotonic", "sigmoid"]}}, "sigmoid"),
        ("extra_trees", {"n_estimators": {"uniformint": [50, 500]}}, 100),
        ("extra_trees", {"n_estimators": {"uniformint": [200, 500]}}, 200),
        ("extra_trees", {"max_depth": {"uniformint": [2, 6]}}, 4),
        ("extra_trees", {"max_depth": {"choice": [3, None]}}, None),
        ("mlp", {"activation": {"choice": ["relu", "tanh"]}}, "tanh"),
        ("raw_logistic_regression", {"C": {"loguniform": [0.01, 100]}}, 1.0),
    ],
    ids=str,
)
def test_further_parameter_starts_at_the_classifiers_own_value(name, ranges, start):
    ((parameter, span),) = ranges.items()
    model = models.MODELS[name]
    found = of(name, ranges)
    assert found.space == {**model.space, parameter: span}
    assert found.default == {**model.default, parameter: start}


def test_further_parameter_may_be_fixed():
    found = of("extra_trees", {"n_estimators": 30, "bootstrap": True})
    assert found.fixed == {"n_estimators": 30, "bootstrap": True}
    assert found.default == models.MODELS["extra_trees"].default


@pytest.mark.parametrize(
    ("ranges", "expected"),
    [
        (
            {"n_neighbors": {"uniformint": [12, 15]}},
            Searched(
                {"n_neighbors": {"uniformint": [12, 15]}},
                {"weights": "distance"},
                {"n_neighbors": 12},
            ),
        ),
        ({"n_neighbors": 4}, Searched({}, {"n_neighbors": 4, "weights": "distance"}, {})),
        (
            {"weights": {"choice": ["distance", "uniform"]}},
            Searched(
                {
                    "n_neighbors": {"uniformint": [2, 20]},
                    "weights": {"choice": ["distance", "uniform"]},
                },
                {},
                {"n_neighbors": 9, "weights": "distance"},
            ),
        ),
        (
            {"leaf_size": {"uniformint": [10, 50]}},
            Searched(
                {"n_neighbors": {"uniformint": [2, 20]}, "leaf_size": {"uniformint": [10, 50]}},
                {"weights": "distance"},
                {"n_neighbors": 9, "leaf_size": 30},
            ),
        ),
        (
            {"p": {"uniform": [1, 2]}},
            Searched(
                {"n_neighbors": {"uniformint": [2, 20]}, "p": {"uniform": [1, 2]}},
                {"weights": "distance"},
                {"n_neighbors": 9, "p": 1},
            ),
        ),
    ],
    ids=["narrowed", "fixed", "no longer fixed", "further", "beside params"],
)
def test_ranges_of_the_config_are_laid_over_an_estimators_too(ranges, expected):
    assert of_knn(ranges) == expected


@pytest.mark.parametrize("end", [0, 1], ids=["lower", "upper"])
@pytest.mark.parametrize("name", [name for name in BUILT_IN if models.MODELS[name].space])
def test_every_default_moves_to_the_edge_of_a_range_beyond_it(name, end):
    edges, ranges = {}, {}
    for key, span in models.MODELS[name].space.items():
        if distributions.options(span) is None:
            edges[key] = edge = distributions.bounds(span)[end]
            kind = "uniformint" if distributions.is_whole(span) else "uniform"
            ranges[key] = {kind: [edge - (1 - end), edge + end]}
    found = of(name, ranges)
    assert {key: found.space[key] for key in ranges} == ranges
    assert {key: found.default[key] for key in ranges} == edges


def test_default_and_fixed_values_build_the_classifier():
    found = of_knn({"n_neighbors": {"uniformint": [12, 15]}, "leaf_size": 7})
    model = models.build("knn", {**found.fixed, **found.default}, 0, {"knn": KNN})[-1]
    taken = (model.n_neighbors, model.leaf_size, model.weights, model.p, model.n_jobs)
    assert taken == (12, 7, "distance", 1, 1)


# Reading what was written.


MIXED = [None, True, 1, 1.0, 0.1, "a", "two words", [1, 2], [], {"a": 1}]
SPANS = {
    "u": {"uniform": [-1, 1]},
    "lu": {"loguniform": [1e-9, 1e9]},
    "ui": {"uniformint": [-5, 5]},
    "qu": {"quniform": [0, 1, 0.1]},
    "qu_whole": {"quniform": [0, 1000, 10]},
    "qlu": {"qloguniform": [0.1, 9, 0.1]},
    "n": {"normal": [0, 1e-5]},
    "ln": {"lognormal": [0, 9]},
    "qn": {"qnormal": [0, 9, 0.3]},
    "qln": {"qlognormal": [3, 1, 3]},
    "r": {"randint": [-3, 3]},
    "c": {"choice": MIXED},
    "pc": {"pchoice": [[0.5, "a"], [0.5, None]]},
}
FIXED = {"fixed": [1, None], "other": 2.5}


def texts(params) -> dict[str, str]:
    return {name: value_text(value) for name, value in params.items()}


def test_every_distribution_is_written():
    assert {name for span in SPANS.values() for name in span} == set(distributions.KNOWN)


def test_read_gives_back_exactly_what_was_written():
    one = Searched(SPANS, FIXED, {})
    space = SearchSpace({"x": one})
    rng = np.random.default_rng(0)
    for _ in range(100):
        _, params = space.decode(sample(space.expression, rng))
        found = one.read(texts(params), value_text)
        assert found == params
        assert {n: type(v) for n, v in found.items()} == {n: type(v) for n, v in params.items()}


@pytest.mark.parametrize(
    "value",
    [0.1, 0.1 + 0.2, 1 / 3, 5e-324, 1e-7, 1e22, 1.7976931348623157e308, 2.0, 123456789.12345679],
    ids=repr,
)
def test_read_gives_back_every_digit_of_a_double(value):
    one = Searched({"x": {"normal": [0, 1]}}, {}, {})
    for signed in (value, -value):
        found = one.read(texts({"x": signed}), value_text)["x"]
        assert (type(found), found) == (float, signed)


@pytest.mark.parametrize("value", [0, -7, 10**15], ids=repr)
def test_read_gives_back_integers(value):
    one = Searched({"x": {"qnormal": [0, 1, 1]}}, {}, {})
    found = one.read(texts({"x": value}), value_text)["x"]
    assert (type(found), found) == (int, value)


@pytest.mark.parametrize("option", MIXED, ids=repr)
def test_read_gives_back_the_option_itself(option):
    one = Searched({"x": {"choice": MIXED}}, {}, {})
    assert one.read(texts({"x": option}), value_text)["x"] is option


def test_read_takes_fixed_values_from_the_config():
    one = Searched({"x": {"uniform": [0, 1]}}, FIXED, {})
    assert one.read({"x": "0.5", "fixed": "text", "third": "4"}, value_text) == {**FIXED, "x": 0.5}


def test_read_of_a_family_without_a_space_needs_no_text():
    assert Searched({}, {}, {}).read({}, value_text) == {}
    assert Searched({}, FIXED, {}).read({"family": "x"}, value_text) == FIXED


def test_read_hands_out_params_of_its_own():
    one = Searched({}, FIXED, {})
    one.read({}, value_text)["other"] = 3
    assert one.fixed["other"] == 2.5


@pytest.mark.parametrize(
    ("span", "written"),
    [
        ({"uniform": [0, 1]}, {}),
        ({"randint": [3]}, {"y": "1"}),
        ({"choice": ["a", "b"]}, {}),
        ({"choice": ["a", "b"]}, {"x": "c"}),
        ({"choice": [1, "1"]}, {"x": "1"}),
        ({"choice": [None, "null"]}, {"x": "null"}),
        ({"pchoice": [[0.5, True], [0.5, "true"]]}, {"x": "true"}),
    ],
    ids=str,
)
def test_read_gives_nothing_where_the_texts_do_not_tell(span, written):
    assert Searched({"x": span}, {}, {}).read(written, value_text) is None


def test_read_tells_apart_what_looks_alike_elsewhere_only():
    one = Searched({"x": {"choice": [1, "1", "a"]}}, {}, {})
    assert one.read({"x": "a"}, value_text) == {"x": "a"}


# The check.


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"families": BUILT_IN, "space": {"svc": {"C": {"uniform": [1, 2]}, "gamma": 3}}},
        {"space": {"extra_trees": {"n_estimators": {"uniformint": [5, 9]}, "max_depth": None}}},
        {"space": {"svc": {"estimator__kernel": {"choice": ["rbf", "poly"]}}}},
        {"space": {"svc": {}}},
        {"estimators": {"knn": KNN}},
        {"estimators": {"knn": KNN}, "space": {"knn": {"leaf_size": {"uniformint": [9, 30]}}}},
    ],
    ids=lambda settings: str(settings)[:60],
)
def test_check_takes_a_space_of_known_parameters(settings):
    families.check(Tune(**settings))


def test_check_does_not_import_an_estimator_that_is_not_searched():
    absent = Estimator(estimator="no_such_package.Classifier")
    families.check(Tune(estimators={"absent": absent}, families=("svc",)))
    (found,) = faults(estimators={"absent": absent}, families=("svc", "absent"))
    assert found.startswith(
        "tune.estimators.absent.estimator 'no_such_package.Classifier' cannot be imported: "
    )


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (
            {"space": {"svc": {"gama": {"uniform": [1, 2]}}}},
            ["tune.space.svc.gama is no parameter of svc, did you mean 'gamma'?"],
        ),
        (
            {"space": {"mlp": {"hidden_unit": 3}, "extra_trees": {"n_estimator": 3}}},
            [
                "tune.space.mlp.hidden_unit is no parameter of mlp, did you mean 'hidden_units'?",
                "tune.space.extra_trees.n_estimator is no parameter of extra_trees, "
                "did you mean 'n_estimators'?",
            ],
        ),
        (
            {"families": ("knn",), "space": {"knn": {"leafsize": 3}}},
            ["tune.space.knn.leafsize is no parameter of knn, did you mean 'leaf_size'?"],
        ),
        (
            {"families": ("bayes",), "space": {"bayes": {"zzz": 3}}},
            ["tune.space.bayes.zzz is no parameter of bayes; it has priors, var_smoothing"],
        ),
    ],
    ids=lambda part: str(part)[:60],
)
def test_check_names_the_parameter_that_a_family_lacks(settings, expected):
    bayes = Estimator(estimator="sklearn.naive_bayes.GaussianNB")
    assert faults(estimators={"knn": KNN, "bayes": bayes}, **settings) == expected


def test_check_tells_all_faults_of_all_estimators_at_once():
    bad = KNN.model_copy(update={"params": {"p": 1, "metrics": "l1"}, "space": {"weigths": 1}})
    far = KNN.model_copy(update={"default": {"n_neighbors": 21}})
    no_class = Estimator(estimator="sklearn.neighbors.KNeighborClassifier")
    found = faults(estimators={"bad": bad, "far": far, "none": no_class})
    assert found == [
        "tune.estimators.bad.space.weigths is no parameter of KNeighborsClassifier, "
        "did you mean 'weights'?",
        "tune.estimators.bad.params.metrics is no parameter of KNeighborsClassifier, "
        "did you mean 'metric'?",
        "tune.estimators.far.default.n_neighbors is 21, which lies outside of space.n_neighbors "
        "{'uniformint': [2, 20]}",
        "tune.estimators.none.estimator sklearn.neighbors has no 'KNeighborClassifier', "
        "did you mean 'KNeighborsClassifier'?",
    ]


def test_check_looks_parameters_up_once_the_classes_are_there():
    absent = Estimator(estimator="no_such_package.Classifier")
    found = faults(estimators={"absent": absent}, space={"absent": {"x": 1}, "svc": {"gama": 1}})
    assert len(found) == 1
    assert "no_such_package" in found[0]


def test_check_refuses_a_classifier_without_probabilities():
    (found,) = faults(estimators={"line": Estimator(estimator="sklearn.svm.LinearSVC")})
    assert found.startswith("tune.estimators.line.estimator LinearSVC has no predict_proba ")


@pytest.fixture
def users(tmp_path, monkeypatch) -> Iterator[str]:
    """The name of a module of the user's own, with one class."""
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


def test_check_and_search_take_a_class_of_a_module_of_the_users_own(users):
    near = Estimator(
        estimator=f"{users}.Near",
        params={"leaf_size": 20},
        space={"radius": {"uniform": [1, 4]}, "weights": {"choice": ["distance", "uniform"]}},
    )
    tune = Tune(
        estimators={"near": near},
        families=("near",),
        space={"near": {"n_neighbors": {"uniformint": [2, 9]}}},
    )
    families.check(tune)
    found = searched(tune)["near"]
    assert found.default == {"radius": 2.0, "weights": "distance", "n_neighbors": 3}
    model = models.build("near", found.default, 0, tune.estimators)[-1]
    assert (model.n_neighbors, model.weights, model.leaf_size) == (3, "distance", 20)
