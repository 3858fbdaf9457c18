"""What is wrong with a config, one sentence per fault."""

import json
from collections.abc import Sequence
from typing import Any

from pydantic_core import ErrorDetails

from pipeline.config.keys import field_at, sections_of
from pipeline.config.sections import Config
from pipeline.config.types import MEANT
from pipeline.errors import nearest


def sentences(faults: list[ErrorDetails], tree: dict[str, Any]) -> list[str]:
    """A sentence for each fault that pydantic found in the tree, each once."""
    return list(dict.fromkeys(f"  {_sentence(fault, tree)}" for fault in _innermost(faults)))


def as_yaml(value: Any) -> str:
    """A value as Python writes it, but null, true and false as YAML does."""
    return json.dumps(value) if value is None or isinstance(value, bool) else repr(value)


def _innermost(faults: list[ErrorDetails]) -> list[ErrorDetails]:
    """The faults without those that only follow from another inside the same value."""
    faults = [fault for fault in faults if fault["type"] != "default_factory_not_called"]
    outer = {fault["loc"][:depth] for fault in faults for depth in range(len(fault["loc"]))}
    return [fault for fault in faults if fault["loc"] not in outer]


def _sentence(fault: ErrorDetails, tree: dict[str, Any]) -> str:
    keys = _keys(fault, tree)
    name, value, context = _dotted(keys), as_yaml(fault["input"]), fault.get("ctx", {})
    match fault["type"]:
        case "extra_forbidden":
            names = _siblings(keys)
            hint = nearest(str(keys[-1]), names) or f"; choose from {', '.join(sorted(names))}"
            return f"{name} is not a setting{hint}"
        case "literal_error":
            value = "not known" if fault["loc"][-1] == "[key]" else value
            return f"{name} is {value}{_choose(fault['input'], _names(context['expected']))}"
        case "union_tag_invalid":
            name, value = f"{name}.kind", context["tag"]
            return f"{name} is {value!r}{_choose(value, _names(context['expected_tags']))}"
        case "unknown_names":
            return "\n  ".join(
                f"{name}[{place}] is {one!r}{_choose(one, context['choices'])}"
                for place, one in context["unknown"].items()
            )
        case "value_error":
            return f"{name}{': ' * bool(name)}{context['error']}"
    is_missing = fault["type"] == "missing"
    return f"{name} is {'missing' if is_missing else value}; {_rule(fault)}"


def _rule(fault: ErrorDetails) -> str:
    match fault["type"]:
        case "string_pattern_mismatch":
            return f"it should be {MEANT[fault['ctx']['pattern']]}"
        case "model_type" | "dict_type":
            return "it should be a mapping of settings, {} for none"
        case "missing":
            return "the config must set it"
        case "tuple_type":
            return "it should be a list"
    return fault["msg"].replace("Input should", "it should")


def _names(listed: str) -> list[str]:
    """The names that pydantic lists in quotes."""
    return listed.replace("'", "").replace(" or ", ", ").split(", ")


def _choose(value: Any, choices: Sequence[str]) -> str:
    return f"{nearest(str(value), choices) or ';'} choose from {', '.join(choices)}"


def _keys(fault: ErrorDetails, tree: Any) -> list[int | str]:
    """The fault's place in the config, without the names of the branches of a union."""
    keys = []
    for place, part in enumerate(fault["loc"]):
        if isinstance(tree, list):
            inside = isinstance(part, int) and part < len(tree)
        else:
            inside = isinstance(tree, dict) and part in tree
        if inside:
            tree = tree[part]
        if inside or (fault["type"] == "missing" and place == len(fault["loc"]) - 1):
            keys.append(part)
    return keys


def _dotted(keys: list[int | str]) -> str:
    name = ""
    for key in keys:
        name += f"[{key}]" if isinstance(key, int) else f".{key}"
    return name.lstrip(".")


def _siblings(keys: Sequence[int | str]) -> list[str]:
    """The names that would have been valid in the place of the last key."""
    field = field_at(keys[:-1]) if len(keys) > 1 else None
    models = [Config] if field is None else sections_of(field)
    return list(dict.fromkeys(name for model in models for name in model.model_fields))
