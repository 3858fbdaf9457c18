"""Two models on the same rows: differences of their metrics, with bootstrap bounds."""

from dataclasses import dataclass

from pipeline.config.sections import LOWER_IS_BETTER, Metric
from pipeline.evaluation.metrics import Predictions, draws, middle, values


@dataclass(frozen=True)
class Difference:
    """A metric of a first and a second model; `low` and `high` bound first minus second."""

    metric: Metric
    first: float
    second: float
    low: float
    high: float

    @property
    def gain(self) -> float:
        """By how much the first is better."""
        gain = self.first - self.second
        return -gain if self.metric in LOWER_IS_BETTER else gain

    @property
    def least_gain(self) -> float:
        """By how much it is better at least."""
        return -self.high if self.metric in LOWER_IS_BETTER else self.low


def differences(
    first: Predictions, second: Predictions, resamples: int, seed: int, level: float
) -> dict[Metric, Difference]:
    """Of every metric, with a paired percentile bootstrap interval of that level.

    Each resample draws the same rows for both (Efron and Tibshirani 1993, ch. 13). NaN for a
    metric that is not defined on the rows; resamples on which it is not are left out.
    """
    one, other = values(first), values(second)
    before = draws(second, resamples, seed)
    return {
        name: Difference(name, one[name], other[name], *middle(drawn - before[name], level))
        for name, drawn in draws(first, resamples, seed).items()
    }
