"""Classifiers of any package with scikit-learn's interface, named in the config by import path."""

import importlib
import inspect
from collections.abc import Callable, Mapping
from inspect import Parameter
from typing import Any

from sklearn.base import BaseEstimator
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import PowerTransformer, StandardScaler

from pipeline.config import ranges as distributions
from pipeline.config.sections import Estimator
from pipeline.errors import ConfigError, nearest
from pipeline.results import Params


def impute() -> SimpleImputer:
    """The median of the training rows in place of a missing value."""
    return SimpleImputer(strategy="median", keep_empty_features=True)


STEPS: dict[str, Callable[[], Any]] = {
    "impute": impute,
    "scale": StandardScaler,
    "power": PowerTransformer,
}


def build(estimator: Estimator, params: Params, seed: int) -> Pipeline:
    """An unfitted pipeline: preprocessing, then the classifier.

    Where the class has them, `random_state` is the seed and `n_jobs` 1 unless the config says
    otherwise: trials run side by side already.
    """
    kind = load(estimator.estimator)
    taken = arguments(kind)
    usual = {
        name: value for name, value in (("random_state", seed), ("n_jobs", 1)) if name in taken
    }
    steps = [STEPS[name]() for name in estimator.preprocessing]
    return make_pipeline(*steps, kind(**{**usual, **estimator.params, **params}))


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
    found = getattr(imported, name, None)
    if found is None:
        raise ConfigError(f"{module} has no {name!r}{nearest(name, dir(imported))}")
    if not inspect.isclass(found) or not hasattr(found, "fit"):
        raise ConfigError(f"{path!r} is no class with a `fit` method, as scikit-learn has them")
    if not issubclass(found, BaseEstimator):
        raise ConfigError(f"{path!r} must derive from sklearn.base.BaseEstimator to be cloned")
    return found


def arguments(kind: type) -> tuple[str, ...]:
    """The names that its constructors list, those of its parents included."""
    by_name = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)
    names = dict.fromkeys(p.name for p in _parameters(kind) if p.kind in by_name)
    return tuple(name for name in names if name != "self")


def _takes_any(kind: type) -> bool:
    """Whether a constructor takes names that it does not list, as LightGBM's does."""
    return any(parameter.kind == Parameter.VAR_KEYWORD for parameter in _parameters(kind))


def _parameters(kind: type) -> list[Parameter]:
    """Of the constructor, and of its parents' while each hands on what it does not list."""
    found: list[Parameter] = []
    for parent in kind.__mro__:
        if parent is object or "__init__" not in vars(parent):
            continue
        own = list(inspect.signature(vars(parent)["__init__"]).parameters.values())
        found += own
        if not any(parameter.kind == Parameter.VAR_KEYWORD for parameter in own):
            break
    return found


def default(estimator: Estimator) -> Params:
    """Where the search starts: as given, else the class's own default moved into the range."""
    own = _own_defaults(load(estimator.estimator))
    return {
        name: estimator.default.get(name, distributions.start(span, own.get(name)))
        for name, span in estimator.space.items()
        if isinstance(span, dict)
    }


def fixed(estimator: Estimator) -> Params:
    """What its space holds fixed."""
    return {name: value for name, value in estimator.space.items() if not isinstance(value, dict)}


def faults(estimator: Estimator) -> list[str]:
    """What is wrong with it, as far as can be told without a fit."""
    try:
        kind = load(estimator.estimator)
    except ConfigError as error:
        return [f"estimator {error}"]
    known = arguments(kind)
    named = {"space": estimator.space, "default": estimator.default}
    if not _takes_any(kind):  # a fixed name beyond those listed is the user's word
        named["params"] = estimator.params
    found = [
        f"{section}.{name} is no parameter of {kind.__name__}{hint(name, known)}"
        for section, names in named.items()
        for name in names
        if name not in known
    ]
    if found:
        return found
    found = [
        f"space.{name} is in params too; leave it out of one"
        for name in estimator.space
        if name in estimator.params
    ]
    found += _default_faults(estimator)
    return found or _instance_faults(kind, estimator)


def _default_faults(estimator: Estimator) -> list[str]:
    found = []
    for name, value in estimator.default.items():
        span = estimator.space.get(name)
        if not isinstance(span, dict):
            found.append(f"default.{name} has no range in space; put it in params")
        elif not distributions.holds(span, value):
            found.append(f"default.{name} is {value!r}, which lies outside of space.{name} {span}")
    return found


def _instance_faults(kind: type, estimator: Estimator) -> list[str]:
    try:
        model = kind(**{**estimator.params, **fixed(estimator), **default(estimator)})
    except Exception as error:  # whatever a constructor may raise
        return [f"estimator {kind.__name__} cannot be made: {type(error).__name__}: {error}"]
    if not hasattr(model, "predict_proba"):
        return [
            f"estimator {kind.__name__} has no predict_proba with these params; take one that "
            "has, or wrap it in sklearn.calibration.CalibratedClassifierCV in a module of yours"
        ]
    return []


def _own_defaults(kind: type) -> Mapping[str, Any]:
    """What scikit-learn's interface tells of a fresh instance."""
    try:
        return dict(kind().get_params())
    except Exception:  # a required argument, or no get_params
        return {}


def hint(name: str, known: tuple[str, ...]) -> str:
    """The nearest known name, or all."""
    return nearest(name, known) or f"; it has {', '.join(known)}"
