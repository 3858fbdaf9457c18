"""The environment that libraries read when they are imported."""

import getpass
import os
from collections.abc import MutableMapping
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
# With either set, prometheus_client counts in that folder, which may be absent, others' or old.
PROMETHEUS = ("PROMETHEUS_MULTIPROC_DIR", "prometheus_multiproc_dir")


def prepare(environ: MutableMapping[str, str], folder: Path | None) -> None:
    """Lets libraries write into the project or `folder`, for temporary files, and not to the home.

    A container's user may have no home, no name, or a home that cannot be written. What the user
    has set stays, but for Prometheus's folder. Without `folder`, libraries write where they like.
    Processes that are started later inherit the environment.
    """
    for name in PROMETHEUS:
        environ.pop(name, None)
    if not _has_name():
        environ["LOGNAME"] = f"uid {os.geteuid()}"
    environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # it has an id of its own in the home
    if folder is None:
        return
    environ.setdefault("MPLCONFIGDIR", str(_cache(folder) / "matplotlib"))
    environ.setdefault("SKB_DATA_DIRECTORY", str(folder / "skrub"))
    home = os.path.expanduser("~")
    if home == "~":  # nobody knows it, and Python's Path.home() raises
        home = environ["HOME"] = str(folder)
    if not _takes_caches(home):  # fontconfig's, and those of a user's own estimators
        environ.setdefault("XDG_CACHE_HOME", str(folder / "cache"))


def _cache(folder: Path) -> Path:
    """The project's, so that fonts are looked for once, unless it cannot be written."""
    cache = PROJECT / ".cache"
    try:
        cache.mkdir(exist_ok=True)
    except OSError:
        return folder
    return cache if os.access(cache, os.W_OK | os.X_OK) else folder


def _has_name() -> bool:
    try:
        return bool(getpass.getuser())
    except (KeyError, OSError):
        return False


def _takes_caches(home: str) -> bool:
    caches = f"{home}/.cache"
    return os.access(caches if os.path.exists(caches) else home, os.W_OK | os.X_OK)
