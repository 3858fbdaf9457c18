"""hyperopt's distributions as plain data, and what a range of the config may say.

A range is a mapping of one distribution to its arguments, `{"loguniform": [0.01, 10]}`. Names and
arguments are hyperopt's, but for the bounds of `loguniform` and `qloguniform`, which are in the
parameter's own unit. Anything that is no mapping is a fixed value.
"""

from math import exp, floor, isclose, isfinite, sqrt
from numbers import Real
from typing import Any

from pipeline.errors import nearest

Range = dict[str, list[Any]]
Space = dict[str, Range]

ARGUMENTS = {
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
CHOICES = ("choice", "pchoice")
KNOWN = (*ARGUMENTS, *CHOICES)


def fault(value: Any) -> str:
    """What is wrong with a range, or nothing; a fixed value is always right."""
    if not isinstance(value, dict):
        return ""
    if len(value) != 1:
        return f"it has {len(value)} distributions; give one, e.g. {{loguniform: [0.01, 10]}}"
    ((name, arguments),) = value.items()
    if name not in KNOWN:
        hint = nearest(name, KNOWN) or f"; choose from {', '.join(KNOWN)}"
        return f"{name!r} is no distribution of hyperopt{hint}"
    if not isinstance(arguments, list):
        return f"{name} takes a list, {_usage(name)}"
    return _CHOICE_FAULT[name](arguments) if name in CHOICES else _number_fault(name, arguments)


def options(span: Range) -> list[Any] | None:
    """The options of a choice, None for a range of numbers."""
    ((name, arguments),) = span.items()
    if name == "pchoice":
        return [option for _, option in arguments]
    return list(arguments) if name == "choice" else None


def place(choice: list[Any], value: Any) -> int | None:
    """The place of an option, by value and type: True is not 1."""
    same = (n for n, option in enumerate(choice) if (type(option), option) == (type(value), value))
    return next(same, None)


def is_whole(span: Range) -> bool:
    """Whether the numbers are integers: of uniformint, randint, and in whole steps from q."""
    ((name, arguments),) = span.items()
    if name in ("uniformint", "randint"):
        return True
    return name in ARGUMENTS and "q" in ARGUMENTS[name] and float(arguments[-1]).is_integer()


def holds(span: Range, value: Any) -> bool:
    """Whether the range can give the value."""
    choice = options(span)
    if choice is not None:
        return place(choice, value) is not None
    if not is_number(value) or (is_whole(span) and value != floor(value)):
        return False
    low, high = bounds(span)
    is_inside = low < value if next(iter(span)) == "lognormal" else low <= value
    return bool(is_inside and value <= high and isclose(value, _in_steps(span, value)))


def start(span: Range, value: Any) -> Any:
    """The value where it lies in the range; else the nearest that does, or the range's middle."""
    choice = options(span)
    if choice is not None:
        return value if holds(span, value) else choice[0]
    low, high = bounds(span)
    number = min(max(value, low), high) if is_number(value) else _middle(span)
    if number == 0 and next(iter(span)) == "lognormal":  # which gives no 0
        number = _middle(span)
    number = min(max(_in_steps(span, number), low), high)
    return round(number) if is_whole(span) else float(number)


def _in_steps(span: Range, number: float) -> float:
    """The nearest multiple of q, where the range has steps."""
    ((name, arguments),) = span.items()
    q = arguments[-1] if name in ARGUMENTS and "q" in ARGUMENTS[name] else None
    return number if q is None else round(number / q) * q


def bounds(span: Range) -> tuple[float, float]:
    """The smallest and the largest number of a range of numbers."""
    ((name, arguments),) = span.items()
    match name:
        case "uniform" | "loguniform" | "uniformint":
            return arguments[0], arguments[1]
        case "quniform" | "qloguniform":  # rounded to a multiple of q, which may lie beyond
            low, high, q = arguments
            return round(low / q) * q, round(high / q) * q
        case "randint":
            low, high = (0, *arguments) if len(arguments) == 1 else arguments
            return low, high - 1
        case "lognormal" | "qlognormal":
            return 0.0, float("inf")
        case _:
            return float("-inf"), float("inf")


def _middle(span: Range) -> float:
    ((name, arguments),) = span.items()
    low, high = bounds(span)
    match name:
        case "normal" | "qnormal":
            return float(arguments[0])
        case "lognormal" | "qlognormal":
            return exp(arguments[0])
        case "loguniform":
            return sqrt(low * high)
        case _:
            return (low + high) / 2


def _number_fault(name: str, arguments: list[Any]) -> str:
    fewest = 1 if name == "randint" else len(ARGUMENTS[name])
    wrong = [value for value in arguments if not _is_real(value)]
    endless = [value for value in arguments if _is_real(value) and not _is_finite(value)]
    if not fewest <= len(arguments) <= len(ARGUMENTS[name]):
        return f"{name} takes {_usage(name)}, not {len(arguments)} values"
    if wrong:
        return f"{name} takes numbers, not {wrong[0]!r}"
    if endless:
        return f"{name} takes finite numbers, not {endless[0]!r}"
    return _whole_fault(name, arguments) or _order_fault(name, arguments)


def _whole_fault(name: str, arguments: list[Any]) -> str:
    if name in ("uniformint", "randint") and any(value != floor(value) for value in arguments):
        return f"{name} takes whole numbers"
    if name == "randint" and not all(isinstance(value, int) for value in arguments):
        return f"{name} takes integers, without a decimal point"  # TPE counts with them
    return ""


def _order_fault(name: str, arguments: list[Any]) -> str:
    values = [0, *arguments] if name == "randint" and len(arguments) == 1 else arguments
    named = dict(zip(ARGUMENTS[name], values, strict=True))
    positive = ("sigma", "q", *(("low",) if name in ("loguniform", "qloguniform") else ()))
    if "low" in named and not named["low"] < named["high"]:
        hint = "; a fixed value is written alone" if named["low"] == named["high"] else ""
        return f"{name}: low {named['low']!r} must be below high {named['high']!r}{hint}"
    low = [key for key in positive if named.get(key, 1) <= 0]
    return f"{name}: {low[0]} {named[low[0]]!r} must be above 0" if low else ""


def _choice_fault(arguments: list[Any]) -> str:
    return "" if arguments else f"choice takes {_usage('choice')}, not none"


def _pchoice_fault(arguments: list[Any]) -> str:
    pairs = [a for a in arguments if isinstance(a, list) and len(a) == 2 and is_number(a[0])]
    if not arguments or len(pairs) < len(arguments):
        return f"pchoice takes {_usage('pchoice')}"
    total = sum(probability for probability, _ in pairs)
    if any(probability < 0 for probability, _ in pairs) or abs(total - 1) > 1e-6:
        return f"pchoice: probabilities must not be negative, and their sum, {total:g}, must be 1"
    return ""


_CHOICE_FAULT = {"choice": _choice_fault, "pchoice": _pchoice_fault}


def _usage(name: str) -> str:
    match name:
        case "choice":
            return "[option, option, ...]"
        case "pchoice":
            return "[[probability, option], ...]"
        case "randint":
            return "[high] or [low, high]"
        case _:
            return f"[{', '.join(ARGUMENTS[name])}]"


def is_number(value: Any) -> bool:
    """A finite number; true and false are none."""
    return _is_real(value) and _is_finite(value)


def _is_real(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _is_finite(value: float) -> bool:
    try:
        return isfinite(value)
    except OverflowError:  # an integer beyond all doubles
        return False
