"""What the user says of one column of the table."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Frozen(BaseModel):
    """A settings section: read once, never changed, no unknown keys, no guessed types."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


Bound = Annotated[float | None, Field(description="a number, or null for no bound")]


class Column(Frozen):
    """A column of numbers."""

    meaning: str = Field("", description="what the column holds, for people")
    unit: str = Field("", description="unit of its numbers, for people")
    range: tuple[Bound, Bound] = Field(
        (None, None), description="smallest and largest valid number, null for no bound"
    )
    missing: float | None = Field(
        None, description="the number that stands for a missing value, if one does"
    )
    optional: bool = Field(
        False, description="whether a row may leave the column out (null is welcome either way)"
    )

    @property
    def kind(self) -> Literal["number"]:
        """The row of the table KINDS that says what a cell may be; no setting while it has one."""
        return "number"

    @model_validator(mode="after")
    def _range_is_ordered(self) -> "Column":
        low, high = self.range
        if low is not None and high is not None and low > high:
            raise ValueError(f"range is [{low:g}, {high:g}]; the smaller number comes first")
        return self
