"""Whether one model is better than another over the folds of a cross-validation."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats


@dataclass(frozen=True)
class Comparison:
    """A mean difference with its interval, and how likely one as large is without any."""

    difference: float
    low: float
    high: float
    p_value: float


def corrected_t_test(
    differences: NDArray[np.float64], share: float, level: float = 0.95
) -> Comparison:
    """The corrected resampled t-test (Nadeau and Bengio 2003, section 5), two-sided.

    `differences` holds one number per fold, `share` is the rows of a test fold over those of its
    training part. Folds share training rows, so their differences are not independent: the
    variance of the mean is (1 / folds + share) times theirs. NaN with fewer than two folds.
    """
    count = len(differences)
    if count < 2:
        return Comparison(float(differences.mean()), np.nan, np.nan, np.nan)
    mean = float(differences.mean())
    error = float(np.sqrt((1 / count + share) * differences.var(ddof=1)))
    reach = float(stats.t.ppf(0.5 + level / 2, count - 1)) * error
    if error == 0:
        p_value = 1.0 if mean == 0 else 0.0
    else:
        p_value = float(2 * stats.t.sf(abs(mean) / error, count - 1))
    return Comparison(mean, mean - reach, mean + reach, p_value)
