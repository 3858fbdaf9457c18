"""What a step's result depends on: settings, data, code and library versions."""

import ast
import hashlib
import json
import platform
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pipeline.config.sections import Config
from pipeline.config.write import as_set as column_as_set
from pipeline.models import import_paths
from pipeline.verbs import VERBS, needed

PACKAGE = Path(__file__).resolve().parent
UNCOUNTED = (  # they change where or how fast, not what
    "data.source",
    "data.sha256",
    "data.timeout",
    "data.max_bytes",
    "tune.parallelism",
    "tune.backend",
    "spark.master",
)
EXTENT = ("tune.max_evals", "tune.timeout", "tune.trial_timeout", "tune.patience", "train.max_rows")


def inputs(step: str, config: Config, digest: str) -> dict[str, Any]:
    """Everything that the step's result depends on, flat: name -> value."""
    steps = [VERBS[name] for name in needed(step)]
    sections = [section for one in steps for section in one.sections]
    libraries = dict.fromkeys(library for one in steps for library in one.libraries)
    every = flatten(config)
    others = {key: every[key] for one in steps for key in one.settings}
    settings = {**flatten(config, sections), **others}
    estimators = config.tune.import_paths() if "tune" in sections else ()
    return {
        **{key: value for key, value in settings.items() if key not in UNCOUNTED},
        "data digest": digest,
        "code": _code(step),
        "python": platform.python_version(),
        **{library: version(library) for library in libraries},
        **import_paths.versions(estimators),
    }


def fingerprint(inputs: Mapping[str, Any]) -> str:
    """sha256 over the inputs."""
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()


def search(tune_inputs: Mapping[str, Any], families: Sequence[str]) -> str:
    """The fingerprint of a search of those families, however far it has come.

    More trials go on with it.
    """
    counted = {key: value for key, value in tune_inputs.items() if key not in EXTENT}
    return fingerprint({**counted, "tune.families": list(families)})


def flatten(config: Config, sections: Collection[str] | None = None) -> dict[str, Any]:
    """`{"tune.seed": 0, ...}`; of a column's description what was set, in one value."""
    return _flat(config, Config.model_fields if sections is None else sections, only_set=False)


def as_set(config: Config) -> dict[str, Any]:
    """The settings that the config and the command have set, flat; the others have defaults."""
    return _flat(config, Config.model_fields, only_set=True)


def _flat(config: Config, sections: Collection[str], *, only_set: bool) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for section in sections:
        tree = getattr(config, section).model_dump(mode="json", exclude_unset=only_set)
        for name, value in tree.items():
            if name == "columns":
                continue
            if isinstance(value, dict):
                flat |= {f"{section}.{name}.{key}": inner for key, inner in value.items()}
            else:
                flat[f"{section}.{name}"] = value
    if "data" in sections:
        for name, column in config.data.columns.items():
            settings = column_as_set(column)
            if column.kind == "number":
                del settings["kind"]  # where none is said, as in every earlier run
            flat[f"data.columns.{name}"] = settings
    return flat


def _code(step: str) -> str:
    """sha256 (12 digits) over the sources that the step and the ones before it run."""
    modules = [module for name in needed(step) for module in VERBS[name].modules]
    digest = hashlib.sha256()
    for path in sorted(_closure(modules)):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def _closure(modules: Iterable[str]) -> set[Path]:
    """The files of the modules and of all that they import of the project, packages included.

    Raises ModuleNotFoundError for a module that the project does not have.
    """
    waiting = list(modules)
    files: set[Path] = set()
    while waiting:
        name = waiting.pop()
        path = _file(name)
        if path is None:
            raise ModuleNotFoundError(f"pipeline has no module {name!r}", name=name)
        if path not in files:
            files.add(path)
            waiting += [*_packages(name), *_imports(path)]
    return files


def _file(module: str) -> Path | None:
    """The source of a module or of a package, "" for the project's own; None if there is none."""
    place = PACKAGE.joinpath(*module.split("."))
    candidates = (place / "__init__.py", place.with_suffix(".py"))
    return next((path for path in candidates if path.is_file()), None)


def _packages(module: str) -> Iterator[str]:
    """The packages that Python loads before a module: "" and "models" of "models.families"."""
    parts = module.split(".")
    return (".".join(parts[:depth]) for depth in range(len(parts)))


@cache
def _imports(path: Path) -> tuple[str, ...]:
    """The project's modules that a module of it may import, anywhere but for its annotations."""
    modules: list[str] = []
    for node in _statements(ast.parse(path.read_text("utf-8"))):
        match node:
            case ast.ImportFrom(module=str(name), names=aliases) if _is_ours(name):
                inside = _inside(name)
                below = [f"{inside}.{alias.name}".lstrip(".") for alias in aliases]
                modules += [inside, *(one for one in below if _file(one) is not None)]
            case ast.Import(names=aliases):
                modules += [_inside(alias.name) for alias in aliases if _is_ours(alias.name)]
    return tuple(modules)


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    """The statements below a node but for those of `if TYPE_CHECKING`, which never run."""
    for child in ast.iter_child_nodes(node):
        is_for_types = isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"
        if not is_for_types and not isinstance(child, ast.expr):
            yield child
            yield from _statements(child)


def _is_ours(module: str) -> bool:
    return module.split(".", maxsplit=1)[0] == "pipeline"


def _inside(module: str) -> str:
    return module.removeprefix("pipeline").lstrip(".")
