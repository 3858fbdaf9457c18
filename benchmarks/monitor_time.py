"""Seconds and peak memory of `monitor` on a table of 20 columns, beside reading it with pandas.

    python benchmarks/monitor_time.py [--rows 1000000] [--rounds 3]

The table is that of drift_power.py with a target, in Parquet and in CSV; the model is the default
blend, or a logistic regression. `on one row` is what the command takes by itself: imports, the
store, the pictures and the page. The commands take turns; medians over the rounds.
"""

import argparse
import sys
from pathlib import Path
from statistics import median

import numpy as np
import pandas as pd
from drift_power import COLUMNS, column
from measure import Measurement, measure
from project import copied, environment

TRAINED = 2000  # rows
CONFIG = "configs/twenty.yaml"
SEARCHES = {
    "blend": ["--tune.max_evals", "12"],
    "linear": ["--tune.families", "[logistic_regression]", "--tune.max_evals", "4"],
}
ALONE = {
    "csv": "import sys, pandas as pd; pd.read_csv(sys.argv[1])",
    "parquet": "import sys, pandas as pd; pd.read_parquet(sys.argv[1])",
}


def main() -> None:
    """Prints a line per model and format."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where the copy of the project is made")
    options = parser.parse_args()
    print("| model | format | seconds | on one row | CPU seconds | peak MiB | pandas alone |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: |", flush=True)
    with copied(options.folder) as folder:
        _write(folder, options.rows)
        train = ["--data", "trained.csv", "--target", "target", "--output", CONFIG]
        _timed(folder, "-m", "pipeline", "init", *train)
        for model, settings in SEARCHES.items():
            name = ["--registry.model", model]
            _timed(folder, "-m", "pipeline", "run", CONFIG, *settings, *name)
            monitor = ["-m", "pipeline", "monitor", CONFIG, *name, "--monitor.psi", "9"]
            rounds = [_round(folder, monitor) for _ in range(options.rounds)]
            for suffix in ALONE:
                _print(model, suffix, [each[suffix] for each in rounds])


def _round(folder: Path, monitor: list[str]) -> dict[str, list[Measurement]]:
    """By format: monitor on all rows and on one, and pandas that reads all rows."""
    return {
        suffix: [
            _timed(folder, *monitor, "--data", f"many.{suffix}"),
            _timed(folder, *monitor, "--data", f"one.{suffix}"),
            _timed(folder, "-c", read, f"many.{suffix}"),
        ]
        for suffix, read in ALONE.items()
    }


def _print(model: str, suffix: str, rounds: list[list[Measurement]]) -> None:
    seconds = [median(one.seconds for one in column) for column in zip(*rounds, strict=True)]
    many = [each[0] for each in rounds]
    cpu, tree = median(one.cpu for one in many), median(one.tree for one in many)
    figures = f"{seconds[0]:.1f} | {seconds[1]:.1f} | {cpu:.1f} | {tree:.0f} | {seconds[2]:.1f}"
    print(f"| {model} | {suffix} | {figures} |", flush=True)


def _write(folder: Path, rows: int) -> None:
    rng = np.random.default_rng(0)
    for name, count in {"trained": TRAINED, "one": 1, "many": rows}.items():
        table = pd.DataFrame({f"c{n}": column(rng, n, count, 0.0) for n in range(COLUMNS)})
        odds = table.fillna(0)["c0"] + rng.normal(0, 1, count)
        if name == "trained":  # with labels, metrics and their intervals take some seconds more
            table["target"] = np.where(odds > 0, "yes", "no")
        table.to_csv(folder / f"{name}.csv", index=False)
        table.to_parquet(folder / f"{name}.parquet", index=False)


def _timed(folder: Path, *words: str) -> Measurement:
    variables = environment(folder, folder / "bytecode")
    return measure([sys.executable, *words], folder, variables, folder / "log.txt")


if __name__ == "__main__":
    main()
