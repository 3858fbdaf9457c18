"""What a step's result depends on: settings, data, code and library versions."""

import ast
import hashlib
import json
import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pipeline.config.sections import Config
from pipeline.models import import_paths as packages

PACKAGE = Path(__file__).resolve().parent
UNCOUNTED = (  # they change where or how fast, not what
    "data.source",
    "data.sha256",
    "data.timeout",
    "tune.parallelism",
    "tune.backend",
)
EXTENT = ("tune.max_evals", "tune.timeout", "tune.trial_timeout", "tune.patience")
NUMERIC = ("numpy", "scipy", "pandas", "scikit-learn")


@dataclass(frozen=True)
class Step:
    """A step's place in the flow and what counts for its result, beyond what it needs."""

    needs: tuple[str, ...]
    sections: tuple[str, ...]
    libraries: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()


STEPS: dict[str, Step] = {
    "ingest": Step(needs=(), sections=("data", "split"), libraries=(*NUMERIC, "pyarrow")),
    "analyze": Step(needs=("ingest",), sections=(), libraries=("skrub", "matplotlib")),
    "tune": Step(needs=("ingest",), sections=("tune",), libraries=("hyperopt",)),
    "train": Step(
        needs=("tune",),
        sections=("train",),
        libraries=("mlflow", "onnx", "onnxruntime"),
        modules=("inference.mlflow_flavor", "export.compilation"),
    ),
    "evaluate": Step(needs=("train",), sections=("evaluate",)),
    "promote": Step(
        needs=("evaluate",), sections=("gate", "registry"), modules=("promotion.select",)
    ),
    "compare": Step(needs=("ingest",), sections=("evaluate",)),
    "audit": Step(
        needs=("ingest",),
        sections=("tune", "train", "audit"),
        libraries=("hyperopt",),
        modules=("steps.procedure",),
    ),
}
MAIN = tuple(step for step in STEPS if step not in ("audit", "compare"))  # what `run` runs


def needed(step: str) -> tuple[str, ...]:
    """The step and all that come before it, in the order in which they run."""
    before = [name for need in STEPS[step].needs for name in needed(need)]
    return (*dict.fromkeys(before), step)


def inputs(step: str, config: Config, digest: str) -> dict[str, Any]:
    """Everything that the step's result depends on, flat: name -> value."""
    steps = [STEPS[name] for name in needed(step)]
    sections = [section for step in steps for section in step.sections]
    settings = flatten(config, sections)
    estimators = config.tune.import_paths()
    libraries = dict.fromkeys(library for step in steps for library in step.libraries)
    return {
        **{key: value for key, value in settings.items() if key not in UNCOUNTED},
        "data digest": digest,
        "code": _code(step),
        "python": platform.python_version(),
        **{library: version(library) for library in libraries},
        **(packages.versions(estimators) if "tune" in sections else {}),
    }


def fingerprint(inputs: Mapping[str, Any]) -> str:
    """sha256 over the inputs."""
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()


def search(tune_inputs: Mapping[str, Any]) -> str:
    """The fingerprint of a search, however far it has come: more trials go on with it."""
    return fingerprint({key: value for key, value in tune_inputs.items() if key not in EXTENT})


def flatten(config: Config, sections: Iterable[str] | None = None) -> dict[str, Any]:
    """`{"tune.seed": 0, ...}`; of a column's description what was set, in one value."""
    flat: dict[str, Any] = {}
    for section in Config.model_fields if sections is None else sections:
        for name, value in getattr(config, section).model_dump(mode="json").items():
            if name == "columns":
                continue
            if isinstance(value, dict):
                flat |= {f"{section}.{name}.{key}": inner for key, inner in value.items()}
            else:
                flat[f"{section}.{name}"] = value
    if sections is None or "data" in sections:
        for name, column in config.data.columns.items():
            flat[f"data.columns.{name}"] = column.model_dump(mode="json", exclude_defaults=True)
    return flat


def _code(step: str) -> str:
    """sha256 (12 digits) over the sources that the step and the ones before it run."""
    modules = [f"steps.{name}" for name in needed(step)]
    modules += [module for name in needed(step) for module in STEPS[name].modules]
    digest = hashlib.sha256()
    for path in sorted(_closure(modules)):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def _closure(modules: Iterable[str]) -> set[Path]:
    """The files of the modules and of all that they import of the project."""
    waiting = list(modules)
    found: set[Path] = set()
    while waiting:
        path = PACKAGE.joinpath(*waiting.pop().split(".")).with_suffix(".py")
        if path not in found and path.exists():
            found.add(path)
            waiting += _imports(path)
    return found


@cache
def _imports(path: Path) -> tuple[str, ...]:
    """The project's modules that a module of it may import, anywhere in it."""
    found: list[str] = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "pipeline":
            inside = (node.module or "").removeprefix("pipeline").lstrip(".")
            found += [inside, *(f"{inside}.{alias.name}".lstrip(".") for alias in node.names)]
    return tuple(filter(None, found))
