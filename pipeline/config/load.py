"""Reads a YAML file and overrides into a Config, and tells all faults at once."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from pipeline.config.sections import MEANT, Config
from pipeline.errors import ConfigError, nearest

SHELLS = ("bash", "sh", "dash")
PROJECT = Path(__file__).resolve().parents[2]


def load(path: str, overrides: Mapping[str, str]) -> Config:
    """The config in `path`, with `{"section.key": "value in YAML"}` laid over it.

    Between the two come the environment's variables for the keys of `serve`.

    Raises ConfigError with one line per fault.
    """
    tree = _read(path)
    for key, text in {**_environment(), **overrides}.items():
        _put(tree, key, _override(key, text))
    try:
        # JSON mode: strict, yet a list is a tuple there, as YAML has lists only.
        return Config.model_validate_json(json.dumps(tree, default=str))
    except ValidationError as error:
        faults = _innermost(error.errors(include_url=False))
        lines = dict.fromkeys(_sentence(fault, tree) for fault in faults)
        raise ConfigError("\n".join([f"{path} is not a valid config:", *lines])) from None


def variable(key: str) -> str:
    """The environment variable of a key: PIPELINE_SERVE_PORT for serve.port."""
    return f"PIPELINE_{key.upper().replace('.', '_')}"


def settings() -> Iterator[tuple[str, FieldInfo]]:
    """Every settable key of the config with its field: `("tune.max_evals", FieldInfo)`."""
    yield from _leaves(Config, "")


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


def _read(path: str) -> dict[str, Any]:
    try:
        text = locate(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        shipped = (f"configs/{p.name}" for p in sorted((PROJECT / "configs").glob("*.yaml")))
        raise ConfigError(
            f"config {path!r} does not exist; there are {', '.join(shipped)}{looked_for(path)}"
        ) from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"config {path!r} cannot be read: {error}") from None
    try:
        tree = _parse(text)
    except ValueError as error:
        raise ConfigError(f"config {path!r} is not valid YAML: {error}") from None
    if not isinstance(tree, dict):
        raise ConfigError(f"config {path!r} must hold sections such as data, split and tune")
    return tree


def _parse(text: str) -> Any:
    """YAML 1.2: no key twice, and `no` is a text. Raises ValueError with line and fault."""
    try:
        tree = YAML(typ="safe", pure=True).load(text)
        _check_keys(tree)
        json.dumps(tree, default=str, ensure_ascii=False).encode()
    except MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise ValueError(f"{line}{error.problem}") from None
    except (YAMLError, RecursionError) as error:
        raise ValueError(str(error)) from None
    return tree


def _check_keys(tree: Any) -> None:
    if isinstance(tree, dict):
        for key in tree:
            if not isinstance(key, str):
                raise ValueError(f"key {_shown(key)} is no text; put it in quotes")
    for inner in (
        tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ()
    ):
        _check_keys(inner)


def _override(key: str, text: str) -> Any:
    field = _field(key.split("."))
    if field is not None and field.annotation in (str, str | None) and text != "null":
        return text  # or a name in digits would become a number
    try:
        return _parse(text)
    except ValueError:
        raise ConfigError(
            f"{key} is {text!r}; it must be a value in YAML, e.g. 3 or [a, b]"
        ) from None


def _environment() -> dict[str, str]:
    """How the endpoint is set up may come from where it runs; what a run results in, may not."""
    keys = {variable(key): key for key, _ in settings() if key.startswith("serve.")}
    given = [name for name in os.environ if name.startswith(variable("serve."))]
    for name in given:
        if name not in keys:
            raise ConfigError(f"the environment's {name} is not a setting{nearest(name, keys)}")
    return {keys[name]: os.environ[name] for name in given}


def _put(tree: dict[str, Any], key: str, value: Any) -> None:
    *sections, last = key.split(".")
    for section in sections:
        child = tree[section] = {} if tree.get(section) is None else tree[section]
        if not isinstance(child, dict):
            raise ConfigError(f"{key} cannot be set: {section!r} is not a section of the config")
        tree = child
    tree[last] = value


def _leaves(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, FieldInfo]]:
    for name, field in model.model_fields.items():
        section = _section(field)
        if section is None or get_origin(field.annotation) is dict:
            yield f"{prefix}{name}", field
        else:
            yield from _leaves(section, f"{prefix}{name}.")


def _innermost(faults: list[ErrorDetails]) -> list[ErrorDetails]:
    """Without those that only follow from a fault inside the same value."""
    faults = [fault for fault in faults if fault["type"] != "default_factory_not_called"]
    outer = {fault["loc"][:depth] for fault in faults for depth in range(len(fault["loc"]))}
    return [fault for fault in faults if fault["loc"] not in outer]


def _sentence(fault: ErrorDetails, tree: dict[str, Any]) -> str:
    keys = _keys(fault, tree)
    name = _dotted(keys)
    given, shown = fault["input"], _shown(fault["input"])
    match fault["type"]:
        case "extra_forbidden":
            known = _siblings(keys)
            hint = nearest(str(keys[-1]), known) or f"; choose from {', '.join(sorted(known))}"
            told = f" is not a setting{hint}"
        case "missing":
            told = " is missing; the config must set it"
        case "literal_error":
            choices = fault["ctx"]["expected"].replace("'", "").replace(" or ", ", ")
            shown = "not known" if fault["loc"][-1] == "[key]" else shown
            told = f" is {shown}{_choose(given, choices.split(', '))}"
        case "unknown_names":
            unknown, known = fault["ctx"]["unknown"], fault["ctx"]["known"]
            told = f"\n  {name}".join(
                f"[{place}] is {one!r}{_choose(one, known)}" for place, one in unknown.items()
            )
        case "value_error":
            told = f"{': ' * bool(name)}{fault['ctx']['error']}"
        case "string_pattern_mismatch":
            told = f" is {shown}; it should be {MEANT[fault['ctx']['pattern']]}"
        case "model_type" | "dict_type":
            told = f" is {shown}; it should be a mapping of settings, {{}} for none"
        case "tuple_type":
            told = f" is {shown}; it should be a list"
        case _:
            told = f" is {shown}; {fault['msg'].replace('Input should', 'it should')}"
    return f"  {name}{told}"


def _shown(given: Any) -> str:
    """A value as Python shows it, but null, true and false as YAML does."""
    return json.dumps(given) if given is None or isinstance(given, bool) else repr(given)


def _choose(given: Any, known: Sequence[str]) -> str:
    return f"{nearest(str(given), known) or ';'} choose from {', '.join(known)}"


def _keys(fault: ErrorDetails, tree: Any) -> list[int | str]:
    """The fault's place in the config, without the names of the branches of a union."""
    keys = []
    for part in fault["loc"]:
        if isinstance(tree, list):
            inside = isinstance(part, int) and part < len(tree)
        else:
            inside = isinstance(tree, dict) and part in tree
        if inside:
            tree = tree[part]
        if inside or fault["type"] == "missing":
            keys.append(part)
    return keys


def _dotted(keys: list[int | str]) -> str:
    name = ""
    for key in keys:
        name += f"[{key}]" if isinstance(key, int) else f".{key}"
    return name.lstrip(".")


def _siblings(keys: Sequence[int | str]) -> list[str]:
    """The names that would have been valid in the place of the last key."""
    field = _field(keys[:-1]) if len(keys) > 1 else None
    model = Config if field is None else _section(field)
    return list(model.model_fields) if model else []


def _field(keys: Sequence[int | str]) -> FieldInfo | None:
    """The field at the end of a path; a column stands for its own settings."""
    model: type[BaseModel] | None = Config
    field = None
    for key in keys:
        if field is not None and get_origin(field.annotation) is dict:
            field = FieldInfo(annotation=model)  # the key is the name of a column
            continue
        field = model.model_fields.get(str(key)) if model else None
        if field is None:
            return None
        model = _section(field)
    return field


def _section(field: FieldInfo) -> type[BaseModel] | None:
    """The settings below a field: of a section, or of each column."""
    kinds = (field.annotation, *get_args(field.annotation))
    return next((k for k in kinds if isinstance(k, type) and issubclass(k, BaseModel)), None)
