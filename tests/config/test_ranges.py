from math import exp, inf, isclose

import pytest

from pipeline.config.ranges import NUMBERS, USAGE, Choice, parse, written
from tests.support.builders import RANGES

LOW = "low {} must be below high {}"
PAIRS = "pchoice takes [[probability, option], ...]"
SUM = "pchoice: probabilities must not be negative, and their sum, {}, must be 1"
WRONG = [
    ({}, "it has 0 distributions; give one, e.g. {loguniform: [0.01, 10]}"),
    ({"uniform": [0, 1], "normal": [0, 1]}, "it has 2 distributions; give one"),
    ({"Choice": [1, 2]}, "'Choice' is no distribution of hyperopt, did you mean 'choice'?"),
    ({"zzz": [1, 2]}, f"'zzz' is no distribution of hyperopt; choose from {', '.join(USAGE)}"),
    ({"uniform": ["0", 1]}, "uniform takes numbers, not '0'"),
    ({"normal": [0, None]}, "normal takes numbers, not None"),
    ({"uniformint": [True, 3]}, "uniformint takes numbers, not True"),
    ({"uniform": [0, inf]}, "uniform takes finite numbers, not inf"),
    ({"normal": [0, 10**400]}, "normal takes finite numbers, not 1000"),
    ({"uniformint": [1, 2.5]}, "uniformint takes whole numbers"),
    ({"randint": [0.5]}, "randint takes whole numbers"),
    ({"randint": [1.0, 4.0]}, "randint takes integers, without a decimal point"),
    ({"randint": []}, "randint takes [high] or [low, high], not 0 values"),
    ({"randint": [1, 2, 3]}, "randint takes [high] or [low, high], not 3 values"),
    ({"randint": [-2]}, "randint: low 0 must be below high -2"),
    ({"loguniform": [0, 1]}, "loguniform: low 0 must be above 0"),
    ({"qloguniform": [0, 1, 1]}, "qloguniform: low 0 must be above 0"),
    ({"qloguniform": [1, 2, -1]}, "qloguniform: q -1 must be above 0"),
    ({"quniform": [0, 1, 0]}, "quniform: q 0 must be above 0"),
    ({"normal": [0, 0]}, "normal: sigma 0 must be above 0"),
    ({"qlognormal": [0, 0, 1]}, "qlognormal: sigma 0 must be above 0"),
    ({"choice": []}, "choice takes [option, option, ...], not none"),
    *[
        ({"pchoice": arguments}, PAIRS)
        for arguments in ([], ["a"], [[0.5, "a"], [0.5]], [["b", 0.5]], [[True, "a"]])
    ],
    ({"pchoice": [[0.5, "a"], [0.4, "b"]]}, SUM.format("0.9")),
    ({"pchoice": [[1.5, "a"], [-0.5, "b"]]}, SUM.format("1")),
    *[
        ({name: [*pair, *(1 for _ in arguments[2:])]}, f"{name}: {LOW.format(*pair)}")
        for name, arguments in NUMBERS.items()
        if arguments[0] == "low"
        for pair in ((5, 2), (3, 3))
    ],
    *[
        ({name: [1] * count}, f"{name} takes {USAGE[name]}, not {count} values")
        for name in NUMBERS
        if name != "randint"
        for count in (0, 1, 4)
    ],
    *[
        ({name: arguments}, f"{name} takes a list, {usage}")
        for name, usage in USAGE.items()
        for arguments in (3, {"low": 1})
    ],
]
EVERY_RANGE = pytest.mark.parametrize("span", RANGES, ids=str)


def test_examples_have_every_distribution():
    assert {name for span in RANGES for name in span} == set(USAGE)


@EVERY_RANGE
def test_range_is_written_as_it_was_read(span):
    assert parse(written(parse(span))) == parse(span)
    assert written(parse(span)) == ({"randint": [0, 5]} if span == {"randint": [5]} else span)


@pytest.mark.parametrize("value", [None, 0, 1.5, True, "uniform", [1, 2], []], ids=repr)
def test_fixed_value_stays_as_it_is(value):
    assert parse(value) is value
    assert written(value) is value


@pytest.mark.parametrize(("span", "sentence"), WRONG, ids=lambda part: str(part)[:40])
def test_range_with_wrong_arguments_is_refused_with_the_rule(span, sentence):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        parse(span)
    assert str(error.value).startswith(sentence)


MIXED = (1, True, 1.0, "1", None, [1, 2], [2, 1], {"a": 1})


@pytest.mark.parametrize("place", range(len(MIXED)))
def test_index_of_an_option_goes_by_value_and_type(place):
    assert Choice(MIXED).index(MIXED[place]) == place


@pytest.mark.parametrize("value", [False, 0, 2, "a", (1, 2), [1], {}, {"a": 2}], ids=repr)
def test_value_that_is_no_option_has_no_index(value):
    assert Choice(MIXED).index(value) is None


@pytest.mark.parametrize(
    ("span", "expected"),
    [
        ({"uniform": [-1, 2.5]}, (-1, 2.5, False)),
        ({"loguniform": [0.01, 10]}, (0.01, 10, False)),
        ({"uniformint": [3, 7]}, (3, 7, True)),
        ({"randint": [5]}, (0, 4, True)),
        ({"randint": [-2, 5]}, (-2, 4, True)),
        ({"quniform": [1, 9, 4]}, (0, 8, True)),
        ({"quniform": [11, 39, 10.0]}, (10, 40, True)),
        ({"qloguniform": [0.06, 0.5, 0.1]}, (0.1, 0.5, False)),
        ({"normal": [3, 1]}, (-inf, inf, False)),
        ({"qnormal": [3, 1, 1]}, (-inf, inf, True)),
        ({"lognormal": [3, 1]}, (0, inf, False)),
        ({"qlognormal": [3, 1, 1]}, (0, inf, True)),
    ],
    ids=str,
)
def test_bounds_are_the_ends_of_what_can_be_drawn(span, expected):
    distribution = parse(span)
    assert (*distribution.bounds, distribution.is_integer) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("span", "inside", "outside"),
    [
        ({"uniform": [0, 1]}, [0, 0.5, 1], [-1e-9, 1.1, None, "0.5", True, [0.5], inf]),
        ({"loguniform": [0.01, 10]}, [0.01, 1, 10], [0, 0.009, 10.1]),
        ({"uniformint": [2, 4]}, [2, 3, 4, 3.0], [1, 5, 2.5, None, True, 10**400]),
        ({"randint": [3]}, [0, 2], [-1, 3, 0.5, False]),
        ({"randint": [2, 4]}, [2, 3], [1, 4]),
        ({"quniform": [0, 20, 10]}, [0, 10, 20], [-10, 30, 0.5]),
        ({"quniform": [0, 1, 0.1]}, [0.0, 0.1 * 3, 1.0], [-0.1, 1.1]),
        ({"normal": [0, 1]}, [-1e9, 0, 1e9], [None, "0", False, float("nan")]),
        ({"qnormal": [0, 1, 2]}, [-40, 0, 12], [0.5]),
        ({"lognormal": [0, 1]}, [1e-9, 1e9], [-1e-9, 0]),
        ({"choice": [1, None, "a", [1]]}, [1, None, "a", [1]], [True, 1.0, "b", [2], 0]),
        ({"pchoice": [[0.5, True], [0.5, 0]]}, [True, 0], [1, False, 0.5]),
    ],
    ids=str,
)
def test_range_contains_what_can_be_drawn_and_nothing_else(span, inside, outside):
    distribution = parse(span)
    assert [value for value in inside if not distribution.contains(value)] == []
    assert [value for value in outside if distribution.contains(value)] == []


@pytest.mark.parametrize(
    ("span", "value", "expected"),
    [
        # a value that can be drawn is itself
        ({"uniform": [0, 1]}, 0.3, 0.3),
        ({"uniformint": [1, 9]}, 9, 9),
        ({"normal": [0, 1]}, -77.5, -77.5),
        ({"choice": [1, True]}, True, True),
        ({"choice": [1, None]}, None, None),
        # a number outside goes to the edge, one between two steps to the nearer
        ({"uniform": [1, 2]}, 0.5, 1.0),
        ({"loguniform": [2, 3]}, 0.3, 2.0),
        ({"uniformint": [3, 7]}, 100.7, 7),
        ({"uniformint": [3.0, 7.0]}, 100, 7),
        ({"uniformint": [3, 7]}, 4.6, 5),
        ({"uniformint": [1, 30]}, 9.0, 9),
        ({"randint": [5]}, 100, 4),
        ({"randint": [2, 5]}, 0, 2),
        ({"quniform": [0.5, 0.9, 0.1]}, 2, 0.9),
        ({"quniform": [0, 100, 10]}, 57, 60),
        ({"qloguniform": [2, 100, 2]}, -3, 2),
        ({"qlognormal": [0, 1, 1]}, -3, 0),
        # nothing is nearest to 0 where any number above it can be drawn
        ({"lognormal": [0, 1]}, -3, 1.0),
    ],
    ids=str,
)
def test_nearest_is_what_can_be_drawn_nearest_to_the_value(span, value, expected):
    nearest = parse(span).nearest(value)
    assert nearest == pytest.approx(expected)
    assert type(nearest) is type(expected)


@pytest.mark.parametrize("value", [None, "auto", True, (1, 2), inf], ids=repr)
@pytest.mark.parametrize(
    ("span", "expected"),
    [
        ({"uniform": [1, 4]}, 2.5),
        ({"loguniform": [0.01, 100]}, 1.0),
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
def test_nearest_to_what_is_no_number_is_the_middle_or_the_first_option(span, expected, value):
    nearest = parse(span).nearest(value)
    assert nearest == expected or isclose(nearest, expected)
    assert type(nearest) is type(expected)


@pytest.mark.parametrize("value", [None, -1e6, -1, 0.3, 2, 1e6, "a", True], ids=repr)
@EVERY_RANGE
def test_nearest_can_be_drawn_whatever_the_value(span, value):
    distribution = parse(span)
    assert distribution.contains(distribution.nearest(value))
