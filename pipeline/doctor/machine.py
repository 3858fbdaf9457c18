"""What this machine must offer: libraries, room on the disk, a port, files of the right users."""

import os
import platform
import shutil
import socket
import stat
import tempfile
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from mlflow.environment_variables import MLFLOW_ALLOW_PICKLE_DESERIALIZATION
from packaging.requirements import Requirement

from pipeline import temporary
from pipeline.command_line import PROGRAM
from pipeline.config.paths import PROJECT
from pipeline.config.sections import Config
from pipeline.doctor.finding import Finding, wrong
from pipeline.errors import ConfigError
from pipeline.server import api_keys

PYTHON = "3.11"
LOCK, SPARK_LOCK = "requirements.txt", "requirements-spark.txt"
LEAST_ROOM = 2**30  # bytes
MOST_NAMED = 5
OTHERS = stat.S_IRWXG | stat.S_IRWXO


def libraries(_: Config) -> Iterator[Finding]:
    """Python, and the libraries of the lock."""
    subject, here = "Python and libraries", platform.python_version()
    lock = SPARK_LOCK if _installed("pyspark") else LOCK
    command = f"uv pip install -r {lock} --compile-bytecode"
    if not here.startswith(f"{PYTHON}."):
        yield wrong(subject, f"Python is {here}; the lock is for {PYTHON}", f"uv venv -p {PYTHON}")
        return
    differing = [
        f"{name} {_installed(name) or 'missing'} (locked {locked})"
        for name, locked in _locked(PROJECT / lock)
        if _installed(name) != locked
    ]
    if differing:
        more = f" and {len(differing) - MOST_NAMED} more" if len(differing) > MOST_NAMED else ""
        yield wrong(subject, f"unlike {lock}: {', '.join(differing[:MOST_NAMED])}{more}", command)
    else:
        yield Finding(subject, f"Python {here}, and all libraries are those of {lock}")


def _locked(path: Path) -> Iterator[tuple[str, str]]:
    """Names and versions of the lock that hold on this machine."""
    for line in path.read_text("utf-8").splitlines():
        text = line.removesuffix("\\").strip()
        if "==" not in text or text.startswith(("#", "--")):
            continue
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate():
            yield requirement.name, str(requirement.specifier).removeprefix("==")


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def pickles(_: Config) -> Iterator[Finding]:
    """MLflow's switch, without which no model of this project loads."""
    name = MLFLOW_ALLOW_PICKLE_DESERIALIZATION.name
    if MLFLOW_ALLOW_PICKLE_DESERIALIZATION.get():
        yield Finding(name, "pickled models may be loaded")
    else:
        message = f"is {os.environ.get(name)!r}: `mlflow models serve` loads no pickled model"
        yield wrong(name, message, f"unset {name}")


def temporary_files(_: Config) -> Iterator[Finding]:
    """Room for temporary files, and what dead processes of other users' have left there."""
    directory = Path(tempfile.gettempdir())
    folder = directory.parent if directory.name.startswith(temporary.PREFIX) else directory
    yield room("temporary files", folder, "set TMPDIR to a folder with more room")
    left = temporary.left_behind(folder)  # by now: each start removes what it may
    if left:
        message = f"folders of processes that were killed: {len(left)}, such as {left[0]}"
        yield wrong("temporary files", message, f"rm -r {' '.join(map(str, left))}")
    else:
        yield Finding("temporary files", "no process that was killed has left any")


def room(subject: str, folder: Path, remedy: str) -> Finding:
    """Whether the disk of a folder has room."""
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    text = f"{folder} has {free / 2**30:.1f} GiB left"
    return Finding(subject, text) if free >= LEAST_ROOM else wrong(subject, f"{text}; {remedy}")


def port(config: Config) -> Iterator[Finding]:
    """Whether a server could listen where the config says."""
    serve, subject = config.serve, "port"
    address = f"{serve.host}:{serve.port}"
    try:
        with socket.create_server((serve.host, serve.port)):
            pass
    except OSError as error:
        message = f"{address} is taken or forbidden ({error.strerror}): a server may be up already"
        yield wrong(subject, message, f"{PROGRAM} serve --serve.port 8081")
    else:
        yield Finding(subject, f"{address} is free")


def keys(config: Config) -> Iterator[Finding]:
    """Whether the file of API keys can be read, and by its owner alone."""
    subject, path = "serve.keys", config.serve.keys
    if path is None:
        yield Finding(subject, "no file of API keys is named")
        return
    try:
        api_keys.load(path)
    except ConfigError as error:
        yield wrong(subject, str(error))
        return
    mode = stat.S_IMODE(Path(path).stat().st_mode)
    if mode & OTHERS:
        message = f"{path} may be read or written by others ({mode:o})"
        yield wrong(subject, message, f"chmod 600 {path}", lambda: Path(path).chmod(0o600))
    else:
        yield Finding(subject, f"{path} holds keys, for its owner alone")
