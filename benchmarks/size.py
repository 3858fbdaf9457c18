"""Times and memory of the main job on made tables, by their rows and columns.

Each table is half numbers and half categories, truths and dates, in CSV, with the shortest config
that there is. Memory is the peak of the sum over the process tree, each page counted once.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
from measure import measure
from project import ROOT

BLOCK = 100_000  # rows that are made at a time
LEVELS = (5, 30)
Column = Callable[[np.random.Generator, int], Any]


def main() -> None:
    """Prints a line per table and verb."""
    options = _options()
    print("| rows | columns | CSV MiB | verb | seconds | CPU seconds | peak MiB |")
    print("| ---: | ---: | ---: | --- | ---: | ---: | ---: |", flush=True)
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        for size in options.tables:
            rows, columns = map(int, size.split("x"))
            source = folder / "table.csv"
            write(source, rows, columns, options.seed)
            for verb in options.verbs:
                _measure(folder, source, verb, options.evals, f"{rows} | {columns}")
            source.unlink()


def write(path: Path, rows: int, columns: int, seed: int) -> None:
    """A table whose log-odds are linear in its columns, but for one product, in blocks."""
    rng = np.random.default_rng(seed)
    strengths = rng.normal(size=columns) / np.sqrt(columns)
    for start in range(0, rows, BLOCK):
        count = min(BLOCK, rows - start)
        cells = [_column(rng, place, columns, count) for place in range(columns)]
        scores = [_standardized(values) for values, _ in cells]
        odds = np.sum([w * one for w, one in zip(strengths, scores, strict=True)], axis=0)
        odds += 0.5 * scores[0] * scores[1] - 1
        table = {f"column {place}": written for place, (_, written) in enumerate(cells)}
        table["target"] = (rng.random(count) < 1 / (1 + np.exp(-odds))).astype(int)
        options = pa.csv.WriteOptions(include_header=not start, quoting_style="none")
        with path.open("ab" if start else "wb") as file:
            pa.csv.write_csv(pa.table(table), file, options)


def _column(rng: np.random.Generator, place: int, columns: int, rows: int) -> tuple[Any, Any]:
    """The numbers behind a column's cells, and the cells."""
    if place < columns // 2:
        if place % 3 == 2:
            whole = rng.integers(0, 100, rows)
            return whole, whole
        numbers = rng.normal(50, 10, rows).round(3)
        return numbers, pa.array(numbers, mask=rng.random(rows) < 0.02)
    match place % 4:
        case 0:
            days = rng.integers(0, 2000, rows)
            return days, (np.datetime64("2020-01-01") + days).astype(str)
        case 1:
            truths = rng.random(rows) < 0.3
            return truths, np.where(truths, "true", "false")
        case kind:
            codes = rng.integers(0, LEVELS[kind - 2], rows)
            names = np.array([f"level {code}" for code in range(LEVELS[kind - 2])])
            return codes, names[codes]


def _standardized(values: Any) -> Any:
    return (values - np.mean(values)) / np.std(values)


def _measure(folder: Path, source: Path, verb: str, evals: int, size: str) -> None:
    config = folder / "table.yaml"
    config.write_text(
        f"data: {{source: {source}, target: target, positive: 1}}\n"
        f"registry: {{model: table}}\ntune: {{max_evals: {evals}}}\n",
        encoding="utf-8",
    )
    store = folder / "store.db"
    store.unlink(missing_ok=True)
    environment = {**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{store}"}
    environment["PYTHONPATH"] = str(ROOT)
    command = [sys.executable, "-m", "pipeline", verb, str(config)]
    mib = source.stat().st_size / 2**20
    try:
        took = measure(command, folder, environment, folder / f"{verb}.log", pss=True, poll=0.25)
        figures = f"{took.seconds:.0f} | {took.cpu:.0f} | {took.tree:.0f}"
    except RuntimeError as error:
        figures = f"failed: {str(error).splitlines()[-1]} | |"
    print(f"| {size} | {mib:.0f} | {verb} | {figures} |", flush=True)
    print((folder / f"{verb}.log").read_text(errors="replace"), file=sys.stderr, flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    sizes = ["100000x20", "1000000x20", "5000000x20"]
    parser.add_argument("--tables", nargs="+", default=sizes, help="rows x columns: 100000x20")
    parser.add_argument("--verbs", nargs="+", default=["ingest", "analyze"])
    parser.add_argument("--evals", type=int, default=6, help="trials of the search")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", help="where tables and stores are put meanwhile")
    return parser.parse_args()


if __name__ == "__main__":
    main()
