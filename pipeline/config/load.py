"""Reads a YAML file and overrides into a Config, and names all faults at once."""

import json
import os
import re
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from pipeline.config.keys import field_at, settings
from pipeline.config.messages import as_yaml, sentences
from pipeline.config.paths import PROJECT, locate, looked_for
from pipeline.config.sections import Config
from pipeline.errors import ConfigError, nearest


def load(path: str, overrides: Mapping[str, str]) -> Config:
    """The config in `path`, with `{"section.key": "value in YAML"}` laid over it.

    Between the two come the environment's variables for the keys of `serve`.

    Raises ConfigError with one line per fault.
    """
    tree = _read(path)
    for key, text in {**_environment(), **overrides}.items():
        _put(tree, key, _override(key, text))
    _name_model(tree)
    try:
        # JSON mode: strict, yet a list is a tuple there, as YAML has lists only.
        return Config.model_validate_json(json.dumps(tree, default=str))
    except ValidationError as error:
        lines = sentences(error.errors(include_url=False), tree)
        raise ConfigError("\n".join([f"{path} is not a valid config:", *lines])) from None


def model_name(source: str) -> str:
    """A name for the registered model: that of the source, without what a name cannot hold."""
    stem = re.split(r"[/\\]", re.split("[?#]", source)[0].rstrip("/"))[-1].split(".")[0]
    return re.sub(r"[^\w-]+", "-", stem).strip("-_").lower()


def _name_model(tree: dict[str, Any]) -> None:
    """The registered model is called as the table, where the config says nothing of it."""
    data = tree.get("data")
    if "registry" not in tree and isinstance(data, dict):
        name = model_name(str(data.get("source", "")))
        if name:
            tree["registry"] = {"model": name}


def variable(key: str) -> str:
    """The environment variable of a key: PIPELINE_SERVE_PORT for serve.port."""
    return f"PIPELINE_{key.upper().replace('.', '_')}"


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
        tree = _parse(text, "")
    except ValueError as error:
        raise ConfigError(f"config {path!r} is not valid YAML: {error}") from None
    if not isinstance(tree, dict):
        raise ConfigError(f"config {path!r} must hold sections such as data, split and tune")
    return tree


def _parse(text: str, key: str) -> Any:
    """The value of a key in YAML 1.2, of the whole config for "": no key twice, `no` is a text.

    Raises ValueError with line and fault.
    """
    try:
        tree = YAML(typ="safe", pure=True).load(text)
        if key == "data.labels":
            tree = _with_text_keys(tree)
        elif not key and isinstance(tree, dict) and isinstance(tree.get("data"), dict):
            tree["data"] = {
                name: _with_text_keys(value) if name == "labels" else value
                for name, value in tree["data"].items()
            }
        _check_keys(tree)
        json.dumps(tree, default=str, ensure_ascii=False).encode()
    except MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise ValueError(f"{line}{error.problem}") from None
    except (YAMLError, RecursionError) as error:
        raise ValueError(str(error)) from None
    return tree


def _with_text_keys(labels: Any) -> Any:
    """Classes that are numbers, or true and false, as texts: they may be keys of `data.labels`."""
    if not isinstance(labels, dict):
        return labels
    return {json.dumps(key) if isinstance(key, int) else key: labels[key] for key in labels}


def _check_keys(tree: Any) -> None:
    """Raises ValueError for a key, at any depth, that is no text."""
    if isinstance(tree, dict):
        for key, inner in tree.items():
            if not isinstance(key, str):
                raise ValueError(f"key {as_yaml(key)} is no text; put it in quotes")
            _check_keys(inner)
    elif isinstance(tree, list):
        for inner in tree:
            _check_keys(inner)


def _override(key: str, text: str) -> Any:
    field = field_at(key.split("."))
    if field is not None and field.annotation in (str, str | None) and text != "null":
        return text  # or a name in digits would become a number
    try:
        return _parse(text, key)
    except ValueError:
        raise ConfigError(
            f"{key} is {text!r}; it must be a value in YAML, e.g. 3 or [a, b]"
        ) from None


def _environment() -> dict[str, str]:
    """How the endpoint is set up may come from where it runs; what a run results in, may not."""
    keys = {variable(key): key for key, _ in settings() if key.startswith("serve.")}
    names = [name for name in os.environ if name.startswith(variable("serve."))]
    for name in names:
        if name not in keys:
            raise ConfigError(f"the environment's {name} is not a setting{nearest(name, keys)}")
    return {keys[name]: os.environ[name] for name in names}


def _put(tree: dict[str, Any], key: str, value: Any) -> None:
    *sections, last = key.split(".")
    for section in sections:
        child = tree[section] = {} if tree.get(section) is None else tree[section]
        if not isinstance(child, dict):
            raise ConfigError(f"{key} cannot be set: {section!r} is not a section of the config")
        tree = child
    tree[last] = value
