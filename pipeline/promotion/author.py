"""Who decides: for the record."""

import getpass
import os
import subprocess

import mlflow
from mlflow.exceptions import MlflowException
from mlflow.utils.credentials import get_default_host_creds
from mlflow.utils.rest_utils import http_request
from mlflow.utils.uri import is_http_uri
from requests.exceptions import RequestException

VARIABLE = "PIPELINE_USER"
CURRENT_USER = "/api/2.0/mlflow/users/current"
HTTP_OK = 200


def author() -> str:
    """The account on a server with accounts, with what PIPELINE_USER says before it.

    Elsewhere what PIPELINE_USER says, or else the name in git's config, or else the login.
    """
    name, account = os.environ.get(VARIABLE, "").strip(), _account()
    if account:
        return f"{name} (account {account})" if name not in ("", account) else account
    return name or _of_git() or _login()


def _account() -> str:
    """Who the server takes this user for; nothing where it has no accounts."""
    address = mlflow.get_tracking_uri()
    if not is_http_uri(address):
        return ""
    credentials = get_default_host_creds(address)
    try:
        response = http_request(credentials, CURRENT_USER, "GET", raise_on_status=False)
        if response.status_code == HTTP_OK:
            return str(response.json()["user"]["username"])
    except (MlflowException, RequestException, ValueError, KeyError, TypeError):
        pass  # a server without accounts may answer anything, its page too
    return ""


def _of_git() -> str:
    try:
        result = subprocess.run(
            ["git", "config", "user.name"],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
    except OSError:  # there is no git
        return ""
    return result.stdout.strip()


def _login() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return f"uid {os.getuid()}"
