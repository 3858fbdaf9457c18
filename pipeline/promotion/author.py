"""Who decides: for the record."""

import getpass
import os
import subprocess

VARIABLE = "PIPELINE_USER"


def author() -> str:
    """What PIPELINE_USER says, or else the name in git's config, or else the user's login."""
    return os.environ.get(VARIABLE, "").strip() or _of_git() or _login()


def _of_git() -> str:
    try:
        told = subprocess.run(
            ["git", "config", "user.name"],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
    except OSError:  # there is no git
        return ""
    return told.stdout.strip()


def _login() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return f"uid {os.getuid()}"
