"""What MLflow raises when its store cannot be used, as an error for people."""

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import mlflow
from alembic.util import CommandError
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.utils.credentials import read_mlflow_creds
from requests.exceptions import HTTPError, RequestException
from sqlalchemy.exc import ArgumentError, DBAPIError

from pipeline.errors import StoreError
from pipeline.tracking import local_store

FULL = (errno.ENOSPC, errno.EDQUOT)
UNWRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS)
HALF_MADE = re.compile("already exists|duplicate column|no such (table|column)")
FULL_DATABASE = re.compile("disk is full|disk full|No space left", re.IGNORECASE)
LEAST_REFUSAL, LEAST_FAILURE = 400, 500  # status codes: what is refused, and what has failed
UNAUTHORIZED, FORBIDDEN = 401, 403
REGISTERED_MODEL, EXPERIMENT, RUN = "registered model", "experiment", "run"
KINDS = {"registered-models": REGISTERED_MODEL, "model-versions": REGISTERED_MODEL}
DISTRIBUTIONS = {  # of the drivers of databases whose names differ from their module's
    "psycopg": "'psycopg[binary]'",
    "psycopg2": "psycopg2-binary",
    "MySQLdb": "mysqlclient",
}
READING = ("get", "search", "list", "download", "batch-get")  # how the names of calls begin
CALL = re.compile(r"/mlflow(?:-artifacts)?/([a-z-]+)(?:/([a-z-]+))?")


def mistake(error: BaseException, model: str | None = None) -> StoreError | None:
    """The same for people; None for what is no matter of the store, but a fault of the program.

    `model` is the name of the registered model that the command is about.
    """
    for one in _chain(error):
        message = _of_disk(one) or _of_server(one, model) or _of_database(one)
        if message:
            return StoreError(message)
    try:
        MlflowClient()
    except ModuleNotFoundError as fault:
        package = DISTRIBUTIONS.get(str(fault.name), fault.name)
        why = f"the Python package {fault.name} is not installed: `pip install {package}`"
        return StoreError(_cannot_be_used(why))
    except (MlflowException, ArgumentError) as fault:  # of an address that MLflow does not take
        return StoreError(_cannot_be_used(_line(fault)))
    return None


@contextmanager
def tolerated() -> Iterator[None]:
    """Goes on where the store cannot be used."""
    try:
        yield
    except Exception as error:
        if mistake(error) is None:
            raise


def is_forbidden(error: BaseException) -> bool:
    """Whether a server with accounts does not let this one do it."""
    return _status(error) == FORBIDDEN


def is_refusal(error: BaseException) -> bool:
    """Whether the store has answered that it will not do it: it did not merely fail."""
    return LEAST_REFUSAL <= (_status(error) or 0) < LEAST_FAILURE


def missing_right(right: str, kind: str, which: str | None = None) -> str:
    """What a 403 says, and what to do."""
    account = _account()
    who = f"the account {account!r}" if account else "this account"
    name = f" {which!r}" if which else ""
    return (
        f"{_address()}: {who} does not have the right {right} on the {kind}{name}; "
        "ask an account that may MANAGE it, or the server's administrator, to grant it"
    )


def masked(address: str) -> str:
    """An address without the user and the password in it."""
    bare = re.sub(r"(?<=://)[^/]*@", "", address)
    return re.sub(r"(?i)(password|pwd|token|secret)=[^&]*", r"\1=***", bare)


def _of_disk(error: BaseException) -> str:
    name = getattr(error, "filename", None)
    number = getattr(error, "errno", None) if isinstance(error, OSError) else None
    is_full = isinstance(error, DBAPIError | MlflowException) and FULL_DATABASE.search(str(error))
    if number in FULL or is_full:
        where = name or masked(mlflow.get_tracking_uri())
        return f"{where} cannot be written: there is no room left on the disk; make room"
    if number in UNWRITABLE and name:
        reason = getattr(error, "strerror", "")
        return f"{name} cannot be written or read: {reason}; mend its permissions"
    return ""


def _of_server(error: BaseException, model: str | None) -> str:
    status = _status(error)
    if status == FORBIDDEN:
        return f"{_missing(error, model)} ({_line(error)})"
    if status == UNAUTHORIZED:
        return (
            f"{_address()} refuses: {_line(error)}; "
            "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or the token"
        )
    if isinstance(error, RequestException) and status is None:
        why = getattr(error.args[0] if error.args else error, "reason", error)  # not the retries
        return (
            f"{_address()} cannot be reached: {_line(why)}; "
            "is the server up, and the address right?"
        )
    return ""


def _of_database(error: BaseException) -> str:
    is_broken = isinstance(error, DBAPIError) and HALF_MADE.search(str(error.orig))
    if is_broken or isinstance(error, CommandError):
        path = local_store.path_of(mlflow.get_tracking_uri())
        remedy = f"move {path} away, and the next run makes a new one" if path else "restore it"
        reason = _line(getattr(error, "orig", error))
        why = "its tables were left half made, or by another version of MLflow"
        return _cannot_be_used(f"{why} ({reason}); {remedy}")
    if not isinstance(error, DBAPIError):
        return ""
    reason = _line(error.orig or error)
    if "database is locked" in reason:
        return _cannot_be_used(f"{reason}; another process writes to it: wait until it has ended")
    return _cannot_be_used(f"{reason}; is it MLflow's database, and may you write to it?")


def _missing(error: BaseException, model: str | None) -> str:
    """Which right the call needs that was forbidden, by its name."""
    response = getattr(error, "response", None)
    call = CALL.search(str(error) if response is None else f"{response.url} {error}")
    subject, action = (call[1], call[2] or "") if call else ("", "")
    right = "EDIT"
    if action.startswith(READING) or (subject == "artifacts" and _is_reading(error)):
        right = "READ"
    elif action.startswith("delete"):
        right = "MANAGE"
    kind = KINDS.get(subject, EXPERIMENT)
    return missing_right(right, kind, model if kind == REGISTERED_MODEL else _experiment())


def _is_reading(error: BaseException) -> bool:
    request = getattr(error, "request", None)
    return request is not None and request.method == "GET"


def _experiment() -> str:
    """The name of the experiment that the environment says, or its id."""
    name = mlflow.environment_variables.MLFLOW_EXPERIMENT_NAME.get()
    return str(name or mlflow.environment_variables.MLFLOW_EXPERIMENT_ID.get() or "Default")


def _status(error: BaseException) -> int | None:
    """The HTTP status code that the server has answered with."""
    if isinstance(error, HTTPError) and error.response is not None:
        return int(error.response.status_code)
    if isinstance(error, MlflowException):
        return int(error.get_http_status_code())
    return None


def _account() -> str | None:
    user: str | None = urlsplit(mlflow.get_tracking_uri()).username or read_mlflow_creds().username
    return user


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error, and what it came from."""
    link: BaseException | None = error
    while link is not None:
        yield link
        link = link.__cause__ or link.__context__


def _address() -> str:
    return f"MLFLOW_TRACKING_URI {masked(mlflow.get_tracking_uri())!r}"


def _cannot_be_used(why: str) -> str:
    return f"{_address()} cannot be used: {why}"


def _line(error: object) -> str:
    return " ".join(str(error).split())
