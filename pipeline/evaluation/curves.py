"""ROC and precision-recall curves, with bands by bootstrap."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.datasets.sampling import sample
from pipeline.evaluation.bootstrap import average_precision, cumulated, resampled_rows, roc_auc
from pipeline.evaluation.metrics import Predictions, Values

RESAMPLES = 200
MOST_ROWS = 10_000  # of which all resamples are drawn
LEVEL = 0.95
GRID = np.linspace(0, 1, 401)  # false positive rates of a ROC, recalls of a precision-recall curve


@dataclass(frozen=True)
class Curve:
    """The y of a curve, and of the bounds of its band, at the x of GRID; and the area below it.

    Bounds are NaN where no resample has rows both of the class and of others.
    """

    y: Values
    low: Values
    high: Values
    area: float


@dataclass(frozen=True)
class Curves:
    """The curves of a class against the rest, or their means over classes."""

    roc: Curve
    precision_recall: Curve


def drawable(p: Predictions) -> tuple[int, ...]:
    """The places of the classes that have curves: some rows are theirs and some are not."""
    return tuple(k for k in p.averaged_classes if 0 < (p.truth == k).sum() < len(p.truth))


def class_curves(p: Predictions, classes: Sequence[int], seed: int) -> list[Curves]:
    """The curves of each of the classes, which are to be `drawable`, with their bands.

    A band holds 95 % of the resampled curves at each x, apart from the others: the percentile
    bootstrap over the rows, or over the groups of them, by vertical averaging (Fawcett 2006). The
    seed draws the same rows of any model's predictions. Of more than 10,000 rows it is the bag of
    little bootstraps with one bag, as of the metrics' intervals.
    """
    part, counts = _resampled(p, seed)
    return [_curves(p, [place], part, counts) for place in classes]


def mean_curves(p: Predictions, classes: Sequence[int], seed: int) -> Curves:
    """The means of the classes' curves, whose areas are means too, with bands as of one class."""
    return _curves(p, classes, *_resampled(p, seed))


def _resampled(p: Predictions, seed: int) -> tuple[Predictions, Values]:
    """The rows that are drawn from, and how much each counts on each resample."""
    rows = sample(p.truth, MOST_ROWS, seed, p.metadata)
    part = p if len(rows) == len(p.truth) else p.where(rows)
    return part, resampled_rows(p, part, RESAMPLES, seed)


def _curves(p: Predictions, classes: Sequence[int], part: Predictions, counts: Values) -> Curves:
    once = _once(p)
    of_all = _at_grid(p, classes, once)[:, 0]
    drawn = _at_grid(part, classes, counts)
    if part is not p:
        drawn += (of_all - _at_grid(part, classes, _once(part))[:, 0])[:, None]
    drawn = drawn[:, ~np.isnan(drawn).any(axis=(0, 2))]
    bounds = np.full((2, 2, len(GRID)), np.nan)
    if drawn.shape[1]:
        bounds = np.percentile(drawn, [50 - 50 * LEVEL, 50 + 50 * LEVEL], axis=1).clip(0, 1)
    sums = [cumulated(p, place, once) for place in classes]
    areas = [np.mean([area(*each)[0] for each in sums]) for area in (roc_auc, average_precision)]
    return Curves(
        *(
            Curve(of_all[kind], bounds[0, kind], bounds[1, kind], float(areas[kind]))
            for kind in range(2)
        )
    )


def _once(p: Predictions) -> Values:
    return np.ones((1, len(p.truth))) if p.weights is None else p.weights[None]


def _at_grid(p: Predictions, classes: Sequence[int], weights: Values) -> Values:
    """ROC and precision-recall x resamples x GRID: the curves' y, as means over the classes."""
    of_class = (cumulated(p, place, weights) for place in classes)
    pairs = [[_each(_roc, *sums), _each(_precision_recall, *sums)] for sums in of_class]
    return np.asarray(np.mean(pairs, axis=0))


def _each(curve: Callable[[Values, Values], Values], above: Values, false: Values) -> Values:
    """The curve of each resample, NaN of one that lacks the class or others."""
    lacking = np.full(len(GRID), np.nan)
    rows = zip(above, false, strict=True)
    return np.array([curve(a, f) if a[-1] > 0 and f[-1] > 0 else lacking for a, f in rows])


def _roc(above: Values, false: Values) -> Values:
    """Straight between thresholds; of those with one false positive rate, the last counts."""
    return np.interp(GRID, np.r_[0, false / false[-1]], np.r_[0, above / above[-1]])


def _precision_recall(above: Values, false: Values) -> Values:
    """The precision at the first threshold with as much recall, without one where none is drawn."""
    predicted = above + false
    places = np.searchsorted(above / above[-1], GRID - 1e-12)  # which rounding is not to pass by
    places = np.maximum(places, np.argmax(predicted > 0))
    return np.asarray(above[places] / predicted[places])
