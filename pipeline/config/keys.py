"""The tree of settings by dotted key: `tune.max_evals`."""

from collections.abc import Iterator, Sequence
from typing import Any, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from pipeline.config.sections import Config


def settings() -> Iterator[tuple[str, FieldInfo]]:
    """Every settable key of the config with its field: `("tune.max_evals", FieldInfo)`."""
    yield from _leaves(Config, "")


def field_at(keys: Sequence[int | str]) -> FieldInfo | None:
    """The field at the end of a path; a column stands for its own settings."""
    models: list[type[BaseModel]] = [Config]
    field = None
    for key in map(str, keys):
        if field is not None and get_origin(field.annotation) is dict:
            field = FieldInfo(annotation=get_args(field.annotation)[1])  # the key is a name
            continue
        field = next((m.model_fields[key] for m in models if key in m.model_fields), None)
        if field is None:
            return None
        models = sections_of(field)
    return field


def sections_of(field: FieldInfo) -> list[type[BaseModel]]:
    """What settings below a field may be: those of a section, or of each kind of column."""
    return list(_models(field.annotation))


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models(inner)


def _leaves(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, FieldInfo]]:
    for name, field in model.model_fields.items():
        sections = sections_of(field)
        if not sections or get_origin(field.annotation) is dict:
            yield f"{prefix}{name}", field
        else:
            yield from _leaves(sections[0], f"{prefix}{name}.")
