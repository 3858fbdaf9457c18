"""What MLflow raises when its store cannot be used, as an error for people."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import mlflow
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from requests.exceptions import RequestException
from sqlalchemy.exc import DBAPIError

from pipeline.errors import StoreError

FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT)
REFUSED = ("UNAUTHENTICATED", "PERMISSION_DENIED", "CUSTOMER_UNAUTHORIZED")


def mistake(error: BaseException) -> StoreError | None:
    """The same for people; None for what is no matter of the store, but a fault of the program."""
    address = _address()
    for one in _chain(error):
        if isinstance(one, RequestException):
            why = getattr(one.args[0] if one.args else one, "reason", one)  # without the retries
            return StoreError(
                f"{address} cannot be reached: {_line(why)}; "
                "is the server up, and the address right?"
            )
        if isinstance(one, DBAPIError):
            return StoreError(
                f"{address} cannot be used: {_line(one.orig or one)}; is it MLflow's database, "
                "and may you write to it?"
            )
        if isinstance(one, OSError) and one.filename and one.errno in FORBIDDEN:
            return StoreError(
                f"{one.filename} cannot be written or read: {one.strerror}; "
                "mend its permissions, or make room"
            )
        if isinstance(one, MlflowException) and one.error_code in REFUSED:
            return StoreError(
                f"{address} refuses: {_line(one)}; "
                "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or the token"
            )
    try:
        MlflowClient()
    except MlflowException as fault:  # of an address that MLflow does not take
        return StoreError(f"{address} cannot be used: {_line(fault)}")
    return None


@contextmanager
def tolerated() -> Iterator[None]:
    """Goes on where the store cannot be used."""
    try:
        yield
    except Exception as error:
        if mistake(error) is None:
            raise


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error, and what it came from."""
    found: BaseException | None = error
    while found is not None:
        yield found
        found = found.__cause__ or found.__context__


def _address() -> str:
    """Of the store, without a password."""
    parts = urlsplit(mlflow.get_tracking_uri())
    shown = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    return f"MLFLOW_TRACKING_URI {shown!r}"


def _line(error: object) -> str:
    return " ".join(str(error).split())
