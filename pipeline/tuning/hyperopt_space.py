"""The search space in hyperopt's terms, and its points in ours."""

from collections.abc import Callable, Mapping
from math import log
from typing import Any

from hyperopt import hp
from hyperopt.base import Domain

from pipeline.config.ranges import Choice, Distribution
from pipeline.results import Params
from pipeline.tasks import Family
from pipeline.tuning.search_space import FamilySpace

FAMILY = "family"  # hyperopt's label of the choice of a family
EXPRESSIONS: dict[str, Callable[..., Any]] = {  # by the distribution's name
    "uniform": hp.uniform,
    "loguniform": hp.loguniform,
    "uniformint": hp.uniformint,
    "quniform": hp.quniform,
    "qloguniform": hp.qloguniform,
    "normal": hp.normal,
    "lognormal": hp.lognormal,
    "qnormal": hp.qnormal,
    "qlognormal": hp.qlognormal,
    "randint": hp.randint,
}


class SearchSpace:
    """A conditional space: a family, and below it the hyperparameters of that family alone.

    hyperopt labels a hyperparameter `family.name`. A choice is by the place of its option, so
    options may be anything. A point is `(family, params)`, with the fixed values in the params.
    """

    def __init__(self, families: Mapping[Family, FamilySpace]) -> None:
        self.families = families
        self.names = list(families)
        self.expression = hp.choice(FAMILY, [self._branch(family) for family in families])

    def defaults(self) -> list[tuple[Family, Params]]:
        """Where the search starts in each family."""
        return [(name, {**one.fixed, **one.default}) for name, one in self.families.items()]

    def point(self, document: Mapping[str, Any]) -> tuple[Family, Params]:
        """The point that a trial's document of hyperopt stands for."""
        drawn = {label: values[0] for label, values in document["misc"]["vals"].items() if values}
        return self.decode({**drawn, FAMILY: self.names[int(drawn[FAMILY])]})

    def decode(self, drawn: Mapping[str, Any]) -> tuple[Family, Params]:
        """The point that a value of the expression stands for."""
        family = drawn[FAMILY]
        searched = self.families[family]
        params = {n: _value(each, drawn[f"{family}.{n}"]) for n, each in searched.space.items()}
        return family, {**searched.fixed, **params}

    def document(
        self, number: int, family: Family, params: Params, domain: Domain, trials: Any
    ) -> dict[str, Any]:
        """A point as a trial's document of hyperopt: the way back from `point`.

        A label that the family lacks has empty lists: without an entry TPE raises KeyError.
        """
        values: dict[str, Any] = {FAMILY: self.names.index(family)}
        for name, distribution in self.families[family].space.items():
            value = params[name]
            values[f"{family}.{name}"] = (
                distribution.index(value) if isinstance(distribution, Choice) else value
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
        labels = {f"{family}.{name}": each for name, each in self.families[family].space.items()}
        nodes = {label: _expression(label, each) for label, each in labels.items()}
        return {FAMILY: family, **nodes}


def _expression(label: str, distribution: Distribution) -> Any:
    if isinstance(distribution, Choice):
        places = list(range(len(distribution.options)))
        if distribution.probabilities is None:
            return hp.choice(label, places)
        total = sum(distribution.probabilities)
        exact = [probability / total for probability in distribution.probabilities]
        return hp.pchoice(label, list(zip(exact, places, strict=True)))
    arguments = distribution.arguments
    if distribution.is_log:
        low, high, *q = arguments
        arguments = (log(low), log(high), *q)
    return EXPRESSIONS[distribution.name](label, *arguments)


def _value(distribution: Distribution, drawn: Any) -> Any:
    """A drawn number as the parameter's value: an option, an integer or a double."""
    if isinstance(distribution, Choice):
        return distribution.options[int(drawn)]
    return round(drawn) if distribution.is_integer else float(drawn)
