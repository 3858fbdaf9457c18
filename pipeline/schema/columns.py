"""What the user says of one column of the table: one class for each kind of column."""

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    field_validator,
    model_validator,
)

from pipeline.schema.dates import epoch_days

Mark = float | int | str
TEXT_LENGTH = 1000  # characters, where a column of texts does not say
Level = int | str  # of a category: a text, or the integer that codes it


class Frozen(BaseModel):
    """A settings section: read once, never changed, no unknown keys, no guessed types."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Column(Frozen):
    """What columns of every kind have."""

    kind: str
    meaning: str = Field("", description="what the column holds, for people")
    missing: Mark | tuple[Mark, ...] | None = Field(
        None, description="the value that stands for a missing one, or a list of such values"
    )
    optional: bool = Field(
        False, description="whether a row may leave the column out (null is welcome either way)"
    )

    @property
    def marks(self) -> tuple[Mark, ...]:
        """The values that stand for a missing one."""
        if self.missing is None:
            return ()
        return self.missing if isinstance(self.missing, tuple) else (self.missing,)


Bound = Annotated[float | None, Field(description="a number, or null for no bound")]


class NumberColumn(Column):
    """A column of numbers."""

    kind: Literal["number"] = "number"
    unit: str = Field("", description="unit of its numbers, for people")
    range: tuple[Bound, Bound] = Field(
        (None, None), description="smallest and largest valid number, null for no bound"
    )

    @model_validator(mode="after")
    def _range_is_ordered(self) -> "NumberColumn":
        low, high = self.range
        if low is not None and high is not None and low > high:
            raise ValueError(f"range is [{low:g}, {high:g}]; the smaller number comes first")
        return self


class IntegerColumn(NumberColumn):
    """A column of whole numbers."""

    kind: Literal["integer"] = "integer"  # type: ignore[assignment]


class BooleanColumn(Column):
    """A column of true and false."""

    kind: Literal["boolean"] = "boolean"


def _are_different(levels: tuple[Level, ...]) -> tuple[Level, ...]:
    twice = [level for place, level in enumerate(levels) if level in levels[:place]]
    if twice:
        raise ValueError(f"the level {twice[0]!r} is there twice")
    return levels


class CategoryColumn(Column):
    """A column of names, or of numbers that stand for names."""

    kind: Literal["category"] = "category"
    levels: tuple[Level, ...] | None = Field(
        None, description="its valid values; null learns them from the training part"
    )
    unseen: Literal["other", "refuse"] = Field(
        "other", description="a value that is no level: taken for a rare one, or refused"
    )

    @field_validator("levels")
    @classmethod
    def _levels_differ(cls, levels: tuple[Level, ...] | None) -> tuple[Level, ...] | None:
        return None if levels is None else _are_different(levels)


class OrdinalColumn(Column):
    """A column of names that have an order."""

    kind: Literal["ordinal"] = "ordinal"
    levels: tuple[Level, ...] = Field(
        description="its valid values, from low to high", min_length=1
    )

    @field_validator("levels")
    @classmethod
    def _levels_differ(cls, levels: tuple[Level, ...]) -> tuple[Level, ...]:
        return _are_different(levels)


class DateColumn(Column):
    """A column of dates, or of dates with a time of day, in UTC where no offset is said."""

    kind: Literal["date"] = "date"
    format: str | None = Field(
        None, description="how files write it, as strptime has it (%d.%m.%Y); null for ISO 8601"
    )
    range: tuple[str | None, str | None] = Field(
        (None, None), description="first and last valid date (ISO 8601), null for no bound"
    )

    @field_validator("range")
    @classmethod
    def _range_holds_dates(
        cls, bounds: tuple[str | None, str | None]
    ) -> tuple[str | None, str | None]:
        days = [epoch_days(bound) for bound in bounds if bound is not None]
        if sorted(days) != days:
            raise ValueError(f"range is {list(bounds)}; the earlier date comes first")
        return bounds


class TextColumn(Column):
    """A column of short free texts."""

    kind: Literal["text"] = "text"
    max_length: int = Field(
        TEXT_LENGTH, ge=1, description="the most characters of a text, without blanks around it"
    )


def _kind(column: Any) -> str:
    """The tag of a column: a number where none is said, as in every contract of format 1."""
    if isinstance(column, dict):
        return str(column.get("kind", "number"))
    return column.kind if isinstance(column, Column) else "number"


AnyColumn: TypeAlias = Annotated[
    Annotated[NumberColumn, Tag("number")]
    | Annotated[IntegerColumn, Tag("integer")]
    | Annotated[BooleanColumn, Tag("boolean")]
    | Annotated[CategoryColumn, Tag("category")]
    | Annotated[OrdinalColumn, Tag("ordinal")]
    | Annotated[DateColumn, Tag("date")]
    | Annotated[TextColumn, Tag("text")],
    Discriminator(_kind),
]
