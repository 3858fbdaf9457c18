"""Where the files that a config names are looked for."""

import os
from pathlib import Path

SHELLS = ("bash", "sh", "dash")
PROJECT = Path(__file__).resolve().parents[2]


def locate(path: str) -> Path:
    """A path as given; a relative one in the first of `folders` that has it, or in the last."""
    given = Path(path)
    if given.is_absolute():
        return given
    candidates = [folder / given for folder in folders()]
    return next((one for one in candidates if one.exists()), candidates[-1])


def folders() -> list[Path]:
    """Where relative paths are looked for: here, where `mlflow run` was called, in the project."""
    return list(dict.fromkeys((Path.cwd(), *_folder_of_caller(), PROJECT)))


def looked_for(path: str) -> str:
    """Where a file was looked for, for a message that it is not there."""
    if Path(path).is_absolute():
        return ""
    return f"; it was looked for in {', '.join(map(str, folders()))}"


def _folder_of_caller() -> list[Path]:
    """`mlflow run` goes to the project's folder before it starts this process, through a shell."""
    if not os.environ.get("MLFLOW_RUN_ID"):
        return []
    import psutil  # late: few need it

    try:
        caller = psutil.Process().parent()
        while caller is not None and caller.name() in SHELLS and "-c" in caller.cmdline():
            caller = caller.parent()
        return [Path(caller.cwd())] if caller is not None else []
    except (psutil.Error, OSError):  # it has ended, or is another user's
        return []
