"""What serve_time.py measured, as tables."""

import os
import statistics
import sys
from dataclasses import dataclass, field

from contenders import BASE, CONTENDERS, MANY


@dataclass(frozen=True)
class Served:
    """What one server did in one round."""

    rate: float  # requests of one row a second over all connections
    p50: float  # milliseconds, over one connection
    p99: float
    many: float  # requests of many rows a second
    seconds: float  # from its start to its first answer
    largest: float  # MiB of its largest process
    tree: float  # MiB of all its processes, shared memory counted once
    busy: float  # share of its time that the load generator worked at most

    @property
    def rows(self) -> float:
        """Rows a second in requests of many."""
        return self.many * MANY


@dataclass(frozen=True)
class Aim:
    """A quantity of a contender, or its ratio to another's, that should reach a bound."""

    key: str
    quantity: str
    bounds: dict[str, float]  # by champion
    against: str | None = None
    at_least: bool = True

    def __str__(self) -> str:
        told = f"{self.key}: {COLUMNS[self.quantity].head}"
        return f"{told}, times {self.against}'s" if self.against else told


def _both(bound: float) -> dict[str, float]:
    return {"linear": bound, "blend": bound}


AIMS = (
    Aim("guarded", "rate", {"linear": 40, "blend": 20}, BASE),
    Aim("guarded", "rate", {"linear": 4, "blend": 2}, "fastapi"),
    Aim("ours", "rate", _both(2), BASE),
    Aim("logged", "rate", _both(0.95), "guarded"),
    Aim("guarded", "p99", _both(1), at_least=False),
    Aim("guarded", "p99", _both(1), "fastapi", at_least=False),
    Aim("guarded", "many", _both(3), BASE),
    Aim("guarded", "seconds", _both(1), BASE, at_least=False),
    Aim("guarded", "largest", _both(1), BASE, at_least=False),
    Aim("bare", "rate", _both(35_000)),  # else the load generator is what limits
)


@dataclass
class Board:
    """Everything measured so far of one champion, by contender."""

    champion: str
    measured: dict[str, list[Served]] = field(default_factory=dict)

    def add(self, key: str, served: Served) -> None:
        """One more round of a contender."""
        self.measured.setdefault(key, []).append(served)
        told = f"{served.rate:.0f} requests/s, {served.many:.2f} of {MANY} rows"
        print(f"{self.champion}, {CONTENDERS[key].name}: {told}", file=sys.stderr)

    def median(self, key: str, quantity: str, against: str | None = None) -> float:
        """Over the rounds; of the ratios in each, where both ran side by side."""
        values = self._values(key, quantity)
        if against:
            pairs = zip(values, self._values(against, quantity), strict=True)
            values = [own / base for own, base in pairs]
        return statistics.median(values)

    def _values(self, key: str, quantity: str) -> list[float]:
        return [getattr(served, quantity) for served in self.measured[key]]


@dataclass(frozen=True)
class Column:
    """How a quantity is shown."""

    head: str
    digits: int
    compared: bool = False  # with the base


COLUMNS = {
    "rate": Column("req/s", 0, compared=True),
    "p50": Column("p50 ms", 3),
    "p99": Column("p99 ms", 3),
    "many": Column("long/s", 2, compared=True),
    "rows": Column("rows/s", 0),
    "seconds": Column("start s", 2, compared=True),
    "largest": Column("MiB", 0, compared=True),
    "tree": Column("tree MiB", 0),
}


def show(board: Board) -> None:
    """The table and the aims."""
    rounds = max(map(len, board.measured.values()))
    load = f"load over 15 minutes: {os.getloadavg()[2]:.1f}"
    print(f"\n{board.champion} champion, median of {rounds} rounds; {load}")
    print(f"x: times {CONTENDERS[BASE].name}; long/s: requests of {MANY} rows a second\n")
    heads = [head for column in COLUMNS.values() for head in _cells(column, column.head, "x")]
    row = ("{:<38}" + "{:>9}" * len(heads)).format
    print(row("", *heads))
    for key in board.measured:
        cells: list[str] = []
        for quantity, column in COLUMNS.items():
            value = f"{board.median(key, quantity):.{column.digits}f}"
            cells += _cells(column, value, _ratio(board, key, quantity))
        print(row(CONTENDERS[key].name, *cells))
    busy = max(board.median(key, "busy") for key in board.measured)
    print(f"\nThe load generator was busy for {busy:.0%} of the time at most.\n")
    for aim in AIMS:
        if {aim.key, aim.against or aim.key} <= set(board.measured):
            _show_aim(board, aim)


def _cells(column: Column, value: str, ratio: str) -> list[str]:
    return [value, ratio] if column.compared else [value]


def _ratio(board: Board, key: str, quantity: str) -> str:
    return f"{board.median(key, quantity, BASE):.2f}" if BASE in board.measured else "-"


def _show_aim(board: Board, aim: Aim) -> None:
    value, bound = board.median(aim.key, aim.quantity, aim.against), aim.bounds[board.champion]
    reached = value >= bound if aim.at_least else value <= bound
    words = "at least" if aim.at_least else "at most"
    verdict = "reached" if reached else "MISSED"
    print(f"{aim!s:<44}{value:>12.2f}   aim: {words} {bound:g}: {verdict}")
