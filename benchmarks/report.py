"""What was measured, as tables."""

import os
import statistics
import sys
from dataclasses import dataclass, field

from measure import Measurement
from outcomes import Outcome

NAMES = {
    "a": "a   python -m pipeline run --fresh",
    "b": "b   bare script, fmin",
    "b2": "b2  bare script, joblib on all cores",
    "c": "c   the usual MLflow project",
    "d": "d   mlflow run ., the first",
    "d second": "d   mlflow run ., the second",
}
AIMS = (
    ("d", "seconds", 60.0),
    ("d", "tree", 1024.0),
    ("d second", "seconds", 12.0),
)


@dataclass
class Board:
    """Everything measured so far, by contender."""

    measured: dict[str, list[Measurement]] = field(default_factory=dict)
    found: dict[str, Outcome] = field(default_factory=dict)

    def add(self, key: str, measured: Measurement, found: Outcome | None = None) -> None:
        """One more run of a contender."""
        self.measured.setdefault(key, []).append(measured)
        if found is not None:
            self.found[key] = found
        print(f"{NAMES[key]}: {measured.seconds:.1f} s", file=sys.stderr)

    def values(self, key: str, name: str) -> list[float]:
        """One quantity in all rounds."""
        return [getattr(measured, name) for measured in self.measured[key]]

    def ratio(self, key: str, name: str) -> str:
        """Against (a): the median over the rounds, in each of which both ran side by side."""
        if "a" not in self.measured:
            return "-"
        pairs = zip(self.values(key, name), self.values("a", name), strict=True)
        return f"{statistics.median(own / base for own, base in pairs):.2f}"


def show(board: Board) -> None:
    """All tables."""
    _show_measured(board)
    _show_found(board)
    _show_aims(board)


def _show_measured(board: Board) -> None:
    cores = len(os.sched_getaffinity(0))
    rounds = max(map(len, board.measured.values()))
    load = os.getloadavg()[2]
    print(f"\n{rounds} rounds on {cores} cores; load over 15 minutes: {load:.1f}")
    row = "{:<38}{:>8}{:>8}{:>8}{:>7}{:>9}{:>7}{:>9}{:>7}{:>9}{:>7}".format
    heads = ("wall s", "min", "max", "x a", "CPU s", "x a", "tree MiB", "x a", "largest", "x a")
    print("\n" + row("", *heads))
    for key in board.measured:
        seconds = board.values(key, "seconds")
        cells = [f"{pick(seconds):.1f}" for pick in (statistics.median, min, max)]
        cells += [board.ratio(key, "seconds")]
        cells += [f"{statistics.median(board.values(key, 'cpu')):.1f}", board.ratio(key, "cpu")]
        for name in ("tree", "largest"):
            cells += [f"{max(board.values(key, name)):.0f}", board.ratio(key, name)]
        print(row(NAMES[key], *cells))


def _show_found(board: Board) -> None:
    """Whether all did the same work."""
    if not board.found:
        return
    first = next(iter(board.found.values()))
    row = "{:<38}{:>8}{:>8}{:>16}{:>16}{:>16}".format
    print("\n" + row("", "trials", "fits", "test accuracy", "test log loss", "losses differ"))
    for key, found in board.found.items():
        apart = max(abs(x - y) for x, y in zip(found.losses, first.losses, strict=True))
        scores = [f"{found.scores[name]:.9f}" for name in ("accuracy", "log_loss")]
        print(row(NAMES[key], len(found.losses), found.fits, *scores, f"{apart:.1e}"))


def _show_aims(board: Board) -> None:
    print()
    for key, name, most in AIMS:
        if key in board.measured:
            value = statistics.median(board.values(key, name))
            verdict = "reached" if value <= most else "MISSED"
            print(f"{NAMES[key]}: {name} {value:.1f}, aim {most:g}: {verdict}")
