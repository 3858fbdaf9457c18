"""The tree of settings by dotted key: `tune.max_evals`."""

from collections.abc import Iterator, Sequence
from typing import get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from pipeline.config.sections import Config


def settings() -> Iterator[tuple[str, FieldInfo]]:
    """Every settable key of the config with its field: `("tune.max_evals", FieldInfo)`."""
    yield from _leaves(Config, "")


def field_at(keys: Sequence[int | str]) -> FieldInfo | None:
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
        model = section_of(field)
    return field


def section_of(field: FieldInfo) -> type[BaseModel] | None:
    """The settings below a field: of a section, or of each column."""
    candidates = (field.annotation, *get_args(field.annotation))
    return next((k for k in candidates if isinstance(k, type) and issubclass(k, BaseModel)), None)


def _leaves(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, FieldInfo]]:
    for name, field in model.model_fields.items():
        section = section_of(field)
        if section is None or get_origin(field.annotation) is dict:
            yield f"{prefix}{name}", field
        else:
            yield from _leaves(section, f"{prefix}{name}.")
