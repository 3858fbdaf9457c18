"""False alarms and power of `monitor`: windows of unchanged rows, and of rows of which one moved.

    python benchmarks/drift_power.py [--windows 1000] [--rows 1000]

A table of 20 columns: normal, skewed, of counts, of few levels and of many, with gaps. Prints how
many windows raise an alarm with the default bounds where nothing changed, where one column of
numbers moved by half a standard deviation, and where a fifth of one column of levels became
another level.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pipeline.config.monitor import Monitor
from pipeline.evaluation.drift import compare
from pipeline.evaluation.profile import Bins, Spread
from pipeline.steps.monitor import is_beyond

COLUMNS = 20
NUMBERS = [place for place in range(COLUMNS) if place % 5 <= 2]
LEVELS = [place for place in range(COLUMNS) if place % 5 > 2]
SHIFT = 0.5
QUANTILES = np.linspace(0, 1, 11)[1:-1]


def main() -> None:
    """Prints a line per size of the training part."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--windows", type=int, default=1000)
    parser.add_argument("--rows", type=int, default=1000)
    options = parser.parse_args()
    print("| training rows | window | false alarms | numbers found | levels found | seconds |")
    print("| ---: | ---: | ---: | ---: | ---: | ---: |", flush=True)
    for trained in (500, 5_000, 50_000):
        rng, start = np.random.default_rng(trained), time.perf_counter()
        counts = [
            sum(_alarms(rng, trained, options.rows, moved) for _ in range(options.windows))
            for moved in ((), NUMBERS, LEVELS)
        ]
        shares = [f"{count / options.windows:.1%}" for count in counts]
        seconds = time.perf_counter() - start
        print(f"| {trained} | {options.rows} | {' | '.join(shares)} | {seconds:.0f} |", flush=True)


def _alarms(rng: np.random.Generator, trained: int, rows: int, candidates: Sequence[int]) -> bool:
    """Whether a window raises an alarm: of the candidate that moved, or of any column without."""
    moved = rng.choice(candidates) if candidates else -1
    before, now = {}, {}
    for place in range(COLUMNS):
        old = column(rng, place, trained, 0.0)
        new = column(rng, place, rows, SHIFT if place == moved else 0.0)
        bins = _bins(place, old)
        before[str(place)] = Spread(bins, bins.count(old))
        now[str(place)] = bins.count(new)
    bounds = Monitor()
    drifts = compare(before, now)
    return any(is_beyond(bounds, one) for one in drifts if moved < 0 or one.name == str(moved))


def column(rng: np.random.Generator, place: int, rows: int, shift: float) -> np.ndarray:
    match place % 5:
        case 0:
            values = rng.normal(shift, 1, rows)
        case 1:  # log-normal, whose deviation is 2.16
            values = rng.lognormal(0, 1, rows) + shift * 2.16
        case 2:
            values = rng.poisson(4, rows) + shift * 2.0
        case 3:
            values = rng.choice(4, rows, p=[0.4, 0.3, 0.2, 0.1]).astype(float)
        case _:
            values = np.minimum(rng.geometric(0.1, rows) - 1, 39).astype(float)
    if place % 5 > 2 and shift:
        values = np.where(rng.random(rows) < shift * 0.4, 1.0, values)
    values[rng.random(rows) < 0.02 * (place % 3)] = np.nan
    return values


def _bins(place: int, values: np.ndarray) -> Bins:
    if place % 5 > 2:
        count = 4 if place % 5 == 3 else 40
        return Bins(edges=None, names=(*map(str, range(count)), "(other)"))
    edges = np.unique(np.nanquantile(values, QUANTILES))
    return Bins(edges=tuple(edges), names=tuple(map(str, range(len(edges) + 1))))


if __name__ == "__main__":
    main()
