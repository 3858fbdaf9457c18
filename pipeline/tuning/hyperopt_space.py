"""The search space in hyperopt's terms, and its points in ours."""

from collections.abc import Mapping
from math import log
from typing import Any

from hyperopt import hp
from hyperopt.base import Domain

from pipeline.config import ranges as distributions
from pipeline.config.ranges import Range
from pipeline.config.sections import Family
from pipeline.results import Params
from pipeline.tuning.search_space import Searched

FAMILY = "family"  # hyperopt's label of the choice of a family


class SearchSpace:
    """A conditional space: a family, and below it the hyperparameters of that family alone.

    hyperopt labels a hyperparameter `family.name`. A choice is by the place of its option, so
    options may be anything. A point is `(family, params)`, with the fixed values in the params.
    """

    def __init__(self, families: Mapping[Family, Searched]) -> None:
        self.families = families
        self.names = list(families)
        self.expression = hp.choice(FAMILY, [self._branch(family) for family in families])

    def defaults(self) -> list[tuple[Family, Params]]:
        """Where the search starts in each family."""
        return [(name, {**one.fixed, **one.default}) for name, one in self.families.items()]

    def point(self, document: Mapping[str, Any]) -> tuple[Family, Params]:
        """What a trial's document of hyperopt stands for."""
        drawn = {label: values[0] for label, values in document["misc"]["vals"].items() if values}
        return self.decode({**drawn, FAMILY: self.names[int(drawn[FAMILY])]})

    def decode(self, drawn: Mapping[str, Any]) -> tuple[Family, Params]:
        """What a value of the expression stands for."""
        family = drawn[FAMILY]
        searched = self.families[family]
        tried = {n: _value(span, drawn[f"{family}.{n}"]) for n, span in searched.space.items()}
        return family, {**searched.fixed, **tried}

    def document(
        self, number: int, family: Family, params: Params, domain: Domain, trials: Any
    ) -> dict[str, Any]:
        """A point as a trial's document of hyperopt: the way back from `point`.

        A label that the family lacks has empty lists: without an entry TPE raises KeyError.
        """
        values: dict[str, Any] = {FAMILY: self.names.index(family)}
        for name, span in self.families[family].space.items():
            options = distributions.options(span)
            value = params[name]
            values[f"{family}.{name}"] = (
                value if options is None else distributions.place(options, value)
            )
        misc = {
            "tid": number,
            "cmd": domain.cmd,
            "workdir": domain.workdir,
            "idxs": {label: [number] if label in values else [] for label in domain.params},
            "vals": {label: [values[label]] if label in values else [] for label in domain.params},
        }
        (document,) = trials.new_trial_docs([number], [None], [domain.new_result()], [misc])
        return dict(document)

    def _branch(self, family: Family) -> dict[str, Any]:
        labels = {f"{family}.{name}": span for name, span in self.families[family].space.items()}
        return {FAMILY: family, **{label: _node(label, span) for label, span in labels.items()}}


def _node(label: str, span: Range) -> Any:
    ((name, arguments),) = span.items()
    match name:
        case "choice":
            return hp.choice(label, _places(arguments))
        case "pchoice":
            chances = [chance for chance, _ in arguments]
            exact = [chance / sum(chances) for chance in chances]
            return hp.pchoice(label, list(zip(exact, _places(arguments), strict=True)))
        case "loguniform" | "qloguniform":
            low, high, *q = arguments
            return getattr(hp, name)(label, log(low), log(high), *q)
        case _:
            return getattr(hp, name)(label, *arguments)


def _places(options: list[Any]) -> list[int]:
    return [place for place, _ in enumerate(options)]


def _value(span: Range, drawn: Any) -> Any:
    """A drawn number as the parameter's value: an option, an integer or a double."""
    options = distributions.options(span)
    if options is not None:
        return options[int(drawn)]
    return round(drawn) if distributions.is_whole(span) else float(drawn)
