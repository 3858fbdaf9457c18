"""Classifiers of any package with scikit-learn's interface, named in the config by import path."""

import importlib
import inspect
from collections.abc import Mapping
from inspect import Parameter
from typing import Any

from sklearn.base import BaseEstimator, is_regressor
from sklearn.pipeline import Pipeline, make_pipeline

from pipeline.config.ranges import Distribution, written
from pipeline.config.tune import Estimator
from pipeline.errors import ConfigError, nearest
from pipeline.evaluation.fitting import takes_weights
from pipeline.models.encoders import ENCODERS, NUMBERS, Features, encoded
from pipeline.results import Params


def build(
    estimator: Estimator, params: Params, seed: int, features: Features = NUMBERS
) -> Pipeline:
    """An unfitted pipeline: preprocessing, then the classifier.

    Where the class has them, `random_state` is the seed and `n_jobs` 1 unless the config says
    otherwise: trials run side by side already.
    """
    kind = load(estimator.estimator)
    usual = {"random_state": seed, "n_jobs": 1}
    usual = {name: value for name, value in usual.items() if name in arguments(kind)}
    steps = [ENCODERS[name]() for name in estimator.preprocessing]
    classifier = kind(**{**usual, **estimator.params, **params})
    if not features.are_numbers:
        steps = encoded(features, steps or ["passthrough"], seed)
    return make_pipeline(*steps, classifier)


def load(path: str) -> type:
    """The class at an import path. Raises ConfigError."""
    module, _, name = path.rpartition(".")
    try:
        imported = importlib.import_module(module)
    except ImportError as error:
        raise ConfigError(
            f"{path!r} cannot be imported: {error}; install its package beside requirements.txt, "
            "or mend the path"
        ) from None
    except Exception as error:  # whatever a module may raise, in the user's own code too
        raise ConfigError(
            f"{path!r} cannot be imported: {type(error).__name__}: {error}; mend the module"
        ) from None
    kind = getattr(imported, name, None)
    if kind is None:
        raise ConfigError(f"{module} has no {name!r}{nearest(name, dir(imported))}")
    if not inspect.isclass(kind) or not hasattr(kind, "fit"):
        raise ConfigError(f"{path!r} is no class with a `fit` method, as scikit-learn has them")
    if not issubclass(kind, BaseEstimator):
        raise ConfigError(f"{path!r} must derive from sklearn.base.BaseEstimator to be cloned")
    return kind


def arguments(kind: type) -> tuple[str, ...]:
    """The names that the constructors of a class list, those of its parents included."""
    by_name = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)
    names = dict.fromkeys(p.name for p in _parameters(kind) if p.kind in by_name)
    return tuple(name for name in names if name != "self")


def default(estimator: Estimator) -> Params:
    """Where the search starts: as the config says, else the class's default moved into the range.

    One value per range of the space.
    """
    defaults = _class_defaults(load(estimator.estimator))
    return {
        name: estimator.default.get(name, distribution.nearest(defaults.get(name)))
        for name, distribution in estimator.space.items()
        if isinstance(distribution, Distribution)
    }


def fixed(estimator: Estimator) -> Params:
    """The values that the space holds fixed."""
    space = estimator.space.items()
    return {name: value for name, value in space if not isinstance(value, Distribution)}


def faults(estimator: Estimator, weight: str | None = None) -> list[str]:
    """What is wrong with the estimator, as far as it shows without a fit.

    With a column of weights, that it takes none is a fault.
    """
    try:
        kind = load(estimator.estimator)
    except ConfigError as error:
        return [f"estimator {error}"]
    if weight is not None and not takes_weights(kind):
        return [
            f"estimator {kind.__name__} takes no sample_weight in its fit, and data.weight is "
            f"{weight!r}; leave it out of tune.families, or unset data.weight"
        ]
    return (
        _unknown_names(kind, estimator)
        or [*_names_twice(estimator), *_default_faults(estimator)]
        or _instance_faults(kind, estimator)
    )


def choices_hint(name: str, choices: tuple[str, ...]) -> str:
    """The nearest of the choices, or all, as the end of a message."""
    return nearest(name, choices) or f"; it has {', '.join(choices)}"


def _takes_any(kind: type) -> bool:
    """Whether a constructor takes names that it does not list, as LightGBM's does."""
    return any(parameter.kind == Parameter.VAR_KEYWORD for parameter in _parameters(kind))


def _parameters(kind: type) -> list[Parameter]:
    """The constructor's, and those of its parents' while each hands on what it does not list."""
    parameters: list[Parameter] = []
    for parent in kind.__mro__:
        if parent is object or "__init__" not in vars(parent):
            continue
        signature = inspect.signature(vars(parent)["__init__"])
        parameters += signature.parameters.values()
        if not any(p.kind == Parameter.VAR_KEYWORD for p in signature.parameters.values()):
            break
    return parameters


def _unknown_names(kind: type, estimator: Estimator) -> list[str]:
    names = {"space": estimator.space, "default": estimator.default}
    if not _takes_any(kind):  # a fixed name beyond those listed is the user's word
        names["params"] = estimator.params
    choices = arguments(kind)
    return [
        f"{section}.{name} is no parameter of {kind.__name__}{choices_hint(name, choices)}"
        for section, params in names.items()
        for name in params
        if name not in choices
    ]


def _names_twice(estimator: Estimator) -> list[str]:
    twice = [name for name in estimator.space if name in estimator.params]
    return [f"space.{name} is in params too; leave it out of one" for name in twice]


def _default_faults(estimator: Estimator) -> list[str]:
    faults = []
    for name, value in estimator.default.items():
        span = estimator.space.get(name)
        if not isinstance(span, Distribution):
            faults.append(f"default.{name} has no range in space; put it in params")
        elif not span.contains(value):
            faults.append(
                f"default.{name} is {value!r}, which lies outside of space.{name} {written(span)}"
            )
    return faults


def _instance_faults(kind: type, estimator: Estimator) -> list[str]:
    try:
        model = kind(**{**estimator.params, **fixed(estimator), **default(estimator)})
    except Exception as error:  # whatever a constructor may raise
        return [f"estimator {kind.__name__} cannot be made: {type(error).__name__}: {error}"]
    if not hasattr(model, "predict_proba") and not is_regressor(model):
        return [
            f"estimator {kind.__name__} has no predict_proba with these params; take one that "
            "has, or wrap it in sklearn.calibration.CalibratedClassifierCV in a module of yours"
        ]
    return []


def _class_defaults(kind: type) -> Mapping[str, Any]:
    """The params of a fresh instance; none where it cannot be made without arguments."""
    try:
        return dict(kind().get_params())
    except Exception:  # a required argument, or no get_params
        return {}
