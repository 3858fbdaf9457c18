"""What a valid row and target is, as plain data that is kept as JSON beside the model."""

from pydantic import BaseModel, ConfigDict

from pipeline.schema.columns import AnyColumn
from pipeline.tasks import Task, classification

Label = bool | int | str  # a class of the target


class Contract(BaseModel):
    """Columns and classes of a table.

    `classes` are sorted; `positive` is None unless there are exactly two.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int = 1
    columns: dict[str, AnyColumn]
    target: str
    classes: tuple[Label, ...]
    positive: Label | None

    @property
    def task(self) -> Task:
        """The kind of prediction."""
        return classification(self.positive)

    @property
    def positive_index(self) -> int | None:
        """The column of `predict_proba` that holds the positive class."""
        return None if self.positive is None else self.classes.index(self.positive)
