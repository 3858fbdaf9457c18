"""What a hyperparameter is drawn from: the distributions of hyperopt, checked when they are made.

The config writes one as a mapping of its name to its arguments, `{"loguniform": [0.01, 10]}`.
Names and arguments are hyperopt's, but for the bounds of `loguniform` and `qloguniform`, which are
in the parameter's own unit. Anything that is no mapping is a fixed value.
"""

from dataclasses import dataclass
from functools import cached_property
from math import exp, floor, inf, isclose, isfinite, sqrt
from numbers import Real
from typing import Any

from pipeline.errors import nearest

NUMBERS = {  # the arguments of each distribution of numbers
    "uniform": ("low", "high"),
    "loguniform": ("low", "high"),
    "uniformint": ("low", "high"),
    "quniform": ("low", "high", "q"),
    "qloguniform": ("low", "high", "q"),
    "normal": ("mu", "sigma"),
    "lognormal": ("mu", "sigma"),
    "qnormal": ("mu", "sigma", "q"),
    "qlognormal": ("mu", "sigma", "q"),
    "randint": ("low", "high"),
}
USAGE = {
    **{name: f"[{', '.join(arguments)}]" for name, arguments in NUMBERS.items()},
    "randint": "[high] or [low, high]",
    "choice": "[option, option, ...]",
    "pchoice": "[[probability, option], ...]",
}


@dataclass(frozen=True)
class Numbers:
    """A distribution of numbers; `arguments` are those of `NUMBERS[name]`, in that order.

    Raises ValueError for arguments that the distribution cannot have.
    """

    name: str
    arguments: tuple[Any, ...]

    def __post_init__(self) -> None:
        whole = self.name in ("uniformint", "randint")
        if wrong := [value for value in self.arguments if not _is_real(value)]:
            raise ValueError(f"{self.name} takes numbers, not {wrong[0]!r}")
        if endless := [value for value in self.arguments if not is_number(value)]:
            raise ValueError(f"{self.name} takes finite numbers, not {endless[0]!r}")
        if whole and any(value != floor(value) for value in self.arguments):
            raise ValueError(f"{self.name} takes whole numbers")
        if self.name == "randint" and not all(isinstance(value, int) for value in self.arguments):
            raise ValueError("randint takes integers, without a decimal point")  # TPE counts them
        self._check_order()

    def _check_order(self) -> None:
        low, high = self.arguments[:2]
        if "low" in self._named and not low < high:
            hint = "; a fixed value is written alone" if low == high else ""
            raise ValueError(f"{self.name}: low {low!r} must be below high {high!r}{hint}")
        for key in ("sigma", "q", *(["low"] if self.is_log else [])):
            if self._named.get(key, 1) <= 0:
                raise ValueError(f"{self.name}: {key} {self._named[key]!r} must be above 0")

    @cached_property
    def _named(self) -> dict[str, Any]:
        return dict(zip(NUMBERS[self.name], self.arguments, strict=True))

    @property
    def is_log(self) -> bool:
        """Whether it is uniform in the logarithm."""
        return self.name in ("loguniform", "qloguniform")

    @property
    def step(self) -> float | None:
        """The number whose multiples are drawn, None where any number is."""
        return self._named.get("q")

    @property
    def is_integer(self) -> bool:
        """Whether all numbers are whole: of uniformint, randint, and in whole steps from q."""
        if self.step is None:
            return self.name in ("uniformint", "randint")
        return float(self.step).is_integer()

    @property
    def bounds(self) -> tuple[float, float]:
        """The smallest and the largest number; rounding to a step may go beyond `low` or `high`."""
        if "low" in self._named:
            low, high = self.arguments[:2]
            return self._in_steps(low), self._in_steps(high - (self.name == "randint"))
        return (0.0, inf) if "log" in self.name else (-inf, inf)

    @property
    def middle(self) -> float:
        """The number in the middle of the distribution."""
        if "mu" in self._named:
            mu = self._named["mu"]
            return exp(mu) if "log" in self.name else float(mu)
        low, high = self.bounds
        return sqrt(low * high) if self.name == "loguniform" else (low + high) / 2

    def contains(self, value: Any) -> bool:
        """Whether the value can be drawn."""
        if not is_number(value) or (self.is_integer and value != floor(value)):
            return False
        low, high = self.bounds
        is_inside = low < value if self.name == "lognormal" else low <= value
        return bool(is_inside and value <= high and isclose(value, self._in_steps(value)))

    def nearest(self, value: Any) -> int | float:
        """The number that can be drawn nearest to the value, or the middle one."""
        low, high = self.bounds
        number = min(max(value, low), high) if is_number(value) else self.middle
        if number == 0 and self.name == "lognormal":  # which gives no 0
            number = self.middle
        number = min(max(self._in_steps(number), low), high)
        return round(number) if self.is_integer else float(number)

    def _in_steps(self, number: float) -> float:
        return number if self.step is None else round(number / self.step) * self.step

    def written(self) -> dict[str, list[Any]]:
        """The mapping of the config."""
        return {self.name: list(self.arguments)}


@dataclass(frozen=True)
class Choice:
    """One of the options, which may be anything; each as likely as another without probabilities.

    Raises ValueError for probabilities that do not add up to 1.
    """

    options: tuple[Any, ...]
    probabilities: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if self.probabilities is None:
            return
        total = sum(self.probabilities)
        if any(probability < 0 for probability in self.probabilities) or abs(total - 1) > 1e-6:
            raise ValueError(
                f"pchoice: probabilities must not be negative, and their sum, {total:g}, must be 1"
            )

    def index(self, value: Any) -> int | None:
        """The place of an option, by value and type: True is not 1."""
        wanted = (type(value), value)
        same = (n for n, option in enumerate(self.options) if (type(option), option) == wanted)
        return next(same, None)

    def contains(self, value: Any) -> bool:
        """Whether the value is an option."""
        return self.index(value) is not None

    def nearest(self, value: Any) -> Any:
        """The value where it is an option, else the first one."""
        return value if self.contains(value) else self.options[0]

    def written(self) -> dict[str, list[Any]]:
        """The mapping of the config."""
        if self.probabilities is None:
            return {"choice": list(self.options)}
        return {"pchoice": [list(p) for p in zip(self.probabilities, self.options, strict=True)]}


Distribution = Numbers | Choice
Space = dict[str, Distribution]


def parse(value: Any) -> Any:
    """The distribution that a mapping stands for; anything else is a fixed value and stays.

    Raises ValueError that says what is wrong with the mapping.
    """
    if not isinstance(value, dict):
        return value
    if len(value) != 1:
        raise ValueError(
            f"it has {len(value)} distributions; give one, e.g. {{loguniform: [0.01, 10]}}"
        )
    ((name, arguments),) = value.items()
    if name not in USAGE:
        hint = nearest(name, USAGE) or f"; choose from {', '.join(USAGE)}"
        raise ValueError(f"{name!r} is no distribution of hyperopt{hint}")
    if not isinstance(arguments, list):
        raise ValueError(f"{name} takes a list, {USAGE[name]}")
    if name in NUMBERS:
        return _numbers(name, arguments)
    return _pchoice(arguments) if name == "pchoice" else _choice(arguments)


def written(value: Any) -> Any:
    """A range or a fixed value as the config writes it: the way back from `parse`."""
    return value.written() if isinstance(value, Distribution) else value


def _numbers(name: str, arguments: list[Any]) -> Numbers:
    count = len(arguments)
    if name == "randint" and count == 1:
        arguments = [0, *arguments]
    if len(arguments) != len(NUMBERS[name]):
        raise ValueError(f"{name} takes {USAGE[name]}, not {count} values")
    return Numbers(name, tuple(arguments))


def _choice(arguments: list[Any]) -> Choice:
    if not arguments:
        raise ValueError(f"choice takes {USAGE['choice']}, not none")
    return Choice(tuple(arguments))


def _pchoice(arguments: list[Any]) -> Choice:
    pairs = [a for a in arguments if isinstance(a, list) and len(a) == 2 and is_number(a[0])]
    if not arguments or len(pairs) < len(arguments):
        raise ValueError(f"pchoice takes {USAGE['pchoice']}")
    probabilities, options = zip(*pairs, strict=True)
    return Choice(options, probabilities)


def is_number(value: Any) -> bool:
    """Whether it is a finite number; true and false are none."""
    try:
        return _is_real(value) and isfinite(value)
    except OverflowError:  # an integer beyond all doubles
        return False


def _is_real(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)
