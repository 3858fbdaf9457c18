"""Why the gate keeps a candidate out, in words that need no statistics."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pipeline.config.gate import Gate
from pipeline.results import Decision, RuleResult


@dataclass(frozen=True)
class Reason:
    """What it means that a rule is broken: as part of a run's name, and as a sentence."""

    label: str
    sentence: Callable[[Gate, Mapping[str, float]], str] | None = None  # or else the gate's own


def _not_better(gate: Gate, figures: Mapping[str, float]) -> str:
    proven = "better than" if gate.rule == "superiority" else "as good as"
    return (
        f"on the {figures['rows']:.0f} rows that neither was trained on it is not proven {proven} "
        f"the champion ({gate.metric} {figures['first']:.4f} against {figures['second']:.4f})"
    )


def _not_better_in_folds(gate: Gate, figures: Mapping[str, float]) -> str:
    return (
        f"in cross-validation it is no better than the champion ({gate.primary} "
        f"{figures['first']:.4f} against {figures['second']:.4f})"
    )


REASONS: dict[str, Reason] = {  # by the rule
    "gate.rule": Reason("not better", _not_better),
    "gate.primary": Reason("not better", _not_better_in_folds),
    "gate.floors": Reason("not good enough"),
    "gate.slice_floors": Reason("not good enough"),
    "gate.dummy": Reason(
        "no better than guessing",
        lambda _, figures: (
            "it is not proven better than saying the same of every row "
            f"({figures['first']:.4f} against {figures['second']:.4f})"
        ),
    ),
    "gate.calibration": Reason(
        "probabilities off",
        lambda _, figures: (
            f"its probabilities are off by {figures['relative']:.0%} of the rate "
            f"{figures['rate']:.3f} at which the class occurs"
        ),
    ),
    "gate.latency": Reason("too slow"),
}
OTHER = Reason("not as trained")


def label(decision: Decision) -> str:
    """The first broken rule in two or three words."""
    return next(_reason(rule).label for rule in decision.rules if rule.passed is False)


def sentence(gate: Gate, decision: Decision) -> str:
    """What is broken, the same said once."""
    broken = [rule for rule in decision.rules if rule.passed is False]
    return "; ".join(dict.fromkeys(_sentence(gate, rule) for rule in broken))


def _sentence(gate: Gate, rule: RuleResult) -> str:
    """The reason with its figures; without any the rule could not be checked, and says why."""
    words = _reason(rule).sentence
    return words(gate, rule.figures) if words and rule.figures else rule.sentence


def _reason(rule: RuleResult) -> Reason:
    return REASONS.get(".".join(rule.rule.split(".")[:2]), OTHER)
