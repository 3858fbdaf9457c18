"""The run and the experiment that the environment names, checked before anything begins."""

from collections.abc import Callable
from typing import TypeVar

from mlflow import MlflowClient
from mlflow.entities import Experiment, LifecycleStage
from mlflow.environment_variables import MLFLOW_EXPERIMENT_ID, MLFLOW_EXPERIMENT_NAME, MLFLOW_RUN_ID
from mlflow.exceptions import MlflowException
from mlflow.tracking.default_experiment.registry import get_experiment_id

from pipeline.errors import ConfigError

ABSENT = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")  # no such one, or no id of one
T = TypeVar("T")
LOOK = "`mlflow experiments search` lists them"


def names_any() -> bool:
    """Whether the environment names a run or an experiment."""
    return bool(names_run() or MLFLOW_EXPERIMENT_ID.get() or MLFLOW_EXPERIMENT_NAME.get())


def names_run() -> bool:
    """Whether the environment names a run, as `mlflow run` does."""
    return bool(MLFLOW_RUN_ID.get())


def experiment_id(*, make: bool = True) -> str | None:
    """The id of the experiment for new runs; None where the environment names a run.

    An experiment that is named and not there is made, if wanted. Raises ConfigError for a run or an
    experiment that cannot be used.
    """
    if names_run():
        _check_run(str(MLFLOW_RUN_ID.get()))
        return None
    name = MLFLOW_EXPERIMENT_NAME.get()
    if not name:
        return _by_id()
    setting = f"{MLFLOW_EXPERIMENT_NAME.name} is {name!r}"
    experiment = _asked(setting, MlflowClient().get_experiment_by_name, name)
    if experiment is None:
        return _made(setting, name) if make else None
    _check_active(setting, experiment)
    other = MLFLOW_EXPERIMENT_ID.get()
    if other and other != experiment.experiment_id:
        raise ConfigError(
            f"{setting}, whose id is {experiment.experiment_id}, and {MLFLOW_EXPERIMENT_ID.name} "
            f"is {other!r}: unset one of them"
        )
    return str(experiment.experiment_id)


def _by_id() -> str | None:
    named = MLFLOW_EXPERIMENT_ID.get()
    number = named or get_experiment_id()
    if number is None:
        return None
    setting = f"{MLFLOW_EXPERIMENT_ID.name} is {named!r}" if named else "no experiment is named"
    _check_active(setting, _asked(setting, MlflowClient().get_experiment, number))
    return str(number)


def _made(setting: str, name: str) -> str:
    try:
        return str(_asked(setting, MlflowClient().create_experiment, name))
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
        experiment = MlflowClient().get_experiment_by_name(name)  # of one who came first
        if experiment is None:
            raise
        return str(experiment.experiment_id)


def _check_run(run_id: str) -> None:
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
