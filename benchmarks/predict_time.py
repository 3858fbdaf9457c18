"""Rows a second and peak memory of `predict`, beside the same pipeline in one go.

    python benchmarks/predict_time.py [--rows 1000000] [--rounds 3] [--mlflow] [--cores 0 0,1]

The champion of the default search and a linear one, on so many rows drawn from the Pima table, in
Parquet: (a) `python -m pipeline predict`; (b) the pickled scikit-learn pipeline by itself, all rows
read with pandas, `predict_proba` once, and the answers written; with `--mlflow` (c) `mlflow models
predict` on a tenth of them in CSV. Seconds without what each takes on a single row: imports and the
start. Memory is the peak over the process tree. The ways take turns; medians over the rounds, and
of the ratios to (b) in each.
"""

import argparse
import os
import sys
from pathlib import Path
from statistics import median

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
    ways = {"predict": options.rows, "alone": options.rows}
    if options.mlflow:
        ways["mlflow"] = options.rows // 10
    print("| model | cores | way | rows a second | times alone | CPU seconds | peak MiB |")
    print("| --- | --- | --- | ---: | ---: | ---: | ---: |", flush=True)
    with copied(options.folder) as folder:
        _write(folder, options.rows)
        for model in options.models:
            name = ["--registry.model", model]
            _timed(folder, None, sys.executable, "-m", "pipeline", "run", *SEARCHES[model], *name)
            for cores in options.cores:
                rounds = [
                    {way: _measured(folder, model, cores, way) for way in ways}
                    for _ in range(options.rounds)
                ]
                _print(model, cores, ways, rounds)


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


def _measured(folder: Path, model: str, cores: str, way: str) -> Measurement:
    """What all rows take beyond a single one, and the peak of the memory."""
    names = ("one", "tenth" if way == "mlflow" else "many")
    one, many = (_timed(folder, cores, *_command(way, model, name)) for name in names)
    seconds, cpu = many.seconds - one.seconds, many.cpu - one.cpu
    return Measurement(seconds, cpu, many.tree, many.largest)


def _print(
    model: str, cores: str, ways: dict[str, int], rounds: list[dict[str, Measurement]]
) -> None:
    for way, rows in ways.items():
        rates = [rows / each[way].seconds for each in rounds]
        alone = [ways["alone"] / each["alone"].seconds for each in rounds]
        ratio = median(rate / base for rate, base in zip(rates, alone, strict=True))
        cpu = median(each[way].cpu for each in rounds)
        tree = median(each[way].tree for each in rounds)
        figures = f"{median(rates):,.0f} | {ratio:.2f} | {cpu:.1f} | {tree:.0f}"
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
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--models", nargs="+", choices=SEARCHES, default=list(SEARCHES))
    parser.add_argument("--cores", nargs="+", default=["0", "0,1"][: os.cpu_count()])
    parser.add_argument("--mlflow", action="store_true")
    parser.add_argument("--folder", type=Path, help="where the copy of the project is made")
    return parser.parse_args()


if __name__ == "__main__":
    main()
