"""What a search is over: each family's ranges, fixed values and default, as the config says."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.config import ranges as distributions
from pipeline.config.ranges import Space
from pipeline.config.sections import Family, Tune
from pipeline.errors import ConfigError
from pipeline.models import custom as estimators
from pipeline.models import families as models
from pipeline.results import Params


@dataclass(frozen=True)
class Searched:
    """A family in a search: what is tried, what stays, and where it starts."""

    space: Space
    fixed: Params
    default: Params  # one value per range

    def read(self, texts: Mapping[str, str], written: Callable[[Any], str]) -> Params | None:
        """Params from the texts that `written` made of them; None where they do not fit."""
        params = dict(self.fixed)
        for name, span in self.space.items():
            options = distributions.options(span)
            if options is not None:
                found = [option for option in options if written(option) == texts.get(name)]
                if len(found) != 1:  # two options may look the same, such as 1 and "1"
                    return None
                params[name] = found[0]
            elif name in texts:
                params[name] = (int if distributions.is_whole(span) else float)(texts[name])
            else:
                return None
        return params


def searched(tune: Tune) -> dict[Family, Searched]:
    """Every family of the config, its ranges under those of `tune.space`."""
    return {name: _searched(tune, name) for name in tune.families}


def check(tune: Tune) -> None:
    """Imports what the config names and looks each parameter up. Raises ConfigError."""
    told = [
        f"  tune.estimators.{name}.{fault}"
        for name, estimator in tune.estimators.items()
        if name in tune.families
        for fault in estimators.faults(estimator)
    ]
    told += [] if told else _unknown_parameters(tune)
    if told:
        raise ConfigError("\n".join(["the search space is not valid:", *told]))


def _searched(tune: Tune, name: Family) -> Searched:
    if name in tune.estimators:
        estimator = tune.estimators[name]
        own, start = estimator.space, estimators.default(estimator)
    else:
        model = models.MODELS[name]
        own, start = model.space, model.default
    ranges = {**own, **tune.space.get(name, {})}
    space = {key: value for key, value in ranges.items() if isinstance(value, dict)}
    known = {**_last_step(tune, name), **start} if space.keys() - start.keys() else start
    return Searched(
        space=space,
        fixed={key: value for key, value in ranges.items() if key not in space},
        default={key: distributions.start(span, known.get(key)) for key, span in space.items()},
    )


def _last_step(tune: Tune, name: Family) -> Params:
    """The parameters of a family's classifier, with their values."""
    start: Params = {}
    if name in tune.estimators:
        estimator = tune.estimators[name]
        start = {**estimators.fixed(estimator), **estimators.default(estimator)}
    return dict(models.build(name, start, tune.seed, tune.estimators)[-1].get_params())


def _unknown_parameters(tune: Tune) -> list[str]:
    """Of `tune.space`: a family takes its own parameters and those of its classifier."""
    told = []
    for name, ranges in tune.space.items():
        known = _parameters(tune, name)
        told += [
            f"  tune.space.{name}.{key} is no parameter of {name}{estimators.hint(key, known)}"
            for key in ranges
            if key not in known
        ]
    return told


def _parameters(tune: Tune, name: Family) -> tuple[str, ...]:
    if name in tune.estimators:
        return estimators.arguments(estimators.load(tune.estimators[name].estimator))
    return (*models.MODELS[name].space, *_last_step(tune, name))
