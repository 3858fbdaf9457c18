"""From a table of data to a trusted REST endpoint on MLflow: `from pipeline import run`."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.api import run as run

__all__ = ("run",)


def __getattr__(name: str) -> Any:
    """Imported when it is asked for. By its name: no step's code depends on the flow above it."""
    if name in __all__:
        return vars(import_module("pipeline.api"))[name]
    raise AttributeError(f"module 'pipeline' has no attribute {name!r}")
