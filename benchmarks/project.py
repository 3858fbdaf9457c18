"""A copy of the project to measure in, and the environment of what runs there."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HERE = Path("benchmarks")  # in the project and in its copies
SHIPPED = ("MLproject", "conda.yaml", "requirements.txt", "configs", "data", "pipeline", HERE)
NOT_COPIED = shutil.ignore_patterns("__pycache__", "mlruns", "mlflow.db*")
NOT_KEPT = ("MLFLOW_", "PYTHONDONTWRITEBYTECODE")


@contextmanager
def copied(folder: Path) -> Iterator[Path]:
    """What a clone holds, without what runs have left; deleted at the end."""
    with tempfile.TemporaryDirectory(dir=folder, ignore_cleanup_errors=True) as name:
        copy = Path(name)
        for shipped in SHIPPED:
            if (ROOT / shipped).is_file():
                shutil.copy(ROOT / shipped, copy)
            else:
                shutil.copytree(ROOT / shipped, copy / shipped, ignore=NOT_COPIED)
        (copy / "mlruns").mkdir()
        yield copy


def environment(copy: Path, bytecode: Path) -> dict[str, str]:
    """The user's, without settings for MLflow, and with bytecode of this benchmark's own.

    So it does not count whether the installed packages came with bytecode.
    """
    kept = {key: value for key, value in os.environ.items() if not key.startswith(NOT_KEPT)}
    programs = [str(Path(sys.executable).parent), kept.get("PATH", os.defpath)]
    return {
        **kept,
        "PATH": os.pathsep.join(programs),
        "PYTHONPATH": os.pathsep.join([str(copy), str(copy / HERE)]),
        "PYTHONPYCACHEPREFIX": str(bytecode),
    }
