"""JSON Schema (OpenAPI 3.1) in the forms of which generators of clients make types."""

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

Schema = dict[str, Any]


def cell(valid: Schema | Sequence[Schema], marks: Iterable[Any], description: str) -> Schema:
    """The schema of a cell that is valid, or one of the marks of a missing value, or null."""
    choices = [valid] if isinstance(valid, dict) else list(valid)
    is_float = {"type": "number"}.items() <= (choices or [{}])[0].items()
    choices += [_mark(mark, is_float) for mark in marks]
    if len(choices) == 1 and "enum" not in choices[0]:
        return {**choices[0], "type": [choices[0]["type"], "null"], "description": description}
    return {"description": description, "anyOf": [*choices, {"type": "null"}]}


def types(schema: Mapping[str, Any]) -> set[str]:
    """The JSON types of the cells of such a schema."""
    if "anyOf" in schema:
        return set().union(*map(types, schema["anyOf"]))
    return {schema["type"]} if isinstance(schema["type"], str) else set(schema["type"])


def enums(values: Iterable[Any]) -> list[Schema]:
    """One schema for the values of each JSON type: a generated enum holds values of one type."""
    ordered = sorted(values, key=type_of)  # stable
    return [enum(list(group)) for _, group in groupby(ordered, key=type_of)]


def enum(values: Sequence[Any]) -> Schema:
    """The schema of values of one JSON type.

    `x-enum-varnames` names them where the names that generators make would be the same twice.
    """
    schema = {"type": type_of(values[0]), "enum": list(values)}
    names = {re.sub(r"\W+|_", "", str(value)).upper() for value in values}
    if schema["type"] == "string" and len(names) < len(values):
        schema["x-enum-varnames"] = [f"VALUE_{place}" for place in range(len(values))]
    return schema


def type_of(value: Any) -> str:
    """The JSON type of a class, a level or a mark."""
    return {bool: "boolean", int: "integer", float: "number", str: "string"}[type(value)]


def _mark(mark: Any, is_float: bool) -> Schema:
    """A number as the only one of a range: an enum of fractions is more than generators take."""
    if isinstance(mark, str):
        return enum([mark])
    kind = "number" if is_float or mark != int(mark) else "integer"
    return {"type": kind, "minimum": mark, "maximum": mark}
