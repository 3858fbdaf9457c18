"""Reads a YAML file and overrides into a Config, and tells all faults at once."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from pipeline.config import Config
from pipeline.errors import ConfigError, nearest

PROJECT = Path(__file__).resolve().parent.parent


def load(path: str, overrides: Mapping[str, str]) -> Config:
    """The config in `path`, with `{"section.key": "value in YAML"}` laid over it.

    Raises ConfigError with one line per fault.
    """
    tree = _read(path)
    for key, text in overrides.items():
        _put(tree, key, _parse(key, text))
    try:
        # JSON mode: strict, yet a list is a tuple there, as YAML has lists only.
        return Config.model_validate_json(json.dumps(tree, default=str))
    except ValidationError as error:
        faults = _innermost(error.errors(include_url=False))
        lines = dict.fromkeys(_sentence(fault, tree) for fault in faults)
        raise ConfigError("\n".join([f"{path} is not a valid config:", *lines])) from None


def settings() -> Iterator[tuple[str, FieldInfo]]:
    """Every settable key of the config with its field: `("tune.max_evals", FieldInfo)`."""
    yield from _leaves(Config, "")


def locate(path: str) -> Path:
    """A path as given, or under the project when it is not in the working directory."""
    given = Path(path)
    return given if given.is_absolute() or given.exists() else PROJECT / given


def _read(path: str) -> dict[str, Any]:
    try:
        text = locate(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        shipped = (f"configs/{p.name}" for p in sorted((PROJECT / "configs").glob("*.yaml")))
        raise ConfigError(
            f"config {path!r} does not exist; there are {', '.join(shipped)}"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"config {path!r} cannot be read: {error}") from None
    try:
        tree = yaml.load(text, Loader=_UniqueKeys)
    except yaml.YAMLError as error:
        raise ConfigError(f"config {path!r} is not valid YAML: {error}") from None
    if not isinstance(tree, dict):
        raise ConfigError(f"config {path!r} must hold sections such as data, split and tune")
    return tree


class _UniqueKeys(yaml.SafeLoader):
    """YAML that refuses a key written twice, where PyYAML keeps the last in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    problem=f"key {key!r} is written twice", problem_mark=key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


def _parse(key: str, text: str) -> Any:
    if key in _text_keys() and text != "null":
        return text
    try:
        return json.loads(text)  # reads 1e-3, which YAML 1.1 takes for text
    except json.JSONDecodeError:
        pass
    try:
        return yaml.load(text, Loader=_UniqueKeys)
    except yaml.YAMLError:
        raise ConfigError(
            f"{key} is {text!r}; it must be a value in YAML, e.g. 3 or [a, b]"
        ) from None


def _put(tree: dict[str, Any], key: str, value: Any) -> None:
    *sections, last = key.split(".")
    for section in sections:
        child = tree.setdefault(section, {})
        if not isinstance(child, dict):
            raise ConfigError(f"{key} cannot be set: {section!r} is not a section of the config")
        tree = child
    tree[last] = value


def _leaves(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, FieldInfo]]:
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from _leaves(inner, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", field


def _text_keys() -> set[str]:
    """The keys that take text and nothing else: their overrides are not parsed as YAML."""
    return {key for key, field in settings() if field.annotation in (str, str | None)}


def _innermost(faults: list[ErrorDetails]) -> list[ErrorDetails]:
    """Without those that only follow from a fault inside the same value."""
    outer = {fault["loc"][:depth] for fault in faults for depth in range(len(fault["loc"]))}
    return [fault for fault in faults if fault["loc"] not in outer]


def _sentence(fault: ErrorDetails, tree: dict[str, Any]) -> str:
    keys = _keys(fault, tree)
    name = _dotted(keys)
    match fault["type"]:
        case "extra_forbidden":
            known = _siblings(keys)
            hint = nearest(str(keys[-1]), known) or f"; choose from {', '.join(sorted(known))}"
            return f"  {name} is not a setting{hint}"
        case "missing":
            return f"  {name} is missing; the config must set it"
        case "literal_error":
            choices = fault["ctx"]["expected"].replace("'", "").replace(" or ", ", ")
            hint = nearest(str(fault["input"]), choices.split(", ")) or ";"
            return f"  {name} is {fault['input']!r}{hint} choose from {choices}"
        case "value_error":
            return f"  {name}: {fault['ctx']['error']}"
        case "model_type" | "dict_type":
            return (
                f"  {name} is {fault['input']!r}; it should be a mapping of settings, {{}} for none"
            )
        case _:
            rule = fault["msg"].replace("Input should", "it should")
            return f"  {name} is {fault['input']!r}; {rule}"


def _keys(fault: ErrorDetails, tree: Any) -> list[int | str]:
    """The fault's place in the config, without the names of the branches of a union."""
    keys = []
    for part in fault["loc"]:
        inside = part in tree if isinstance(tree, dict) else isinstance(part, int)
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


def _siblings(keys: list[int | str]) -> list[str]:
    """The names that would have been valid in the place of the last key."""
    model: Any = Config
    for key in keys[:-1]:
        field = model.model_fields.get(key) if hasattr(model, "model_fields") else None
        annotation = field.annotation if field else model
        model = next((a for a in get_args(annotation) if hasattr(a, "model_fields")), annotation)
    return list(getattr(model, "model_fields", {}))
