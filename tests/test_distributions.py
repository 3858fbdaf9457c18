from math import inf

import pytest

from pipeline import distributions

RIGHT = [
    {"uniform": [-1, 2.5]},
    {"loguniform": [0.01, 10]},
    {"uniformint": [-3, 4]},
    {"uniformint": [1.0, 4.0]},
    {"quniform": [0, 1, 0.25]},
    {"qloguniform": [1, 100, 1]},
    {"normal": [0, 1]},
    {"lognormal": [-1, 0.5]},
    {"qnormal": [-5, 1, 0.5]},
    {"qlognormal": [0, 1, 2]},
    {"randint": [5]},
    {"randint": [-4, 5]},
    {"choice": ["one"]},
    {"choice": [None, True, 1, "1", [1, 2], {"a": 1}]},
    {"pchoice": [[0.25, None], [0.75, [1, 2]]]},
    {"pchoice": [[0, "never"], [1, "always"]]},
    {"pchoice": [[0.1, "a"], [0.2, "b"], [0.7, "c"]]},
]
USAGE = {
    "uniform": "[low, high]",
    "loguniform": "[low, high]",
    "uniformint": "[low, high]",
    "quniform": "[low, high, q]",
    "qloguniform": "[low, high, q]",
    "normal": "[mu, sigma]",
    "lognormal": "[mu, sigma]",
    "qnormal": "[mu, sigma, q]",
    "qlognormal": "[mu, sigma, q]",
    "randint": "[high] or [low, high]",
    "choice": "[option, option, ...]",
    "pchoice": "[[probability, option], ...]",
}
NUMBERS = [name for name in USAGE if name not in ("choice", "pchoice")]


def test_right_ranges_show_every_distribution():
    assert {name for span in RIGHT for name in span} == set(distributions.KNOWN) == set(USAGE)


@pytest.mark.parametrize("span", RIGHT, ids=str)
def test_right_range_has_no_fault(span):
    assert distributions.fault(span) == ""


@pytest.mark.parametrize("value", [None, True, 3, 0.5, "uniform", [1, 2], []])
def test_value_that_is_no_mapping_is_fixed_and_right(value):
    assert distributions.fault(value) == ""


@pytest.mark.parametrize(
    ("span", "fault"),
    [
        ({}, "it has 0 distributions; give one, e.g. {loguniform: [0.01, 10]}"),
        (
            {"choice": [1], "uniform": [1, 2]},
            "it has 2 distributions; give one, e.g. {loguniform: [0.01, 10]}",
        ),
        (
            {"logunifrm": [1, 2]},
            "'logunifrm' is no distribution of hyperopt, did you mean 'loguniform'?",
        ),
        (
            {"zzz": [1]},
            "'zzz' is no distribution of hyperopt; choose from uniform, loguniform, uniformint, "
            "quniform, qloguniform, normal, lognormal, qnormal, qlognormal, randint, choice, "
            "pchoice",
        ),
        ({"uniform": [1, True]}, "uniform takes numbers, not True"),
        ({"loguniform": ["1", 2]}, "loguniform takes numbers, not '1'"),
        ({"normal": [None, 1]}, "normal takes numbers, not None"),
        ({"randint": [[5]]}, "randint takes numbers, not [5]"),
        ({"uniform": [2, 1]}, "uniform: low 2 must be below high 1"),
        ({"uniform": [1, 1]}, "uniform: low 1 must be below high 1"),
        ({"uniformint": [4, 3]}, "uniformint: low 4 must be below high 3"),
        ({"quniform": [0.5, 0.25, 1]}, "quniform: low 0.5 must be below high 0.25"),
        ({"loguniform": [10, 0.01]}, "loguniform: low 10 must be below high 0.01"),
        ({"loguniform": [0, 1]}, "loguniform: low 0 must be above 0"),
        ({"loguniform": [-1, 1]}, "loguniform: low -1 must be above 0"),
        ({"qloguniform": [0, 1, 1]}, "qloguniform: low 0 must be above 0"),
        ({"qloguniform": [1, 9, 0]}, "qloguniform: q 0 must be above 0"),
        ({"quniform": [0, 1, 0]}, "quniform: q 0 must be above 0"),
        ({"quniform": [0, 1, -0.5]}, "quniform: q -0.5 must be above 0"),
        ({"normal": [0, 0]}, "normal: sigma 0 must be above 0"),
        ({"lognormal": [0, -1]}, "lognormal: sigma -1 must be above 0"),
        ({"qnormal": [0, 0, 1]}, "qnormal: sigma 0 must be above 0"),
        ({"qnormal": [0, 1, 0]}, "qnormal: q 0 must be above 0"),
        ({"qlognormal": [0, 1, -2]}, "qlognormal: q -2 must be above 0"),
        ({"uniformint": [1, 2.5]}, "uniformint takes whole numbers"),
        ({"randint": [1.5]}, "randint takes whole numbers"),
        ({"randint": [0]}, "randint: low 0 must be below high 0"),
        ({"randint": [5, 5]}, "randint: low 5 must be below high 5"),
        (
            {"pchoice": [[0.5, "a"], [0.4, "b"]]},
            "pchoice: probabilities must not be negative, and their sum, 0.9, must be 1",
        ),
        (
            {"pchoice": [[1.5, "a"], [-0.5, "b"]]},
            "pchoice: probabilities must not be negative, and their sum, 1, must be 1",
        ),
    ],
    ids=str,
)
def test_wrong_range_is_told_by_name_value_and_rule(span, fault):
    assert distributions.fault(span) == fault


@pytest.mark.parametrize("arguments", [3, "abc", None, {"low": 1, "high": 2}, (1, 2)])
@pytest.mark.parametrize("name", USAGE)
def test_arguments_that_are_no_list_are_answered_with_the_usage(name, arguments):
    assert distributions.fault({name: arguments}) == f"{name} takes a list, {USAGE[name]}"


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("name", NUMBERS)
def test_number_of_arguments_is_told_where_it_is_not_the_distributions_own(name, count):
    taken = (1, 2) if name == "randint" else (USAGE[name].count(",") + 1,)
    arguments = [1, 2, 1, 1][:count]
    told = f"{name} takes {USAGE[name]}, not {count} values"
    assert distributions.fault({name: arguments}) == ("" if count in taken else told)


@pytest.mark.parametrize("arguments", [[], [1], [[1]], [[1, "a", "b"]], [["1", "a"]], [[True, 1]]])
def test_pchoice_of_what_are_no_pairs_is_answered_with_the_usage(arguments):
    told = "pchoice takes [[probability, option], ...]"
    assert distributions.fault({"pchoice": arguments}) == told


def test_choice_without_an_option_is_refused():
    told = "choice takes [option, option, ...], not none"
    assert distributions.fault({"choice": []}) == told


def test_options_are_those_of_a_choice_in_their_order():
    assert distributions.options({"choice": ["b", None, [1]]}) == ["b", None, [1]]
    assert distributions.options({"pchoice": [[0.9, "b"], [0.1, None]]}) == ["b", None]


@pytest.mark.parametrize("span", [span for span in RIGHT if next(iter(span)) in NUMBERS], ids=str)
def test_range_of_numbers_has_no_options(span):
    assert distributions.options(span) is None


@pytest.mark.parametrize(
    ("value", "place"),
    [(None, 0), (True, 1), (1, 2), (1.0, 3), ("1", 4), ([1, 2], 5), (False, None), ([2, 1], None)],
)
def test_place_tells_options_apart_by_value_and_type(value, place):
    assert distributions.place([None, True, 1, 1.0, "1", [1, 2]], value) == place


@pytest.mark.parametrize(
    ("span", "whole"),
    [
        ({"uniform": [0, 10]}, False),
        ({"loguniform": [1, 10]}, False),
        ({"uniformint": [0, 10]}, True),
        ({"randint": [10]}, True),
        ({"quniform": [0, 10, 1]}, True),
        ({"quniform": [0, 10, 2.0]}, True),
        ({"quniform": [0, 10, 0.5]}, False),
        ({"qloguniform": [1, 10, 3]}, True),
        ({"qloguniform": [1, 10, 1.5]}, False),
        ({"normal": [0, 1]}, False),
        ({"lognormal": [0, 1]}, False),
        ({"qnormal": [0, 1, 1]}, True),
        ({"qlognormal": [0, 1, 0.1]}, False),
        ({"choice": [1, 2]}, False),
        ({"pchoice": [[1, 2]]}, False),
    ],
    ids=str,
)
def test_numbers_are_whole_by_distribution_or_by_step(span, whole):
    assert distributions.is_whole(span) is whole


@pytest.mark.parametrize(
    ("span", "low", "high"),
    [
        ({"uniform": [-1, 2.5]}, -1, 2.5),
        ({"loguniform": [0.01, 10]}, 0.01, 10),
        ({"uniformint": [-3, 4]}, -3, 4),
        ({"randint": [5]}, 0, 4),
        ({"randint": [3, 9]}, 3, 8),
        ({"quniform": [0, 1, 0.25]}, 0, 1),
        ({"quniform": [3, 18, 5]}, 5, 20),
        ({"quniform": [2, 22, 5]}, 0, 20),
        ({"qloguniform": [0.2, 5, 0.5]}, 0, 5),
        ({"normal": [3, 1]}, -inf, inf),
        ({"qnormal": [3, 1, 1]}, -inf, inf),
        ({"lognormal": [3, 1]}, 0, inf),
        ({"qlognormal": [3, 1, 1]}, 0, inf),
    ],
    ids=str,
)
def test_bounds_are_the_smallest_and_largest_number_drawn(span, low, high):
    assert distributions.bounds(span) == (low, high)


@pytest.mark.parametrize(
    ("span", "inside", "outside"),
    [
        ({"uniform": [0, 2]}, [0, 0.5, 1, 2], [-0.1, 2.1, True, "1", None, [1]]),
        ({"loguniform": [0.1, 10]}, [0.1, 1, 10.0], [0, 0.09, 10.1]),
        ({"uniformint": [1, 4]}, [1, 3, 4], [0, 5, 2.5, True, "2"]),
        ({"randint": [4]}, [0, 3], [-1, 4, 0.5]),
        ({"randint": [2, 4]}, [2, 3], [1, 4]),
        ({"quniform": [3, 18, 5]}, [5, 20], [0, 3, 25]),
        ({"normal": [0, 1]}, [-100.0, 0, 1e9], ["0", False]),
        ({"lognormal": [0, 1]}, [0.1, 1e9], [-0.1]),
        ({"qnormal": [0, 1, 1]}, [-3, 0, 9], [0.5]),
        ({"choice": [1, None, "a"]}, [1, None, "a"], [True, 1.0, "b", "1"]),
        ({"choice": [True, [1]]}, [True, [1]], [1, [2], [1, 1]]),
        ({"pchoice": [[0.5, 1], [0.5, None]]}, [1, None], [0.5, True]),
    ],
    ids=str,
)
def test_range_holds_what_it_can_give(span, inside, outside):
    assert [value for value in inside if not distributions.holds(span, value)] == []
    assert [value for value in outside if distributions.holds(span, value)] == []


@pytest.mark.parametrize(
    ("span", "given", "start"),
    [
        ({"uniform": [0, 2]}, 0.5, 0.5),
        ({"uniform": [0, 2]}, 3, 2.0),
        ({"uniform": [1, 2]}, -3, 1.0),
        ({"uniform": [0, 2]}, None, 1.0),
        ({"uniform": [0, 2]}, True, 1.0),
        ({"loguniform": [1, 100]}, "scale", 10.0),
        ({"loguniform": [1, 100]}, 0.5, 1.0),
        ({"uniformint": [1, 5]}, 5, 5),
        ({"uniformint": [1, 5]}, 9, 5),
        ({"uniformint": [1, 5]}, 2.4, 2),
        ({"uniformint": [1, 5]}, None, 3),
        ({"randint": [5]}, 5, 4),
        ({"randint": [3, 10]}, None, 6),
        ({"quniform": [0, 10, 1]}, None, 5),
        ({"normal": [3, 1]}, None, 3.0),
        ({"qnormal": [3, 1, 1]}, None, 3),
        ({"lognormal": [0, 1]}, None, 1.0),
        ({"qlognormal": [0, 1, 1]}, None, 1),
        ({"choice": ["a", None]}, None, None),
        ({"choice": ["a", "b"]}, "c", "a"),
        ({"choice": [2, 1]}, True, 2),
        ({"pchoice": [[0.1, "a"], [0.9, "b"]]}, None, "a"),
    ],
    ids=str,
)
def test_start_is_the_value_itself_or_the_nearest_or_the_middle(span, given, start):
    found = distributions.start(span, given)
    assert found == start
    assert type(found) is type(start)
    assert distributions.holds(span, found)
