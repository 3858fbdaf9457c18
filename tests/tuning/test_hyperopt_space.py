from functools import cache
from math import exp, log

import numpy as np
import pytest
from hyperopt import Trials, rand, tpe
from hyperopt.base import Domain
from hyperopt.pyll.stochastic import sample

from pipeline.config import ranges as distributions
from pipeline.config.ranges import KNOWN, holds, is_whole, options
from pipeline.config.sections import BUILT_IN, Tune
from pipeline.tuning.hyperopt_space import FAMILY, SearchSpace
from pipeline.tuning.search_space import Searched, searched

MIXED = [None, [1, 2], True, 1, 1.0, "1", {"a": 1}]
SPANS = {
    "uniform": {"uniform": [-1, 2]},
    "loguniform": {"loguniform": [0.01, 10]},
    "loguniform above 1": {"loguniform": [2, 3]},
    "uniformint": {"uniformint": [-2, 7]},
    "quniform": {"quniform": [0, 1, 0.1]},
    "quniform in whole steps": {"quniform": [10, 90, 10]},
    "qloguniform": {"qloguniform": [0.05, 1, 0.05]},
    "qloguniform in whole steps": {"qloguniform": [2, 100, 2]},
    "normal": {"normal": [3, 2]},
    "lognormal": {"lognormal": [0, 1]},
    "qnormal": {"qnormal": [0, 5, 0.5]},
    "qnormal in whole steps": {"qnormal": [0, 5, 2]},
    "qlognormal": {"qlognormal": [0, 2, 0.25]},
    "qlognormal in whole steps": {"qlognormal": [2, 1, 1]},
    "randint from 0": {"randint": [5]},
    "randint": {"randint": [-3, 5]},
    "choice": {"choice": MIXED},
    "choice of one": {"choice": ["only"]},
    "pchoice": {"pchoice": [[0.3, None], [0.2, True], [0.2, 1], [0.3, [1, 2]]]},
}
QUIET = {tpe: {"verbose": False}, rand: {}}
EVERY_SPAN = pytest.mark.parametrize("span", SPANS.values(), ids=SPANS)


def space_of(span, fixed=None) -> SearchSpace:
    default = {"x": distributions.start(span, None)}
    return SearchSpace({"alone": Searched({"x": span}, fixed or {}, default)})


def several() -> SearchSpace:
    """Families with the same names of parameters, one without a space, one with all fixed."""
    return SearchSpace(
        {
            "first": Searched(
                {"C": {"loguniform": [0.01, 1]}, "kind": {"choice": MIXED}},
                {"tol": 0.5},
                {"C": 0.1, "kind": 1},
            ),
            "bare": Searched({}, {}, {}),
            "second": Searched({"C": {"uniformint": [5, 9]}}, {}, {"C": 5}),
            "fixed": Searched({}, {"C": 7.0, "kind": None}, {}),
        }
    )


def domain_of(space: SearchSpace) -> Domain:
    return Domain(lambda point: 0, space.expression)


def right_type(span, value) -> bool:
    choice = options(span)
    if choice is not None:
        return any(type(value) is type(option) and value == option for option in choice)
    return type(value) is (int if is_whole(span) else float)


def faulty(span, values) -> list:
    return [value for value in values if not (holds(span, value) and right_type(span, value))]


def sampled(space: SearchSpace, count: int = 200, seed: int = 0) -> list:
    rng = np.random.default_rng(seed)
    return [space.decode(sample(space.expression, rng)) for _ in range(count)]


def searched_documents(space: SearchSpace, algorithm, count: int) -> list[dict]:
    """Documents of a search with a loss that goes up and down."""
    domain, trials = domain_of(space), Trials()
    for number in range(count):
        (document,) = algorithm.suggest([number], domain, trials, number, **QUIET[algorithm])
        document["state"] = 2
        document["result"] = {"status": "ok", "loss": float(number % 7)}
        trials.insert_trial_docs([document])
        trials.refresh()
    return list(trials.trials)


@cache
def history(name: str, algorithm) -> tuple[SearchSpace, list[dict]]:
    """The space of one range and a search in it; TPE draws by chance up to trial 20."""
    space = space_of(SPANS[name])
    return space, searched_documents(space, algorithm, count=30)


def test_every_distribution_is_tried():
    assert {name for span in SPANS.values() for name in span} == set(KNOWN)


@EVERY_SPAN
def test_sampled_point_lies_in_the_range_with_its_type(span):
    found = [params["x"] for _, params in sampled(space_of(span))]
    assert faulty(span, found) == []
    if span != {"choice": ["only"]}:
        assert len({repr(value) for value in found}) > 1


@pytest.mark.parametrize("algorithm", [rand, tpe], ids=["rand", "tpe"])
@pytest.mark.parametrize("name", SPANS)
def test_suggested_point_lies_in_the_range_with_its_type(name, algorithm):
    space, documents = history(name, algorithm)
    found = [space.point(document) for document in documents]
    assert [family for family, _ in found] == ["alone"] * 30
    assert faulty(SPANS[name], [params["x"] for _, params in found]) == []


@pytest.mark.parametrize(
    ("span", "every"),
    [
        ({"uniformint": [-2, 1]}, [-2, -1, 0, 1]),
        ({"randint": [3]}, [0, 1, 2]),
        ({"randint": [-3, 0]}, [-3, -2, -1]),
        ({"quniform": [10, 40, 10]}, [10, 20, 30, 40]),
        ({"qloguniform": [1, 4, 1]}, [1, 2, 3, 4]),
    ],
    ids=str,
)
def test_every_whole_number_of_a_range_is_drawn_and_no_other(span, every):
    found = {params["x"] for _, params in sampled(space_of(span))}
    assert sorted(found) == every


@pytest.mark.parametrize("name", ["choice", "pchoice"])
def test_every_option_is_drawn_as_it_was_written(name):
    choice = options(SPANS[name])
    drawn = {repr(params["x"]) for _, params in sampled(space_of(SPANS[name]))}
    assert drawn == {repr(option) for option in choice}


@pytest.mark.parametrize("name", ["choice", "pchoice"])
def test_option_is_handed_out_itself(name):
    wanted = [1, 2]
    span = {"choice": [wanted]} if name == "choice" else {"pchoice": [[1, wanted]]}
    ((_, params),) = sampled(space_of(span), count=1)
    assert params["x"] is wanted


def test_pchoice_draws_by_its_probabilities():
    span = {"pchoice": [[0.9, "often"], [0, "never"], [0.1, "seldom"]]}
    found = [params["x"] for _, params in sampled(space_of(span), count=500)]
    assert found.count("often") / 500 == pytest.approx(0.9, abs=0.05)
    assert found.count("never") == 0
    assert found.count("seldom") > 0


@pytest.mark.parametrize(
    ("span", "median"),
    [
        ({"loguniform": [0.01, 100]}, 1.0),
        ({"uniform": [0.01, 100]}, 50.0),
        ({"normal": [7, 0.5]}, 7.0),
        ({"lognormal": [log(7), 0.1]}, 7.0),
    ],
    ids=str,
)
def test_bounds_of_loguniform_are_in_the_parameters_own_unit_and_mu_of_lognormal_is_not(
    span, median
):
    found = np.array([params["x"] for _, params in sampled(space_of(span), count=500)])
    assert (found < median).mean() == pytest.approx(0.5, abs=0.07)


def test_fixed_values_are_in_every_point():
    space = space_of({"uniform": [0, 1]}, {"y": None, "z": [1, 2]})
    points = [params for _, params in sampled(space, count=5)]
    points += [space.point(one)[1] for one in searched_documents(space, rand, count=5)]
    points += [params for _, params in space.defaults()]
    assert [(params["y"], params["z"]) for params in points] == [(None, [1, 2])] * 11
    assert {len(params) for params in points} == {3}


def test_point_has_the_parameters_of_its_family_alone():
    expected = {"first": {"tol", "C", "kind"}, "bare": set(), "second": {"C"}}
    expected["fixed"] = {"C", "kind"}
    space = several()
    points = sampled(space, count=60)
    points += [space.point(document) for document in searched_documents(space, tpe, count=40)]
    assert {family for family, _ in points} == set(expected)
    assert all(set(params) == expected[family] for family, params in points)
    assert {params["C"] for family, params in points if family == "second"} <= set(range(5, 10))
    assert all(params["C"] <= 1 for family, params in points if family == "first")


def test_family_without_a_space_has_the_same_point_always():
    space = SearchSpace({"bare": Searched({}, {}, {})})
    assert sampled(space, count=3) == [("bare", {})] * 3
    documents = searched_documents(space, tpe, count=25)
    assert [space.point(document) for document in documents] == [("bare", {})] * 25


def test_defaults_are_one_per_family_with_the_fixed_values():
    assert several().defaults() == [
        ("first", {"tol": 0.5, "C": 0.1, "kind": 1}),
        ("bare", {}),
        ("second", {"C": 5}),
        ("fixed", {"C": 7.0, "kind": None}),
    ]


# Documents and points.


def documents_of(space: SearchSpace, points) -> list[dict]:
    domain, trials = domain_of(space), Trials()
    return [space.document(n, *point, domain, trials) for n, point in enumerate(points)]


@pytest.mark.parametrize("algorithm", [rand, tpe], ids=["rand", "tpe"])
@pytest.mark.parametrize("name", SPANS)
def test_document_of_a_point_is_the_document_that_it_came_from(name, algorithm):
    space, documents = history(name, algorithm)
    again = documents_of(space, [space.point(document) for document in documents])
    for part in ("vals", "idxs", "tid", "cmd", "workdir"):
        assert [one["misc"][part] for one in again] == [one["misc"][part] for one in documents]
    assert [one["tid"] for one in again] == [one["tid"] for one in documents] == [*range(30)]


@EVERY_SPAN
def test_point_of_a_document_is_the_point_that_it_came_from(span):
    space = space_of(span, {"y": 3})
    points = sampled(space, count=50)
    again = [space.point(document) for document in documents_of(space, points)]
    assert again == points
    assert [type(params["x"]) for _, params in again] == [type(params["x"]) for _, params in points]


def test_document_and_point_are_inverse_of_each_other_for_every_built_in_family():
    space = SearchSpace(searched(Tune(families=BUILT_IN)))
    defaults = space.defaults()
    assert [space.point(document) for document in documents_of(space, defaults)] == defaults
    documents = searched_documents(space, tpe, count=40)
    again = documents_of(space, [space.point(document) for document in documents])
    assert [one["misc"]["vals"] for one in again] == [one["misc"]["vals"] for one in documents]


def test_document_has_every_label_and_values_for_those_of_its_family():
    (document,) = documents_of(several(), [("second", {"C": 6})])
    assert document["misc"]["vals"] == {
        FAMILY: [2],
        "first.C": [],
        "first.kind": [],
        "second.C": [6],
    }


@pytest.mark.parametrize("option", MIXED, ids=repr)
def test_document_has_the_place_of_an_option(option):
    (document,) = documents_of(space_of({"choice": MIXED}), [("alone", {"x": option})])
    (place,) = document["misc"]["vals"]["alone.x"]
    assert MIXED[place] is option


def test_document_has_a_number_as_it_is_and_not_its_logarithm():
    (document,) = documents_of(space_of({"loguniform": [0.5, 4]}), [("alone", {"x": exp(1)})])
    assert document["misc"]["vals"]["alone.x"] == [exp(1)]


def told(space: SearchSpace, points, loss) -> tuple[Domain, Trials]:
    """What hyperopt knows after those points."""
    domain, trials = domain_of(space), Trials()
    for number, point in enumerate(points):
        document = space.document(number, *point, domain, trials)
        document["state"] = 2
        document["result"] = {"status": "ok", "loss": loss(*point)}
        trials.insert_trial_docs([document])
        trials.refresh()
    return domain, trials


def suggested(space: SearchSpace, domain: Domain, trials: Trials, count: int) -> list:
    return [
        space.point(*tpe.suggest([len(trials)], domain, trials, seed, verbose=False))
        for seed in range(count)
    ]


def test_tpe_suggests_a_family_that_no_document_was_of():
    """Its labels are in every document, or TPE would raise KeyError."""
    space = several()
    points = [("second", {"C": 5 + number % 5}) for number in range(24)]
    domain, trials = told(space, points, lambda family, params: float(params["C"]))
    found = suggested(space, domain, trials, 30)
    first = [params for family, params in found if family == "first"]
    assert first
    assert faulty({"loguniform": [0.01, 1]}, [params["C"] for params in first]) == []
    assert faulty({"choice": MIXED}, [params["kind"] for params in first]) == []


@pytest.mark.parametrize(
    ("span", "values"),
    [
        ({"uniform": [0, 1]}, np.linspace(0, 1, 30).tolist()),
        ({"loguniform": [0.01, 100]}, np.geomspace(0.01, 100, 30).tolist()),
        ({"uniformint": [0, 29]}, list(range(30))),
        ({"randint": [30]}, list(range(30))),
    ],
    ids=["uniform", "loguniform", "uniformint", "randint"],
)
def test_tpe_learns_from_documents_of_points(span, values):
    space = space_of(span)
    points = [("alone", {"x": value}) for value in values]
    domain, trials = told(space, points, lambda family, params: float(params["x"]))
    found = suggested(space, domain, trials, 30)
    assert np.median([params["x"] for _, params in found]) < np.quantile(values, 0.35)
