from math import exp, inf, isclose, sqrt

import pytest

from pipeline.config.ranges import (
    ARGUMENTS,
    KNOWN,
    bounds,
    fault,
    holds,
    is_whole,
    options,
    place,
    start,
)

RIGHT = [
    {"uniform": [-1, 2.5]},
    {"loguniform": [1e-9, 1]},
    {"uniformint": [-3, 4]},
    {"uniformint": [1.0, 4.0]},
    {"quniform": [-1, 1, 0.25]},
    {"qloguniform": [1, 100, 5]},
    {"normal": [-3, 0.5]},
    {"lognormal": [-3, 0.5]},
    {"qnormal": [0, 2, 1]},
    {"qlognormal": [-1, 2, 0.1]},
    {"randint": [1]},
    {"randint": [-5, -2]},
    {"choice": ["only"]},
    {"choice": [None, [1, 2], True, {"a": 1}, "text"]},
    {"pchoice": [[1, "only"]]},
    {"pchoice": [[0.25, None], [0.75, [1, 2]]]},
    {"pchoice": [[0, "never"], [1, "always"]]},
    {"pchoice": [[1 / 3, 1], [1 / 3, 2], [1 / 3, 3]]},
]
IS_LOW = "low {} must be below high {}"
OUT_OF_ORDER = [
    ({name: [*pair, *(1 for _ in arguments[2:])]}, f"{name}: {IS_LOW.format(*pair)}")
    for name, arguments in ARGUMENTS.items()
    if arguments[:2] == ("low", "high")
    for pair in ((5, 2), (3, 3))
]
TOO_FEW_OR_MANY = [
    ({name: values}, f"{name} takes [{', '.join(arguments)}], not {len(values)} values")
    for name, arguments in ARGUMENTS.items()
    if name != "randint"
    for values in ([], [1], [1, 2, 3, 4])
]
NO_LIST = [
    ({name: given}, f"{name} takes a list, ")
    for name in KNOWN
    for given in (3, None, "abc", {"low": 1, "high": 2})
]
PROBABILITIES = "pchoice: probabilities must not be negative, and their sum, {}, must be 1"
WRONG = [
    ({}, "it has 0 distributions; give one, e.g. {loguniform: [0.01, 10]}"),
    (
        {"uniform": [0, 1], "normal": [0, 1]},
        "it has 2 distributions; give one, e.g. {loguniform: [0.01, 10]}",
    ),
    ({"loguniforn": [1, 2]}, "'loguniforn' is no distribution of hyperopt, did you mean "),
    ({"Choice": [1, 2]}, "'Choice' is no distribution of hyperopt, did you mean 'choice'?"),
    ({"zzz": [1, 2]}, f"'zzz' is no distribution of hyperopt; choose from {', '.join(KNOWN)}"),
    ({"uniform": ["0", 1]}, "uniform takes numbers, not '0'"),
    ({"normal": [0, None]}, "normal takes numbers, not None"),
    ({"uniformint": [True, 3]}, "uniformint takes numbers, not True"),
    ({"quniform": [0, 1, [2]]}, "quniform takes numbers, not [2]"),
    ({"uniformint": [1, 2.5]}, "uniformint takes whole numbers"),
    ({"randint": [0.5]}, "randint takes whole numbers"),
    ({"randint": []}, "randint takes [high] or [low, high], not 0 values"),
    ({"randint": [1, 2, 3]}, "randint takes [high] or [low, high], not 3 values"),
    ({"randint": [0]}, "randint: low 0 must be below high 0"),
    ({"randint": [-2]}, "randint: low 0 must be below high -2"),
    ({"loguniform": [0, 1]}, "loguniform: low 0 must be above 0"),
    ({"loguniform": [-0.5, 1]}, "loguniform: low -0.5 must be above 0"),
    ({"qloguniform": [0, 1, 1]}, "qloguniform: low 0 must be above 0"),
    ({"quniform": [0, 1, 0]}, "quniform: q 0 must be above 0"),
    ({"qloguniform": [1, 2, -1]}, "qloguniform: q -1 must be above 0"),
    ({"normal": [0, 0]}, "normal: sigma 0 must be above 0"),
    ({"lognormal": [0, -2]}, "lognormal: sigma -2 must be above 0"),
    ({"qnormal": [0, 1, 0]}, "qnormal: q 0 must be above 0"),
    ({"qlognormal": [0, 0, 1]}, "qlognormal: sigma 0 must be above 0"),
    ({"choice": []}, "choice takes [option, option, ...], not none"),
    ({"pchoice": []}, "pchoice takes [[probability, option], ...]"),
    ({"pchoice": ["a", "b"]}, "pchoice takes [[probability, option], ...]"),
    ({"pchoice": [[0.5, "a"], [0.5]]}, "pchoice takes [[probability, option], ...]"),
    ({"pchoice": [[0.5, "a"], ["b", 0.5]]}, "pchoice takes [[probability, option], ...]"),
    ({"pchoice": [[True, "a"]]}, "pchoice takes [[probability, option], ...]"),
    ({"pchoice": [[0.5, "a"], [0.4, "b"]]}, PROBABILITIES.format("0.9")),
    ({"pchoice": [[1.5, "a"], [-0.5, "b"]]}, PROBABILITIES.format("1")),
    *OUT_OF_ORDER,
    *TOO_FEW_OR_MANY,
    *NO_LIST,
]


def test_right_arguments_are_tried_for_every_distribution():
    assert {name for span in RIGHT for name in span} == set(KNOWN)


@pytest.mark.parametrize("span", RIGHT, ids=str)
def test_range_with_right_arguments_has_no_fault(span):
    assert fault(span) == ""


@pytest.mark.parametrize("value", [None, 0, 1.5, True, "uniform", [1, 2], []], ids=repr)
def test_fixed_value_has_no_fault(value):
    assert fault(value) == ""


@pytest.mark.parametrize(("span", "sentence"), WRONG, ids=lambda part: str(part)[:40])
def test_range_with_wrong_arguments_has_its_fault_told(span, sentence):
    assert fault(span).startswith(sentence)


@pytest.mark.parametrize(
    ("name", "usage"),
    [
        ("uniform", "[low, high]"),
        ("qlognormal", "[mu, sigma, q]"),
        ("randint", "[high] or [low, high]"),
        ("choice", "[option, option, ...]"),
        ("pchoice", "[[probability, option], ...]"),
    ],
)
def test_fault_of_what_is_no_list_shows_the_usage(name, usage):
    assert fault({name: 3}) == f"{name} takes a list, {usage}"


@pytest.mark.parametrize(
    ("span", "expected"),
    [
        ({"choice": [None, 1, [2]]}, [None, 1, [2]]),
        ({"pchoice": [[0.25, None], [0.75, [2]]]}, [None, [2]]),
        ({"uniform": [0, 1]}, None),
        ({"randint": [3]}, None),
    ],
    ids=str,
)
def test_options_are_those_of_a_choice(span, expected):
    assert options(span) == expected


MIXED = [1, True, 1.0, "1", None, [1, 2], [2, 1], {"a": 1}]


@pytest.mark.parametrize("expected", range(len(MIXED)))
def test_place_of_an_option_goes_by_value_and_type(expected):
    assert place(MIXED, MIXED[expected]) == expected


@pytest.mark.parametrize("value", [False, 0, 2, "a", (1, 2), [1], {}, {"a": 2}], ids=repr)
def test_what_is_no_option_has_no_place(value):
    assert place(MIXED, value) is None


@pytest.mark.parametrize(
    ("span", "whole"),
    [
        ({"uniformint": [1, 4]}, True),
        ({"randint": [4]}, True),
        ({"quniform": [1, 9, 2]}, True),
        ({"quniform": [1, 9, 2.0]}, True),
        ({"qnormal": [0.5, 0.5, 1]}, True),
        ({"quniform": [1, 9, 0.5]}, False),
        ({"qloguniform": [1, 9, 1.5]}, False),
        ({"uniform": [1, 4]}, False),
        ({"loguniform": [1, 4]}, False),
        ({"normal": [1, 4]}, False),
        ({"lognormal": [1, 4]}, False),
        ({"choice": [1, 2]}, False),
        ({"pchoice": [[1, 2]]}, False),
    ],
    ids=str,
)
def test_range_is_whole_where_all_its_numbers_are_integers(span, whole):
    assert is_whole(span) is whole


@pytest.mark.parametrize(
    ("span", "expected"),
    [
        ({"uniform": [-1, 2.5]}, (-1, 2.5)),
        ({"loguniform": [0.01, 10]}, (0.01, 10)),
        ({"uniformint": [3, 7]}, (3, 7)),
        ({"randint": [5]}, (0, 4)),
        ({"randint": [-2, 5]}, (-2, 4)),
        ({"quniform": [1, 9, 4]}, (0, 8)),
        ({"quniform": [11, 39, 10]}, (10, 40)),
        ({"qloguniform": [0.06, 0.5, 0.1]}, (0.1, 0.5)),
        ({"normal": [3, 1]}, (-inf, inf)),
        ({"qnormal": [3, 1, 1]}, (-inf, inf)),
        ({"lognormal": [3, 1]}, (0, inf)),
        ({"qlognormal": [3, 1, 1]}, (0, inf)),
    ],
    ids=str,
)
def test_bounds_are_the_ends_of_what_can_be_drawn(span, expected):
    assert bounds(span) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("span", "inside", "outside"),
    [
        ({"uniform": [0, 1]}, [0, 0.5, 1], [-1e-9, 1.1, None, "0.5", True, [0.5]]),
        ({"loguniform": [0.01, 10]}, [0.01, 1, 10], [0, 0.009, 10.1]),
        ({"uniformint": [2, 4]}, [2, 3, 4, 3.0], [1, 5, 2.5, None, True]),
        ({"randint": [3]}, [0, 2], [-1, 3, 0.5, False]),
        ({"randint": [2, 4]}, [2, 3], [1, 4]),
        ({"quniform": [0, 20, 10]}, [0, 10, 20], [-10, 30, 0.5]),
        ({"quniform": [0, 1, 0.1]}, [0.0, 0.1 * 3, 1.0], [-0.1, 1.1]),
        ({"normal": [0, 1]}, [-1e9, 0, 1e9], [None, "0", False]),
        ({"qnormal": [0, 1, 2]}, [-40, 0, 12], [0.5]),
        ({"lognormal": [0, 1]}, [1e-9, 1e9], [-1e-9]),
        ({"choice": [1, None, "a", [1]]}, [1, None, "a", [1]], [True, 1.0, "b", [2], 0]),
        ({"pchoice": [[0.5, True], [0.5, 0]]}, [True, 0], [1, False, 0.5]),
    ],
    ids=str,
)
def test_range_holds_what_it_can_give_and_nothing_else(span, inside, outside):
    assert [value for value in inside if not holds(span, value)] == []
    assert [value for value in outside if holds(span, value)] == []


@pytest.mark.parametrize(
    ("span", "value"),
    [
        ({"uniform": [0, 1]}, 0.3),
        ({"uniformint": [1, 9]}, 9),
        ({"normal": [0, 1]}, -77.5),
        ({"choice": [1, True]}, True),
        ({"choice": [1, None]}, None),
    ],
    ids=str,
)
def test_start_is_the_value_where_the_range_holds_it(span, value):
    found = start(span, value)
    assert (type(found), found) == (type(value), value)


@pytest.mark.parametrize(
    ("span", "value", "expected"),
    [
        ({"uniform": [1, 2]}, 0.5, 1.0),
        ({"uniform": [1, 2]}, 7, 2.0),
        ({"loguniform": [2, 3]}, 0.3, 2.0),
        ({"uniformint": [3, 7]}, 1, 3),
        ({"uniformint": [3, 7]}, 100.7, 7),
        ({"uniformint": [3.0, 7.0]}, 100, 7),
        ({"uniformint": [3, 7]}, 4.4, 4),
        ({"uniformint": [3, 7]}, 4.6, 5),
        ({"randint": [5]}, 100, 4),
        ({"randint": [2, 5]}, 0, 2),
        ({"quniform": [10, 40, 10]}, 3, 10),
        ({"quniform": [0.5, 0.9, 0.1]}, 2, 0.9),
    ],
    ids=str,
)
def test_start_is_the_nearest_number_of_the_range_for_one_outside(span, value, expected):
    found = start(span, value)
    assert found == pytest.approx(expected)
    assert type(found) is type(expected)


@pytest.mark.parametrize("value", [None, "auto", True, (1, 2)], ids=repr)
@pytest.mark.parametrize(
    ("span", "expected"),
    [
        ({"uniform": [1, 4]}, 2.5),
        ({"loguniform": [0.01, 100]}, 1.0),
        ({"loguniform": [2, 8]}, sqrt(16)),
        ({"uniformint": [3, 9]}, 6),
        ({"randint": [9]}, 4),
        ({"quniform": [0, 40, 10]}, 20),
        ({"quniform": [0, 1, 0.25]}, 0.5),
        ({"normal": [3, 1]}, 3.0),
        ({"qnormal": [3, 1, 1]}, 3),
        ({"lognormal": [2, 1]}, exp(2)),
        ({"qlognormal": [0, 1, 1]}, 1),
        ({"choice": ["first", "second"]}, "first"),
        ({"pchoice": [[0.1, "first"], [0.9, "second"]]}, "first"),
    ],
    ids=str,
)
def test_start_is_the_middle_or_the_first_option_for_what_is_no_number(span, expected, value):
    found = start(span, value)
    assert found == expected or isclose(found, expected)
    assert type(found) is type(expected)
    assert holds(span, found)


@pytest.mark.parametrize("value", [None, -1e6, -1, 0.3, 2, 1e6, "a", True], ids=repr)
@pytest.mark.parametrize("span", RIGHT, ids=str)
def test_start_lies_in_the_range_whatever_the_value(span, value):
    assert holds(span, start(span, value))


@pytest.mark.parametrize(
    "number",
    [float("inf"), float("-inf"), float("nan"), 10**400],
    ids=["inf", "-inf", "nan", "beyond doubles"],
)
@pytest.mark.parametrize("name", ["uniform", "uniformint", "normal", "randint"])
def test_number_without_end_is_no_argument_and_no_value(name, number):
    assert fault({name: [0, number]}) == (f"{name} takes finite numbers, not {number!r}")
    assert not holds({"uniformint": [1, 3]}, number)
    assert start({"uniform": [1, 3]}, number) == 2.0


def test_randint_takes_no_doubles():
    assert "integers" in fault({"randint": [1.0, 4.0]})


@pytest.mark.parametrize(
    ("span", "value", "expected"),
    [
        ({"quniform": [10, 90, 10]}, None, 50),
        ({"quniform": [0, 100, 10]}, 57, 60),
        ({"qloguniform": [2, 100, 2]}, -3, 2),
        ({"uniformint": [1, 30]}, 9.0, 9),
        ({"lognormal": [0, 1]}, -3, 1.0),
    ],
)
def test_start_is_what_the_search_could_draw(span, value, expected):
    found = start(span, value)
    assert (found, type(found)) == (expected, type(expected))
    assert holds(span, found)
    assert not holds(span, value) or value == found
