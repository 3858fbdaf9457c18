"""The settings of the gate: the rules that a candidate must keep before it becomes champion."""

from math import inf
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from pipeline.config.types import Count, Positive
from pipeline.schema.columns import Frozen
from pipeline.tasks import BINARY, METRICS, SEARCH_METRICS

if TYPE_CHECKING:
    MetricName = str
    SearchMetricName = str
else:
    MetricName = Literal[tuple(METRICS)]
    SearchMetricName = Literal[SEARCH_METRICS]


def _within_bounds(floors: dict[MetricName, float]) -> dict[MetricName, float]:
    """The floors. Raises ValueError for one beyond the bounds of its metric."""
    faults = []
    for name, floor in floors.items():
        low, high = METRICS[name].bounds
        if not low <= floor <= high:
            rule = f"within {low} and {high}" if high < inf else f"greater than or equal to {low}"
            faults.append(f"{name} is {floor:g}; it should be {rule}")
    if faults:
        raise ValueError("; ".join(faults))
    return floors


Floors = Annotated[dict[MetricName, float], AfterValidator(_within_bounds)]


class Gate(Frozen):
    """What the best candidate must show on the test part before it may become champion."""

    primary: SearchMetricName = Field(
        BINARY.loss,
        description="cross-validated metric by which the best candidate is chosen; "
        "it must also be better than the champion's, and on the test part than the dummy's",
    )
    floors: Floors = Field(
        {}, description="worst acceptable value of a test metric, e.g. {roc_auc: 0.75}"
    )
    floors_on: Literal["value", "interval"] = Field(
        "value",
        description="what must reach a floor: the metric, or the worse end of its 95 % interval",
    )
    dummy: bool = Field(
        True,
        description="whether gate.primary must be better than that of the class shares, or mean",
    )
    rule: Literal["non_inferiority", "superiority", "none"] = Field(
        "non_inferiority",
        description="against the champion: not worse by gate.margin, better, or not compared",
    )
    metric: MetricName = Field(BINARY.gate_metric, description="metric of that comparison")
    margin: Annotated[float, Field(ge=0)] = Field(
        BINARY.gate_margin,
        description="how much worse a model may be that counts as not worse; of amounts' errors, "
        "a share of the champion's (0.05 where not set)",
    )
    level: Annotated[float, Field(gt=0.5, lt=1)] = Field(
        0.95, description="confidence of comparisons, one-sided"
    )
    rows_per_class: Count = Field(
        10,
        description="fewest rows of each class for a comparison, or for a slice to be judged; "
        "with split.group, fewest groups",
    )
    calibration: Positive | None = Field(
        BINARY.gate_calibration,
        description="largest mean distance of the probabilities from their recalibration, over "
        "4 r (1 - r) for a class that the share r of the rows has; for amounts by how much fewer "
        "rows than promised intervals may hold (0.05 where not set); null for any",
    )
    slices: dict[str, tuple[float, ...]] = Field(
        {},
        description="by column, where its groups begin: {Age: [30, 50]} makes three, {region: []} "
        "one of each value; a gap is a group of its own",
    )
    slice_floors: Floors = Field({}, description="as gate.floors, for each of the slices")
    serve_check: Literal["in_process", "full"] = Field(
        "in_process",
        description="how the candidate is tried before it is promoted: loaded as the server "
        "loads it, or also in a real server over HTTP",
    )
    latency: Positive = Field(
        0.1, description="seconds within which the full check answers 95 % of its single rows"
    )

    @field_validator("slices")
    @classmethod
    def _cuts_rise(cls, slices: dict[str, tuple[float, ...]]) -> dict[str, tuple[float, ...]]:
        for name, cuts in slices.items():
            if list(cuts) != sorted(set(cuts)):
                raise ValueError(
                    f"{name} is cut at {list(cuts)}; give each number once, the smallest first"
                )
        return slices

    @model_validator(mode="after")
    def _slices_have_floors(self) -> "Gate":
        if bool(self.slices) != bool(self.slice_floors):
            there, absent = (
                ("slices", "slice_floors") if self.slices else ("slice_floors", "slices")
            )
            raise ValueError(f"{there} is set and {absent} is not; set both or neither")
        return self
