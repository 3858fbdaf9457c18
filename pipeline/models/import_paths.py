"""Where the classes that a config names come from: installed packages, or files of the user."""

import hashlib
import os
import shutil
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.metadata import packages_distributions, version
from importlib.util import find_spec
from pathlib import Path

from pipeline.errors import ConfigError


def distributions(paths: Iterable[str]) -> dict[str, str]:
    """The installed packages that the import paths lead to, with their versions."""
    tops = {path.partition(".")[0] for path in paths}
    if not tops:
        return {}
    owners = _owners()
    names = sorted({name for top in tops for name in owners.get(top, ())})
    return {name: version(name) for name in names}


def files(paths: Iterable[str]) -> list[Path]:
    """The modules or package folders of the import paths that no installed package owns."""
    tops = sorted({path.partition(".")[0] for path in paths})
    owners = _owners() if tops else {}
    modules: list[Path] = []
    for top in tops:
        spec = None if top in owners else find_spec(top)
        if spec is not None and spec.submodule_search_locations:
            modules += map(Path, spec.submodule_search_locations)
        elif spec is not None and spec.has_location and spec.origin is not None:
            modules.append(Path(spec.origin))
    return modules


def versions(paths: Iterable[str]) -> dict[str, str]:
    """What a result depends on: versions of packages, digests of the user's modules."""
    paths = tuple(paths)
    return {
        **distributions(paths),
        **{f"module {file.stem}": _digest(file) for file in files(paths)},
    }


@cache
def _owners() -> Mapping[str, list[str]]:
    """Read once: it opens every package's metadata."""
    return packages_distributions()


def _digest(file: Path) -> str:
    """sha256 (12 digits) of a module, or of all modules of a folder."""
    digest = hashlib.sha256()
    for module in sorted(file.rglob("*.py")) if file.is_dir() else [file]:
        digest.update(module.read_bytes())
    return digest.hexdigest()[:12]


def check_spark(
    setting: str = "tune.backend is 'spark'", remedy: str = "set tune.backend to local"
) -> None:
    """Raises ConfigError where Spark cannot start, though the setting asks for it."""
    if find_spec("pyspark") is None:
        raise ConfigError(
            f"{setting}, but PySpark is not installed; install requirements-spark.txt in place of "
            f"requirements.txt, or {remedy}"
        )
    if shutil.which("java") is None and not os.environ.get("JAVA_HOME"):
        raise ConfigError(
            f"{setting}, but there is no java on the PATH and no JAVA_HOME; install Java 17 or "
            f"later, or {remedy}"
        )
