"""Times a promotion with its proofs and records, beside MLflow's own two calls and no gate."""

import argparse
import re
import statistics
import sys
import tempfile
from pathlib import Path

import processes
from measure import measure
from project import copied, environment

AIM = 3.0  # seconds of the step
SIMPLE = ("--tune.families", "[extra_trees]", "--tune.max_evals", "1")
BARE = """
import sys, mlflow
from mlflow import MlflowClient
client = MlflowClient()
order = ["attributes.start_time DESC"]
run = client.search_runs(["0"], "tags.step = 'train'", order_by=order, max_results=1)[0]
version = mlflow.register_model(f"models:/{run.data.tags['model_id']}", sys.argv[1])
client.set_registered_model_alias(sys.argv[1], "champion", version.version)
"""
VERBS: dict[str, tuple[str, ...]] = {
    "promote, the first": ("promote", *SIMPLE),
    "promote, beside a champion": ("promote",),
    "promote, champion already": ("promote",),
    "rollback": ("rollback",),
    "promote, serve_check full": ("promote", *SIMPLE, "--gate.serve_check", "full"),
}
BY_HAND = "register_model and an alias"


def main() -> None:
    """Prints seconds of the step `promote` and of the whole command, medians over the rounds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    processes.leave_in_order()
    steps: dict[str, list[float]] = {}
    walls: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder, copied(Path(folder)) as copy:
        variables = environment(copy, Path(folder) / "bytecode")
        log = Path(folder) / "log"

        def run(*command: str) -> float:
            return measure([sys.executable, *command], copy, variables, log).seconds

        for options in (SIMPLE, ()):  # what the promotions find done
            run("-m", "pipeline", "run", *options)
        for number in range(rounds + 1):
            for name, verb in VERBS.items():
                own = f"round{number}" if "full" not in name else f"full{number}"
                wall = run("-m", "pipeline", *verb, "--registry.model", own)
                took = re.search(r"promote took ([\d.]+) s", log.read_text())
                if number:  # the first leaves bytecode
                    walls.setdefault(name, []).append(wall)
                    steps.setdefault(name, []).extend([float(took[1])] if took else [])
            wall = run("-c", BARE, f"hand{number}")
            if number:
                walls.setdefault(BY_HAND, []).append(wall)
    _print(steps, walls)


def _print(steps: dict[str, list[float]], walls: dict[str, list[float]]) -> None:
    print(f"{'':32}{'step s':>8}{'min':>8}{'max':>8}{'command s':>11}")
    for name, seconds in walls.items():
        step = steps.get(name) or []
        cells = (statistics.median(step), min(step), max(step)) if step else ("", "", "")
        shown = "".join(f"{cell:8.1f}" if cell != "" else " " * 8 for cell in cells)
        print(f"{name:32}{shown}{statistics.median(seconds):11.1f}")
    slowest = max(statistics.median(steps[name]) for name in list(VERBS)[:2])
    print(f"\npromote with its proof: {slowest:.1f} s, aim {AIM:.1f}: ", end="")
    print("reached" if slowest <= AIM else "MISSED")


if __name__ == "__main__":
    main()
