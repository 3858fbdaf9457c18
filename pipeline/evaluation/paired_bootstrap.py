"""Two models on the same rows: differences of their metrics, with bootstrap bounds."""

from dataclasses import dataclass

from pipeline.evaluation.bootstrap import percentile_interval, resampled, values
from pipeline.evaluation.metrics import AnyPredictions
from pipeline.tasks import METRICS


@dataclass(frozen=True)
class Difference:
    """A metric of a first and a second model; `low` and `high` bound first minus second."""

    metric: str
    first: float
    second: float
    low: float
    high: float

    @property
    def gain(self) -> float:
        """By how much the first is better."""
        return METRICS[self.metric].sign * (self.first - self.second)

    @property
    def least_gain(self) -> float:
        """By how much the first is better at least."""
        return self.low if METRICS[self.metric].greater_is_better else -self.high

    @property
    def most_gain(self) -> float:
        """By how much the first is better at most."""
        return self.high if METRICS[self.metric].greater_is_better else -self.low


def differences(
    first: AnyPredictions, second: AnyPredictions, resamples: int, seed: int, level: float
) -> dict[str, Difference]:
    """Every metric of both, with a paired percentile bootstrap interval of that level.

    Each resample draws the same rows for both (Efron and Tibshirani 1993, ch. 13). NaN for a
    metric that is not defined on the rows; resamples on which it is not are left out.
    """
    one, other = values(first), values(second)
    drawn, paired = (resampled(each, resamples, seed) for each in (first, second))
    return {
        name: Difference(
            name, one[name], other[name], *percentile_interval(drawn[name] - paired[name], level)
        )
        for name in drawn
    }
