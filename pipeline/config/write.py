"""Writes settings as the text of a config: YAML with comments."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pipeline.config.sections import Config
from pipeline.schema.columns import Column

PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*( [A-Za-z0-9_./-]+)*")
RESERVED = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n", "none"})


def scalar(value: Any) -> str:
    """A value in one line of YAML, in quotes only where it would be read as something else."""
    if isinstance(value, str) and PLAIN.fullmatch(value) and value.lower() not in RESERVED:
        return value
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    if isinstance(value, Mapping):
        inner = ", ".join(f"{scalar(key)}: {scalar(one)}" for key, one in value.items())
        return f"{{{inner}}}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"[{', '.join(map(scalar, value))}]"
    return json.dumps(value, ensure_ascii=False)


def block(settings: Mapping[str, Any], notes: Mapping[str, str], indent: str) -> Iterator[str]:
    """A line for each setting, with its note as a comment behind it."""
    for name, value in settings.items():
        note = re.sub(r"\s+", " ", notes.get(name, ""))
        comment = f"  # {note}" if note else ""
        yield f"{indent}{scalar(name)}: {scalar(value)}{comment}"


def comment(text: str, indent: str = "") -> Iterator[str]:
    """A text as lines of comment."""
    return (f"{indent}# {line}".rstrip() for line in text.splitlines())


def as_set(column: Column) -> dict[str, Any]:
    """The kind of a column, and what was set of it."""
    return {"kind": column.kind, **column.model_dump(mode="json", exclude_defaults=True)}


def as_text(config: Config) -> str:
    """All settings, section by section, the columns one to a line; of those what was set."""
    tree = config.model_dump(mode="json")
    columns = {name: as_set(column) for name, column in config.data.columns.items()}
    lines = []
    for section, settings in {**tree, "data": {**tree["data"], "columns": columns}}.items():
        lines.append(f"{section}:")
        for name, value in settings.items():
            if name in ("columns", "drop") and value:
                lines += [f"  {name}:", *block(value, {}, "    ")]
            else:
                lines.append(f"  {scalar(name)}: {scalar(value)}")
    return "\n".join([*lines, ""])
