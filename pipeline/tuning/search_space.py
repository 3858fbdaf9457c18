"""What a search is over: each family's ranges, fixed values and default, as the config says."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.config.ranges import Choice, Distribution, Space
from pipeline.config.tune import Tune
from pipeline.errors import ConfigError
from pipeline.models import custom, families
from pipeline.results import Params
from pipeline.tasks import Family


@dataclass(frozen=True)
class FamilySpace:
    """A family in a search: what is searched, what stays as it is, and where the search starts."""

    space: Space
    fixed: Params
    default: Params  # one value per range

    def read(self, texts: Mapping[str, str], written: Callable[[Any], str]) -> Params | None:
        """Params from the texts that `written` made of them; None where they do not fit."""
        params = dict(self.fixed)
        for name, distribution in self.space.items():
            if isinstance(distribution, Choice):
                options = [o for o in distribution.options if written(o) == texts.get(name)]
                if len(options) != 1:  # two options may look the same, such as 1 and "1"
                    return None
                params[name] = options[0]
            elif name in texts:
                params[name] = (int if distribution.is_integer else float)(texts[name])
            else:
                return None
        return params


def family_spaces(tune: Tune) -> dict[Family, FamilySpace]:
    """Every family of the config, its ranges under those of `tune.space`."""
    return {name: _family_space(tune, name) for name in tune.families}


def check(tune: Tune, weight: str | None = None) -> None:
    """Imports what the config names and looks each parameter up. Raises ConfigError.

    With a column of weights, each classifier must take them.
    """
    faults = [
        f"  tune.estimators.{name}.{fault}"
        for name, estimator in tune.estimators.items()
        if name in tune.families
        for fault in custom.faults(estimator, weight)
    ]
    faults = faults or _unknown_parameters(tune)
    if faults:
        raise ConfigError("\n".join(["the search space is not valid:", *faults]))


def _family_space(tune: Tune, name: Family) -> FamilySpace:
    if name in tune.estimators:
        estimator = tune.estimators[name]
        ranges, default = estimator.space, custom.default(estimator)
    else:
        family = families.BUILT_IN[name]
        ranges, default = {**family.space}, family.default
    ranges = {**ranges, **tune.space.get(name, {})}
    space = {key: value for key, value in ranges.items() if isinstance(value, Distribution)}
    if space.keys() - default.keys():
        default = {**_classifier_params(tune, name), **default}
    return FamilySpace(
        space=space,
        fixed={key: value for key, value in ranges.items() if key not in space},
        default={key: each.nearest(default.get(key)) for key, each in space.items()},
    )


def _classifier_params(tune: Tune, name: Family) -> Params:
    """The parameters of a family's classifier, with their values."""
    params: Params = {}
    if name in tune.estimators:
        estimator = tune.estimators[name]
        params = {**custom.fixed(estimator), **custom.default(estimator)}
    pipeline = families.build(name, params, tune.seed, estimators=tune.estimators)
    return dict(families.innermost(pipeline).get_params())


def _unknown_parameters(tune: Tune) -> list[str]:
    """The faults of `tune.space`: a family takes its parameters and those of its classifier."""
    faults = []
    for name, ranges in tune.space.items():
        choices = _parameters(tune, name)
        faults += [
            f"  tune.space.{name}.{key} is no parameter of {name}"
            f"{custom.choices_hint(key, choices)}"
            for key in ranges
            if key not in choices
        ]
    return faults


def _parameters(tune: Tune, name: Family) -> tuple[str, ...]:
    if name in tune.estimators:
        return custom.arguments(custom.load(tune.estimators[name].estimator))
    return (*families.BUILT_IN[name].space, *_classifier_params(tune, name))
