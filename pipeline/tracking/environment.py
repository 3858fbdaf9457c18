"""The run and the experiment that the environment names, checked before anything begins."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple, TypeVar

from mlflow import MlflowClient
from mlflow.entities import Experiment, LifecycleStage, Run
from mlflow.environment_variables import MLFLOW_EXPERIMENT_ID, MLFLOW_EXPERIMENT_NAME, MLFLOW_RUN_ID
from mlflow.exceptions import MlflowException
from mlflow.tracking.default_experiment import DEFAULT_EXPERIMENT_ID
from mlflow.tracking.default_experiment.registry import get_experiment_id
from mlflow.utils.mlflow_tags import MLFLOW_PROJECT_ENTRY_POINT

from pipeline.errors import ConfigError
from pipeline.tracking import pages

ABSENT = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")  # no such one, or no id of one
T = TypeVar("T")
LOOK = "`mlflow experiments search` lists them"


class Place(NamedTuple):
    """Where a command's own run goes."""

    experiment_id: str | None  # None where the environment names the run
    is_named: bool  # whether anyone has named the experiment
    launcher: Run | None = None  # what `mlflow run` made, where no experiment was named to it


def names_any() -> bool:
    """Whether the environment names a run or an experiment."""
    return bool(names_run() or MLFLOW_EXPERIMENT_ID.get() or MLFLOW_EXPERIMENT_NAME.get())


def names_run() -> bool:
    """Whether the environment names a run, as `mlflow run` does."""
    return bool(MLFLOW_RUN_ID.get())


def place(model: str) -> Place:
    """Where runs for a registered model go: to its own experiment, if none is named.

    `mlflow run` makes its run in Default where no experiment is named to it, and no run can be
    moved: that is the launcher. Raises ConfigError for what cannot be used.
    """
    launcher = None
    if names_run():
        run = _checked_run(str(MLFLOW_RUN_ID.get()))
        if not _is_launcher(run):
            return Place(None, is_named=True)
        launcher = run
    elif number := experiment_id():
        return Place(number, is_named=True)
    setting = f"no experiment is named, so that runs go to {model!r}"
    return Place(_by_name(setting, model), is_named=False, launcher=launcher)


def _is_launcher(run: Run) -> bool:
    """Whether `mlflow run` made it in the experiment that it takes where none is named."""
    return (
        MLFLOW_PROJECT_ENTRY_POINT in run.data.tags
        and run.info.experiment_id == DEFAULT_EXPERIMENT_ID
        and not MLFLOW_EXPERIMENT_NAME.get()
    )


def experiment_id(*, make: bool = True) -> str | None:
    """The id of the experiment that the environment names; None where it names a run, or none.

    An experiment that is named and not there is made, if wanted. Raises ConfigError for a run or an
    experiment that cannot be used.
    """
    if names_run():
        _checked_run(str(MLFLOW_RUN_ID.get()))
        return None
    name = MLFLOW_EXPERIMENT_NAME.get()
    if not name:
        return _by_id()
    setting = f"{MLFLOW_EXPERIMENT_NAME.name} is {name!r}"
    number = _by_name(setting, name, make=make)
    other = MLFLOW_EXPERIMENT_ID.get()
    if number and other and other != number:
        raise ConfigError(
            f"{setting}, whose id is {number}, and {MLFLOW_EXPERIMENT_ID.name} "
            f"is {other!r}: unset one of them"
        )
    return number


def _by_name(setting: str, name: str, *, make: bool = True) -> str | None:
    experiment = _asked(setting, MlflowClient().get_experiment_by_name, name)
    if experiment is None:
        return _made(setting, name) if make else None
    _check_active(setting, experiment)
    return str(experiment.experiment_id)


def _by_id() -> str | None:
    named = MLFLOW_EXPERIMENT_ID.get()
    number = named or get_experiment_id()
    if number is None or (not named and number == DEFAULT_EXPERIMENT_ID):
        return None
    setting = f"{MLFLOW_EXPERIMENT_ID.name} is {named!r}" if named else "no experiment is named"
    _check_active(setting, _asked(setting, MlflowClient().get_experiment, number))
    return str(number)


def _made(setting: str, name: str) -> str:
    try:
        make = partial(MlflowClient().create_experiment, tags=pages.of_experiment())
        return str(_asked(setting, make, name))
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
        experiment = MlflowClient().get_experiment_by_name(name)  # of one who came first
        if experiment is None:
            raise
        return str(experiment.experiment_id)


def _checked_run(run_id: str) -> Run:
    setting = f"{MLFLOW_RUN_ID.name} is {run_id!r}"
    try:
        run = MlflowClient().get_run(run_id)
    except MlflowException as error:
        if error.error_code not in ABSENT:
            raise
        raise ConfigError(
            f"{setting}, and the tracking store has no such run; unset it, or name a run of the UI"
        ) from None
    if run.info.lifecycle_stage != LifecycleStage.ACTIVE:
        raise ConfigError(
            f"{setting}, and that run was deleted; unset it, or restore the run: "
            f"`mlflow runs restore --run-id {run_id}`"
        )
    return run


def _check_active(setting: str, experiment: Experiment) -> None:
    if experiment.lifecycle_stage != LifecycleStage.ACTIVE:
        number = experiment.experiment_id
        raise ConfigError(
            f"{setting}, and the experiment {experiment.name!r} was deleted; name another in "
            f"{MLFLOW_EXPERIMENT_NAME.name}, or restore it: "
            f"`mlflow experiments restore --experiment-id {number}`"
        )


def _asked(setting: str, ask: Callable[[str], T], what: str) -> T:
    try:
        return ask(what)
    except MlflowException as error:
        if error.error_code not in ABSENT:
            raise
        reason = str(error).partition(": ")[2] or str(error)
        raise ConfigError(
            f"{setting}, and there is no such experiment ({reason}); {LOOK}"
        ) from None
