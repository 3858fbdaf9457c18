"""What a valid row and target is, as plain data that is kept as JSON beside the model."""

from pydantic import BaseModel, ConfigDict

from pipeline.schema.columns import AnyColumn
from pipeline.tasks import REGRESSION, Task, classification

Label = bool | int | str  # a class of the target


class Contract(BaseModel):
    """Columns and classes of a table.

    `classes` are sorted, and none where an amount is predicted; `positive` is None unless there
    are exactly two. `target_range` bounds the answers of amounts.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int = 1
    columns: dict[str, AnyColumn]
    target: str
    classes: tuple[Label, ...]
    positive: Label | None
    target_range: tuple[float | None, float | None] = (None, None)

    @property
    def task(self) -> Task:
        """The kind of prediction."""
        return classification(self.positive) if self.classes else REGRESSION

    @property
    def positive_index(self) -> int | None:
        """The column of `predict_proba` that holds the positive class."""
        return None if self.positive is None else self.classes.index(self.positive)
