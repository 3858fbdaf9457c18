"""The settings of monitor: from when on new rows count as unlike those of the training part."""

from typing import Annotated

from pydantic import Field

from pipeline.config.types import Positive, Share
from pipeline.schema.columns import Frozen

Part = Annotated[float, Field(ge=0, le=1)]


class Monitor(Frozen):
    """Bounds on what new rows may differ in from those that the model was trained on."""

    level: Share = Field(
        0.05, description="chance of any false alarm of drift, over all columns together"
    )
    psi: Positive = Field(
        0.1, description="population stability index from which a drift that is no chance counts"
    )
    missing: Part = Field(
        0.05, description="rise or fall of a column's share of missing values that counts"
    )
    rejected: Part = Field(0.01, description="share of rows that may break the contract")
