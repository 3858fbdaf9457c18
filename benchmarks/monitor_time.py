"""Seconds and peak memory of `monitor` on a table of 20 columns, beside reading it with pandas.

    python benchmarks/monitor_time.py [--rows 1000000]

The table is that of drift_power.py with a target, in Parquet and in CSV; the model is the default
blend, or a logistic regression. `on one row` is what the command takes by itself: imports, the
store, the pictures and the page.
"""

import argparse
import sys
from pathlib import Path

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
            for suffix, read in ALONE.items():
                command = ["-m", "pipeline", "monitor", CONFIG, *name, "--monitor.psi", "9"]
                one = _timed(folder, *command, "--data", f"one.{suffix}")
                many = _timed(folder, *command, "--data", f"many.{suffix}")
                alone = _timed(folder, "-c", read, f"many.{suffix}")
                figures = f"{many.seconds:.1f} | {one.seconds:.1f} | {many.cpu:.1f}"
                memory = f"{many.tree:.0f} | {alone.seconds:.1f}"
                print(f"| {model} | {suffix} | {figures} | {memory} |", flush=True)


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
