"""How often the checks of `analyze` alarm on made tables without a fault, and miss one that is.

    python benchmarks/table_checks.py --tables 300

Each table has columns of random kinds, correlated with each other and some with the target; one in
five has levels and counts alone, in which rows are alike by chance. Prints
the share of tables with any alarm, by rows and columns; the alarms of each check; for each fault
the share of tables in which its column is named; and the time on 50 columns and 5,000 rows.
"""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import norm, poisson

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pipeline.config.sections import Config, Data, Registry, Split
from pipeline.datasets.checks.table import CHECKS, check_table
from pipeline.datasets.dataset import build_dataset
from pipeline.results import Dataset
from pipeline.schema.columns import CategoryColumn, NumberColumn

Rng = np.random.Generator
SIZES = [(150, 6), (150, 30), (800, 10), (800, 60), (5_000, 20)]
DISCRETE = ("grade", "truth", "levels", "count")  # of which some tables are made alone
SPLITS = ("chance", "time", "group")
GROUPS = 40  # of a split by group, at least

# From a uniform variable and the columns' own parameters to cells without a fault.
KINDS: dict[str, Callable[[Rng, Any], Any]] = {
    "normal": lambda rng, u: norm.ppf(u) * rng.uniform(1, 30) + rng.normal(0, 100),
    "positive normal, rounded": lambda rng, u: np.round(norm.ppf(u) * 10 + rng.uniform(40, 120)),
    "lognormal": lambda rng, u: (
        np.exp(norm.ppf(u) * rng.uniform(0.3, 2)) * 10 ** rng.uniform(-2, 5)
    ),
    "exponential, in cents": lambda rng, u: np.round(-np.log1p(-u) * rng.uniform(1, 500), 2),
    "uniform": lambda rng, u: u * rng.uniform(1, 1000),
    "share": lambda rng, u: np.round(u ** rng.uniform(0.3, 3), 3),
    "percent, whole": lambda rng, u: np.floor(u * 101),
    "age": lambda rng, u: np.round(18 + 75 * u ** rng.uniform(1, 2)),
    "count": lambda rng, u: counts(rng, u, rng.uniform(0.3, 30)),
    "count with more zeros": lambda rng, u: np.where(
        rng.random(len(u)) < 0.4, 0, counts(rng, u, rng.uniform(0.5, 8))
    ),
    "amount or zero": lambda rng, u: np.where(
        u < rng.uniform(0.1, 0.9), 0, np.round(rng.lognormal(4, rng.uniform(1, 2), len(u)), 2)
    ),
    "difference": lambda rng, u: np.round(norm.ppf(u) * rng.uniform(1, 20)),
    "grade": lambda rng, u: 1 + np.floor(u * 5),
    "truth": lambda rng, u: (u < rng.uniform(0.05, 0.5)).astype(float),
    "levels": lambda rng, u: levels(rng, u, rng.integers(2, 7)),
}


def counts(rng: Rng, u: Any, mean: float) -> Any:
    return poisson.ppf(u, mean)


def levels(rng: Rng, u: Any, count: int) -> Any:
    """None of them rare."""
    edges = np.linspace(0, 1, count + 1)[1:-1]
    return np.array([f"level {place}" for place in range(count)])[np.searchsorted(edges, u)]


def clean_table(rng: Rng, rows: int, columns: int) -> pd.DataFrame:
    """Columns with one common factor, and a target that follows from a few of them."""
    factor = rng.normal(size=(rows, 1))
    share = rng.uniform(0, 0.7, columns)
    latent = np.sqrt(share) * factor + np.sqrt(1 - share) * rng.normal(size=(rows, columns))
    uniform = norm.cdf(latent)
    names = rng.choice(list(KINDS) if rng.random() < 0.8 else DISCRETE, columns)
    cells = {f"x{place}": KINDS[kind](rng, uniform[:, place]) for place, kind in enumerate(names)}
    odds = latent[:, :4] @ rng.normal(0, rng.uniform(0.3, 1.5), 4) + rng.logistic(size=rows)
    classes = int(rng.integers(2, 4))
    return pd.DataFrame(cells).assign(y=pd.qcut(odds, classes, labels=False))


def built(table: pd.DataFrame, split: str, rng: Rng) -> Dataset:
    table = table.assign(when=np.arange(len(table)))
    table["whose"] = rng.integers(0, max(GROUPS, len(table) // 5), len(table))
    by = {"time": {"time": "when"}, "group": {"group": "whose"}}.get(split, {})
    columns = {
        name: NumberColumn() if cells.dtype.kind in "fi" else CategoryColumn()
        for name, cells in table.drop(columns=["y", "when", "whose"]).items()
    }
    config = Config(
        data=Data(
            source="made.csv",
            target="y",
            positive=1 if table["y"].nunique() == 2 else None,
            columns=columns,
            drop={"when": "the order", "whose": "a group"},
        ),
        split=Split(**by),
        registry=Registry(model="made"),
    )
    return build_dataset(config, table, digest="0" * 64)


def with_mark(mark: float, kind: str) -> Callable[[Rng, pd.DataFrame], pd.DataFrame]:
    def plant(rng: Rng, table: pd.DataFrame) -> pd.DataFrame:
        cells = np.asarray(KINDS[kind](rng, rng.random(len(table))), dtype=float)
        return table.assign(x=np.where(rng.random(len(table)) < 0.05, mark, cells))

    return plant


def leak(rng: Rng, table: pd.DataFrame) -> pd.DataFrame:
    """An amount that is there in one class alone, but for 1 % of the rows."""
    is_there = (table["y"] == 1) ^ (rng.random(len(table)) < 0.01)
    amount = np.where(is_there, rng.exponential(10, len(table)), 0)
    return table.assign(x=amount, y=(table["y"] == 1).astype(int))


def twice(rng: Rng, table: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([table, table.sample(frac=0.05, random_state=0)], ignore_index=True)


def drift(rng: Rng, table: pd.DataFrame) -> pd.DataFrame:
    """Half a standard deviation from the first row to the last, twice."""
    return table.assign(x=rng.normal(size=len(table)) + np.linspace(0, 1.5, len(table)))


FAULTS: dict[str, tuple[str, str, Callable[[Rng, pd.DataFrame], pd.DataFrame]]] = {
    "0 in 5 % of a normal measure": (
        "missing_numbers",
        "x",
        with_mark(0, "positive normal, rounded"),
    ),
    "0 in 5 % of ages": ("missing_numbers", "x", with_mark(0, "age")),
    "999 in 5 % of ages": ("missing_numbers", "x", with_mark(999, "age")),
    "-1 in 5 % of counts": ("missing_numbers", "x", with_mark(-1, "count")),
    "-9 in 5 % of shares": ("missing_numbers", "x", with_mark(-9, "share")),
    "98 in 5 % of grades": ("missing_numbers", "x", with_mark(98, "grade")),
    "amount in one class alone": ("leaks", "x", leak),
    "column twice": ("copies", "x", lambda rng, table: table.assign(x=2 * table["x_normal"])),
    "5 % of the rows twice": ("repeated_rows", "", twice),
    "drift, split by time": ("shift", "x", drift),
}


def false_alarms(tables: int) -> None:
    print(f"| rows | columns | split | tables | with an alarm | alarms by check |\n|{' --- |' * 6}")
    total = Counter()
    for rows, columns in SIZES:
        for split in SPLITS:
            alarms, hits = Counter(), 0
            for seed in range(tables):
                rng = np.random.default_rng([seed, rows, columns, SPLITS.index(split)])
                findings = check_table(built(clean_table(rng, rows, columns), split, rng))
                named = [check for check, each in findings.items() if each]
                alarms.update(named)
                hits += bool(named)
            total.update({"tables": tables, "alarms": hits})
            by_check = ", ".join(f"{name} {count}" for name, count in alarms.most_common())
            print(f"| {rows} | {columns} | {split} | {tables} | {hits / tables:.1%} | {by_check} |")
    print(f"\nIn all: {total['alarms'] / total['tables']:.1%} of {total['tables']} tables\n")


def detection(tables: int) -> None:
    print(f"| fault | named at 150 rows | at 800 |\n|{' --- |' * 3}")
    for name, (check, column, plant) in FAULTS.items():
        shares = []
        for rows in (150, 800):
            hits = 0
            for seed in range(tables):
                rng = np.random.default_rng([seed, rows, 1])
                table = clean_table(rng, rows, 10).assign(x_normal=rng.normal(size=rows))
                dataset = built(plant(rng, table), "time" if check == "shift" else "chance", rng)
                sentences = [one.sentence for one in check_table(dataset)[check]]
                hits += any(one.startswith(f"{column}:" if column else "") for one in sentences)
            shares.append(f"{hits / tables:.0%}")
        print(f"| {name} | {' | '.join(shares)} |")


def seconds() -> None:
    rng = np.random.default_rng(0)
    for rows, columns in [(5_000, 50), (5_000, 500), (200_000, 50)]:
        dataset = built(clean_table(rng, rows, columns), "time", rng)
        start = time.perf_counter()
        check_table(dataset)
        print(f"{rows} rows x {columns} columns: {time.perf_counter() - start:.2f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tables", type=int, default=200, help="of each size and split")
    tables = parser.parse_args().tables
    print(f"{len(CHECKS)} checks\n")
    false_alarms(tables)
    detection(tables)
    print()
    seconds()


if __name__ == "__main__":
    main()
