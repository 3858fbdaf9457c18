"""Rows a second and peak memory of `predict`, beside the same pipeline in one go.

    python benchmarks/predict_time.py [--rows 1000000] [--mlflow] [--cores 0 0,1]

The champion of the default search and a linear one, on so many rows drawn from the Pima table, in
Parquet: (a) `python -m pipeline predict`; (b) the pickled scikit-learn pipeline by itself, all rows
read with pandas, `predict_proba` once, and the answers written; with `--mlflow` (c) `mlflow models
predict` on a tenth of them in CSV. Seconds without what each takes on a single row: imports and the
start. Memory is the peak over the process tree.
"""

import argparse
import os
import sys
from pathlib import Path

import pandas as pd
from measure import Measurement, measure
from project import ROOT, copied, environment

SOURCE = ROOT / "data/pima.csv"
SEARCHES = {
    "blend": ["--tune.max_evals", "12"],
    "linear": ["--tune.families", "[logistic_regression]", "--tune.max_evals", "4"],
}
ALONE = """
import sys, mlflow, pandas as pd
model = mlflow.sklearn.load_model(f"models:/{sys.argv[1]}@champion")
table = pd.read_parquet(sys.argv[2])
rows = table.drop(columns="Outcome").astype("float64")
table["probability"] = model.predict_proba(rows)[:, 1]
table.to_parquet(sys.argv[3], index=False)
"""


def main() -> None:
    """Prints a line per model, way and set of cores."""
    options = _options()
    print("| model | cores | way | seconds | rows a second | CPU seconds | peak MiB |")
    print("| --- | --- | --- | ---: | ---: | ---: | ---: |", flush=True)
    with copied(options.folder) as folder:
        _write(folder, options.rows)
        for model, settings in SEARCHES.items():
            name = ["--registry.model", model]
            _timed(folder, None, sys.executable, "-m", "pipeline", "run", *settings, *name)
            for cores in options.cores:
                for way in ("predict", "alone", *["mlflow"] * options.mlflow):
                    _row(folder, model, cores, way, options.rows)


def _write(folder: Path, rows: int) -> None:
    table = pd.read_csv(SOURCE)
    many = table.sample(rows, replace=True, random_state=0)
    drawn = {"one": table.head(1), "many": many, "tenth": many.head(rows // 10)}
    for name, part in drawn.items():
        part.to_parquet(folder / f"{name}.parquet", index=False)
        rows_alone = part.drop(columns="Outcome").astype(
            "float64"
        )  # MLflow takes no integer for one
        rows_alone.to_csv(folder / f"{name}.csv", index=False)


def _row(folder: Path, model: str, cores: str, way: str, rows: int) -> None:
    name, rows = ("tenth", rows // 10) if way == "mlflow" else ("many", rows)
    one, many = (_timed(folder, cores, *_command(way, model, each)) for each in ("one", name))
    seconds, cpu = many.seconds - one.seconds, many.cpu - one.cpu
    figures = f"{seconds:.1f} | {rows / seconds:,.0f} | {cpu:.1f} | {many.tree:.0f}"
    print(f"| {model} | {cores} | {way} | {figures} |", flush=True)


def _command(way: str, model: str, name: str) -> list[str]:
    champion = ["--registry.model", model]
    predict = ["-m", "pipeline", "predict", "--data", f"{name}.parquet", "--output", "out.parquet"]
    uri = f"models:/{model}@champion"
    return {
        "predict": [sys.executable, *predict, "--force", *champion],
        "alone": [sys.executable, "-c", ALONE, model, f"{name}.parquet", "alone.parquet"],
        "mlflow": [
            *("mlflow", "models", "predict", "-m", uri, "-i", f"{name}.csv"),
            *("-t", "csv", "-o", "mlflow.json", "--env-manager", "local"),
        ],
    }[way]


def _timed(folder: Path, cores: str | None, *command: str) -> Measurement:
    bound = ["taskset", "-c", cores, *command] if cores else list(command)
    return measure(bound, folder, environment(folder, folder / "bytecode"), folder / "log.txt")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--cores", nargs="+", default=["0", "0,1"][: os.cpu_count()])
    parser.add_argument("--mlflow", action="store_true")
    parser.add_argument("--folder", type=Path, help="where the copy of the project is made")
    return parser.parse_args()


if __name__ == "__main__":
    main()
