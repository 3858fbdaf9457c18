from functools import cache
from math import exp, log

import numpy as np
import pytest
from hyperopt import Trials, rand, tpe
from hyperopt.base import Domain
from hyperopt.pyll.stochastic import sample

from pipeline.config.ranges import NUMBERS, Choice, parse
from pipeline.config.tune import Tune
from pipeline.tasks import BINARY
from pipeline.tuning.hyperopt_space import EXPRESSIONS, FAMILY, SearchSpace
from pipeline.tuning.search_space import FamilySpace, family_spaces
from tests.support.builders import OPTIONS, RANGES

QUIET = {tpe: {"verbose": False}, rand: {}}
EVERY_RANGE = pytest.mark.parametrize("span", range(len(RANGES)), ids=[str(r) for r in RANGES])


def space_of(span, fixed=None) -> SearchSpace:
    space = {"x": parse(span)}
    return SearchSpace({"alone": FamilySpace(space, fixed or {}, {"x": space["x"].nearest(None)})})


def several() -> SearchSpace:
    """Families with the same names of parameters, one without a space, one with all fixed."""
    wide = {"C": parse({"loguniform": [0.01, 1]}), "kind": Choice(tuple(OPTIONS))}
    return SearchSpace(
        {
            "first": FamilySpace(wide, {"tol": 0.5}, {"C": 0.1, "kind": 1}),
            "bare": FamilySpace({}, {}, {}),
            "second": FamilySpace({"C": parse({"uniformint": [5, 9]})}, {}, {"C": 5}),
            "fixed": FamilySpace({}, {"C": 7.0, "kind": None}, {}),
        }
    )


def domain_of(space: SearchSpace) -> Domain:
    return Domain(lambda point: 0, space.expression)


def invalid(distribution, values) -> list:
    """The values that the range cannot give, or that have another type than it gives."""
    if isinstance(distribution, Choice):
        return [value for value in values if not distribution.contains(value)]
    kind = int if distribution.is_integer else float
    return [v for v in values if not (distribution.contains(v) and type(v) is kind)]


def sampled(space: SearchSpace, count: int = 200, seed: int = 0) -> list:
    rng = np.random.default_rng(seed)
    return [space.decode(sample(space.expression, rng)) for _ in range(count)]


def searched_documents(space: SearchSpace, algorithm, count: int) -> list[dict]:
    """Documents of a search with a loss that goes up and down."""
    domain, trials = domain_of(space), Trials()
    for number in range(count):
        (document,) = algorithm.suggest([number], domain, trials, number, **QUIET[algorithm])
        finish(trials, document, float(number % 7))
    return list(trials.trials)


def finish(trials: Trials, document: dict, loss: float) -> None:
    trials.insert_trial_docs([{**document, "state": 2, "result": {"status": "ok", "loss": loss}}])
    trials.refresh()


@cache
def history(place: int) -> tuple[SearchSpace, list[dict]]:
    """The space of one range and a search in it; TPE draws by chance up to trial 20."""
    space = space_of(RANGES[place])
    return space, searched_documents(space, tpe, count=30)


def documents_of(space: SearchSpace, points) -> list[dict]:
    domain, trials = domain_of(space), Trials()
    return [space.document(n, *point, domain, trials) for n, point in enumerate(points)]


def test_every_distribution_of_numbers_has_an_expression_of_hyperopt():
    assert EXPRESSIONS.keys() == NUMBERS.keys()


@EVERY_RANGE
def test_sampled_point_lies_in_the_range_and_its_document_leads_back_to_it(span):
    space = space_of(RANGES[span], {"y": 3})
    points = sampled(space, count=60)
    values = [params["x"] for _, params in points]
    assert invalid(parse(RANGES[span]), values) == []
    assert len({repr(value) for value in values}) > 1 or RANGES[span] == {"choice": ["only"]}
    again = [space.point(document) for document in documents_of(space, points)]
    assert again == points
    assert [type(params["x"]) for _, params in again] == [type(value) for value in values]


@EVERY_RANGE
def test_suggested_point_lies_in_the_range_and_leads_back_to_its_document(span):
    space, documents = history(span)
    points = [space.point(document) for document in documents]
    assert [family for family, _ in points] == ["alone"] * 30
    assert invalid(parse(RANGES[span]), [params["x"] for _, params in points]) == []
    again = documents_of(space, points)
    for part in ("vals", "idxs", "tid", "cmd", "workdir"):
        assert [one["misc"][part] for one in again] == [one["misc"][part] for one in documents]
    assert [one["tid"] for one in again] == [*range(30)]


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
    assert sorted({params["x"] for _, params in sampled(space_of(span))}) == every


@pytest.mark.parametrize(
    "span", [{"choice": OPTIONS}, {"pchoice": [[1 / len(OPTIONS), o] for o in OPTIONS]}], ids=list
)
def test_every_option_is_drawn_itself(span):
    drawn = [params["x"] for _, params in sampled(space_of(span))]
    assert {repr(value) for value in drawn} == {repr(option) for option in OPTIONS}
    assert all(any(value is option for option in OPTIONS) for value in drawn)


def test_pchoice_draws_by_its_probabilities():
    span = {"pchoice": [[0.9, "often"], [0, "never"], [0.1, "seldom"]]}
    drawn = [params["x"] for _, params in sampled(space_of(span), count=500)]
    assert drawn.count("often") / 500 == pytest.approx(0.9, abs=0.05)
    assert drawn.count("never") == 0
    assert drawn.count("seldom") > 0


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
def test_bounds_of_loguniform_are_in_the_unit_of_the_parameter_and_mu_of_lognormal_is_not(
    span, median
):
    drawn = np.array([params["x"] for _, params in sampled(space_of(span), count=500)])
    assert (drawn < median).mean() == pytest.approx(0.5, abs=0.07)


def test_fixed_values_are_in_every_point():
    space = space_of({"uniform": [0, 1]}, {"y": None, "z": [1, 2]})
    points = [*sampled(space, count=5), *space.defaults()]
    points += [space.point(one) for one in searched_documents(space, rand, count=5)]
    assert [(params["y"], params["z"]) for _, params in points] == [(None, [1, 2])] * 11
    assert {len(params) for _, params in points} == {3}


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
    space = SearchSpace({"bare": FamilySpace({}, {}, {})})
    points = sampled(space, count=3)
    points += [space.point(document) for document in searched_documents(space, tpe, count=25)]
    assert points == [("bare", {})] * 28


def test_defaults_are_one_per_family_with_the_fixed_values():
    assert several().defaults() == [
        ("first", {"tol": 0.5, "C": 0.1, "kind": 1}),
        ("bare", {}),
        ("second", {"C": 5}),
        ("fixed", {"C": 7.0, "kind": None}),
    ]


def test_document_and_point_are_inverse_of_each_other_for_every_built_in_family():
    space = SearchSpace(family_spaces(Tune(families=BINARY.every_family)))
    defaults = space.defaults()
    assert [space.point(document) for document in documents_of(space, defaults)] == defaults
    documents = searched_documents(space, tpe, count=40)
    again = documents_of(space, [space.point(document) for document in documents])
    assert [one["misc"]["vals"] for one in again] == [one["misc"]["vals"] for one in documents]


def test_document_has_every_label_and_values_for_those_of_its_family():
    (document,) = documents_of(several(), [("second", {"C": 6})])
    expected = {FAMILY: [2], "first.C": [], "first.kind": [], "second.C": [6]}
    assert document["misc"]["vals"] == expected


@pytest.mark.parametrize("place", range(len(OPTIONS)))
def test_document_has_the_place_of_an_option(place):
    points = [("alone", {"x": OPTIONS[place]})]
    (document,) = documents_of(space_of({"choice": OPTIONS}), points)
    assert document["misc"]["vals"]["alone.x"] == [place]


def test_document_has_a_number_as_it_is_and_not_its_logarithm():
    (document,) = documents_of(space_of({"loguniform": [0.5, 4]}), [("alone", {"x": exp(1)})])
    assert document["misc"]["vals"]["alone.x"] == [exp(1)]


def suggested_after(space: SearchSpace, points, loss, count: int) -> list:
    """What TPE suggests after trials at those points."""
    domain, trials = domain_of(space), Trials()
    for number, point in enumerate(points):
        finish(trials, space.document(number, *point, domain, trials), loss(point[1]))
    return [
        space.point(*tpe.suggest([len(trials)], domain, trials, seed, verbose=False))
        for seed in range(count)
    ]


def test_tpe_suggests_a_family_that_no_document_was_of():
    """Its labels are in every document, or TPE would raise KeyError."""
    points = [("second", {"C": 5 + number % 5}) for number in range(24)]
    suggested = suggested_after(several(), points, lambda params: float(params["C"]), 30)
    first = [params for family, params in suggested if family == "first"]
    assert first
    assert invalid(parse({"loguniform": [0.01, 1]}), [params["C"] for params in first]) == []
    assert all(params["kind"] in OPTIONS for params in first)


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
    points = [("alone", {"x": value}) for value in values]
    suggested = suggested_after(space_of(span), points, lambda params: float(params["x"]), 30)
    assert np.median([params["x"] for _, params in suggested]) < np.quantile(values, 0.35)
