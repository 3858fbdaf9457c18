"""The user's mistakes, as one exception tree.

PipelineError
├── ConfigError     a setting is wrong
├── SourceError     the data cannot be had, or is not the data that was named
├── ContractError   a table or a row breaks the contract
├── SearchError     no model could be tuned
├── RegistryError   there is no model to promote or to serve
├── ModelError      a model is not the one that was promoted, or not for this environment
│   └── FilesError  its files are not what was logged
│       └── MissingFilesError  they are gone
└── StoreError      MLflow's store cannot be reached or used

The command line prints the message without a traceback and ends with status 2.
Anything else is a fault of the program and keeps its traceback.
"""

import difflib
from collections.abc import Iterable

LONGEST_NAME = 200  # that is compared with others: a longer one is no slip of the pen


class PipelineError(Exception):
    """A mistake that the user can mend: the message names setting, value, rule and remedy."""


class ConfigError(PipelineError):
    """A setting is wrong."""


class SourceError(PipelineError):
    """The data cannot be had, or is not the data that was named."""


class ContractError(PipelineError):
    """A table or a row breaks the contract.

    `rule` is the kind of the first rule that was broken: columns, type, finite, range, ...
    """

    def __init__(self, message: str, rule: str = "rows") -> None:
        super().__init__(message)
        self.rule = rule


class SearchError(PipelineError):
    """No model could be tuned."""


class RegistryError(PipelineError):
    """There is no model to promote or to serve."""


class ModelError(PipelineError):
    """A model is not the one that was promoted, or not for this environment."""


class FilesError(ModelError):
    """A model's files are not what was logged."""


class MissingFilesError(FilesError):
    """A model's files, or some of them, are gone, and the others are what was logged."""


class StoreError(PipelineError):
    """MLflow's store cannot be reached or used."""


def nearest(name: str, names: Iterable[str]) -> str:
    """A hint such as `, did you mean 'Glucose'?`, or nothing where no name is close."""
    close = closest(name, names)
    return f", did you mean {close!r}?" if close else ""


def closest(name: str, names: Iterable[str]) -> str | None:
    """The name that is most like it, if one is close."""
    lowered = {k.lower(): k for k in names if len(k) <= LONGEST_NAME}
    if len(name) > LONGEST_NAME:
        return None
    close = difflib.get_close_matches(name.lower(), lowered, n=1, cutoff=0.65)
    return lowered[close[0]] if close else None
