"""The production door beside plain `mlflow models serve`, on a table of 20 columns, 13 categorical.

    python benchmarks/mixed_door.py [--amounts] [--seconds 5] [--rounds 3]

Its target is a label, or an amount, which the production door answers with an interval. The
champion is the blend that the pipeline makes of the table; the plain door serves the pickled
scikit-learn pipeline of the same version as MLflow's sklearn flavor. Prints medians of one-row
requests a second at 8 connections, and milliseconds at one connection; the server on one core and
the load on the other.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import pandas as pd
import project
from measure import measure
from server import running

ROWS = 2000
NUMBERS, CATEGORIES = 7, 13
ROWS_ASKED = 200
SAVE = """
import mlflow, sys
from mlflow import MlflowClient
version = MlflowClient().get_model_version_by_alias("mixed", "champion")
model = mlflow.sklearn.load_model(f"models:/mixed/{version.version}")
mlflow.sklearn.save_model(model, sys.argv[1], serialization_format="pickle")
"""


def make_table(rows: int = ROWS, seed: int = 0, *, are_amounts: bool = False) -> pd.DataFrame:
    """Categories of 2 to 30 levels, numbers, and a target that depends on a few of both."""
    rng = np.random.default_rng(seed)
    columns = {f"number_{n}": rng.normal(size=rows).round(3) for n in range(NUMBERS)}
    for n in range(CATEGORIES):
        levels = [f"level {one}" for one in range(2 + 28 * n // CATEGORIES)]
        columns[f"category_{n}"] = rng.choice(levels, rows)
    table = pd.DataFrame(columns)
    odds = table["number_0"] - table["number_1"] + (table["category_0"] == "level 0") * 1.5
    odds += table["category_7"].str[-1].astype(int) / 4 - 1
    odds += rng.logistic(size=rows)
    table["target"] = 100 + 10 * odds if are_amounts else np.where(odds > 0.5, "yes", "no")
    return table


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--amounts", action="store_true", help="an amount is predicted")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary, project.copied(Path(temporary)) as copy:
        folder = Path(temporary)
        table = make_table(are_amounts=options.amounts)
        table.to_csv(copy / "mixed.csv", index=False)
        (copy / "mixed.yaml").write_text(
            "data: {source: mixed.csv, target: target}\ntune: {max_evals: 12}\n"
        )
        rows = table.drop(columns="target").head(ROWS_ASKED).to_dict("records")
        bodies = folder / "one.jsonl"
        bodies.write_text("\n".join(json.dumps({"dataframe_records": [row]}) for row in rows))
        environment = {
            **project.environment(copy, folder / "bytecode"),
            "OMP_NUM_THREADS": "1",
            "MLFLOW_DISABLE_TELEMETRY": "true",
        }
        python, log = sys.executable, folder / "log.txt"
        measure((python, "-m", "pipeline", "run", "mixed.yaml"), copy, environment, log)
        measure((python, "-c", SAVE, str(folder / "sklearn")), copy, environment, log)
        doors = {
            "production door": lambda port: (
                *(python, "-m", "pipeline", "serve", "mixed.yaml"),
                *("--serve.port", str(port)),
            ),
            "mlflow models serve, sklearn flavor": lambda port: (
                *(python, "-m", "mlflow", "models", "serve", "--env-manager", "local"),
                *("--port", str(port), "--model-uri", str(folder / "sklearn")),
            ),
        }
        load = partial(_load, copy, environment, bodies, seconds=options.seconds)
        results: dict[str, list[dict[str, float]]] = {name: [] for name in doors}
        for _ in range(options.rounds):
            for name, command in doors.items():
                with running(command, copy, environment, log) as server:
                    server.pin(sorted(os.sched_getaffinity(0))[0])
                    many, alone = load(server.port, 8), load(server.port, 1)
                results[name].append(
                    {"rate": many["rate"], "p50": alone["p50"], "p99": alone["p99"]}
                )
    print("| door | requests/s, 8 connections | p50 ms | p99 ms |\n| --- | --- | --- | --- |")
    for name, rounds in results.items():
        rate, p50, p99 = (median(one[key] for one in rounds) for key in ("rate", "p50", "p99"))
        print(f"| {name} | {rate:.0f} | {p50:.2f} | {p99:.2f} |")


def _load(copy, environment, bodies, port, connections, *, seconds):
    words = ("--port", port, "--bodies", bodies, "--connections", connections)
    words += ("--seconds", seconds, "--core", sorted(os.sched_getaffinity(0))[1])
    command = [sys.executable, str(project.HERE / "load.py"), *map(str, words)]
    done = subprocess.run(command, cwd=copy, env=environment, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)


if __name__ == "__main__":
    main()
