"""Times the pipeline beside the same fits without MLflow and with MLflow used as usual."""

import argparse
import csv
import json
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from measure import Measurement, measure

ROOT = Path(__file__).resolve().parents[2]
HERE = Path("tests", "benchmarks")  # in the project and in its copies
SHIPPED = ("MLproject", "conda.yaml", "requirements.txt", "configs", "pipeline")
PYTHON = sys.executable
FOLDS = 5
REUSED = ("ingest", "analyze", "tune", "train", "evaluate")  # by an unchanged second run
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
TABLE = "pipeline/data/pima.csv"
PIPELINE = (PYTHON, "-m", "pipeline", "run", "--fresh")
MLFLOW_RUN = (PYTHON, "-m", "mlflow", "run", ".", "--env-manager", "local")
NAMES = {
    "a": "a   python -m pipeline run --fresh",
    "b": "b   bare script, fmin",
    "b2": "b2  bare script, joblib on all cores",
    "c": "c   the usual MLflow project",
    "d": "d   mlflow run ., the first",
    "d second": "d   mlflow run ., the second",
}
AIMS = (("d", "seconds", 60.0), ("d", "tree", 1024.0), ("d second", "seconds", 12.0))


@dataclass(frozen=True)
class Outcome:
    """What a contender found: all of them should have found the same."""

    fits: int
    losses: list[float]  # of the trials, mean over the folds
    scores: Mapping[str, float]  # of the blend on the test part


@dataclass
class Board:
    """Everything measured so far, by contender."""

    measured: dict[str, list[Measurement]] = field(default_factory=dict)
    found: dict[str, Outcome] = field(default_factory=dict)

    def add(self, name: str, measured: Measurement, found: Outcome | None = None) -> None:
        """One more run of a contender."""
        self.measured.setdefault(name, []).append(measured)
        if found is not None:
            self.found[name] = found
        print(f"{NAMES[name]}: {measured.seconds:.1f} s", file=sys.stderr)


def main() -> None:
    """Runs the rounds and prints the table."""
    options = _options()
    with tempfile.TemporaryDirectory(prefix="run_time-") as folder:
        bench = Bench(Path(folder), options.cold, options.threads)
        if not options.cold:
            print("unmeasured round, so that all find bytecode:", file=sys.stderr)
            bench.round(options.only, Board())
        elif "a" not in options.only:
            bench.pipeline(Board())  # for its plan
        board = Board()
        for number in range(options.rounds):
            print(f"round {number + 1}:", file=sys.stderr)
            bench.round(options.only, board)
    _report(board)


class Bench:
    """Runs contenders, each in a fresh copy of the project with an empty store."""

    def __init__(self, folder: Path, cold: bool, threads: int) -> None:
        self.folder = folder
        self.cold = cold
        self.threads = dict.fromkeys(THREADS, str(threads)) if threads else {}
        self.plan = folder / "plan.json"  # what the latest run of the pipeline tried and blended
        self.log = folder / "log.txt"

    def round(self, keys: Iterable[str], board: Board) -> None:
        """Each contender once, in order."""
        if "a" not in keys and not self.plan.exists():
            self.pipeline(Board())
        contenders = {"a": self.pipeline, "b": self.bare, "b2": self.parallel, "c": self.usual}
        contenders["d"] = self.mlflow_run
        for key in keys:
            contenders[key](board)

    def pipeline(self, board: Board) -> None:
        """(a) leaves the plan for those that follow."""
        with self._copy() as copy:
            measured = measure(PIPELINE, copy, self._environment(copy), self.log)
            self.plan.write_text(json.dumps(_plan(copy)))
            board.add("a", measured, _pipeline_outcome(copy))

    def bare(self, board: Board, key: str = "b", *extra: str) -> None:
        """(b)"""
        command = (PYTHON, str(HERE / "bare.py"), "--plan", str(self.plan), *extra)
        with self._copy() as copy:
            environment = {**self._environment(copy), **self.threads}
            measured = measure(command, copy, environment, self.log)
            result = json.loads((copy / "result.json").read_text())
            outcome = Outcome(result["fits"], result["losses"], result["scores"]["blend"])
            board.add(key, measured, outcome)

    def parallel(self, board: Board) -> None:
        """(b2)"""
        self.bare(board, "b2", "--parallel")

    def usual(self, board: Board) -> None:
        """(c), started as (a) is: without the seconds of `mlflow run` around it."""
        with self._copy() as copy:
            command = (PYTHON, "main.py", "--table", str(copy / TABLE), "--plan", str(self.plan))
            folder = copy / HERE / "usual"
            environment = {**self._environment(copy), **self.threads}
            measured = measure(command, folder, environment, self.log)
            board.add("c", measured, _usual_outcome(folder))

    def mlflow_run(self, board: Board) -> None:
        """(d) twice in one folder."""
        with self._copy() as copy:
            for key in ("d", "d second"):
                board.add(key, measure(MLFLOW_RUN, copy, self._environment(copy), self.log))
            text = self.log.read_text(errors="replace")
            missing = [step for step in REUSED if f"{step}: reused" not in text]
            if missing:
                raise RuntimeError(f"the second run reused no {', '.join(missing)}:\n{text}")

    @contextmanager
    def _copy(self) -> Any:
        """What a clone holds, without what runs have left; deleted at the end."""
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            copy = Path(folder)
            for name in (*SHIPPED, HERE):
                if (ROOT / name).is_file():
                    shutil.copy(ROOT / name, copy)
                else:
                    ignored = shutil.ignore_patterns("__pycache__", "mlruns", "mlflow.db*")
                    shutil.copytree(ROOT / name, copy / name, ignore=ignored)
            (copy / "mlruns").mkdir()
            yield copy

    def _environment(self, copy: Path) -> dict[str, str]:
        """The user's, without settings of MLflow and with bytecode of this benchmark's own.

        So it does not matter whether the environment was installed with bytecode.
        """
        left_out = ("MLFLOW_", "PYTHONDONTWRITEBYTECODE")
        kept = {key: value for key, value in os.environ.items() if not key.startswith(left_out)}
        bytecode = (copy if self.cold else self.folder) / "bytecode"
        return {
            **kept,
            "PATH": os.pathsep.join([str(Path(PYTHON).parent), kept.get("PATH", os.defpath)]),
            "PYTHONPATH": os.pathsep.join([str(copy), str(copy / HERE)]),
            "PYTHONPYCACHEPREFIX": str(bytecode),
        }


def _plan(copy: Path) -> dict[str, Any]:
    """What the pipeline tried and how it blended the best, as bare.py and the usual want it."""
    trials = _artifact(copy, "tuning.json")["trials"]
    training = _artifact(copy, "training.json")
    return {
        "trials": [{"family": trial["family"], "params": trial["params"]} for trial in trials],
        "weights": training["weights"],
        "threshold": training["threshold"],
    }


def _pipeline_outcome(copy: Path) -> Outcome:
    losses = [trial["metrics"]["log_loss"] for trial in _artifact(copy, "tuning.json")["trials"]]
    members = sum(weight > 0 for weight in _artifact(copy, "training.json")["weights"].values())
    table = _rows(copy, "metrics.csv")
    baselines = len(table[0].keys() & {"dummy", "tutorial"})
    scores = {row["metric"]: float(row["value"]) for row in table}
    return Outcome(FOLDS * len(losses) + members + baselines, losses, scores)


def _usual_outcome(folder: Path) -> Outcome:
    trials = _rows(folder, "trials.csv")
    scores = _artifact(folder, "scores.json")
    members = len(_artifact(folder, "blend.json")["members"])
    count = sum(int(row["fits"]) for row in trials) + members + len(scores) - 1
    return Outcome(count, [float(row["log_loss"]) for row in trials], scores["blend"])


def _artifact(folder: Path, name: str) -> Any:
    return json.loads(_only(folder, name).read_text())


def _rows(folder: Path, name: str) -> list[dict[str, str]]:
    with _only(folder, name).open(newline="") as file:
        return list(csv.DictReader(file))


def _only(folder: Path, name: str) -> Path:
    """The one artifact of this name in the folder's store."""
    (path,) = folder.glob(f"mlruns/*/*/artifacts/{name}")
    return path


def _report(board: Board) -> None:
    cores = len(os.sched_getaffinity(0))
    rounds = max(map(len, board.measured.values()))
    print(f"\n{rounds} rounds on {cores} cores, load {os.getloadavg()[2]:.1f} over 15 minutes\n")
    base = board.measured.get("a")
    row = "{:<38}{:>8}{:>8}{:>8}{:>7}{:>10}{:>7}{:>10}{:>7}".format
    print(row("", "median s", "min", "max", "x a", "tree MiB", "x a", "largest", "x a"))
    for key, measured in board.measured.items():
        seconds = [m.seconds for m in measured]
        print(
            row(
                NAMES[key],
                *(f"{f(seconds):.1f}" for f in (statistics.median, min, max)),
                _ratio(measured, base, "seconds"),
                *_memory(measured, base, "tree"),
                *_memory(measured, base, "largest"),
            )
        )
    _report_found(board)
    _report_aims(board)


def _memory(measured: list[Measurement], base: list[Measurement] | None, name: str) -> list[str]:
    return [f"{max(getattr(m, name) for m in measured):.0f}", _ratio(measured, base, name)]


def _ratio(measured: list[Measurement], base: list[Measurement] | None, name: str) -> str:
    """Of the medians."""
    if base is None:
        return "-"
    own, other = (statistics.median(getattr(m, name) for m in ms) for ms in (measured, base))
    return f"{own / other:.2f}"


def _report_found(board: Board) -> None:
    """Whether all did the same work."""
    if not board.found:
        return
    first = next(iter(board.found.values()))
    row = "{:<38}{:>8}{:>8}{:>16}{:>16}{:>16}".format
    print("\n" + row("", "trials", "fits", "test accuracy", "test log loss", "trials differ"))
    for key, found in board.found.items():
        apart = max(abs(x - y) for x, y in zip(found.losses, first.losses, strict=True))
        accuracy, loss = found.scores["accuracy"], found.scores["log_loss"]
        print(
            row(
                NAMES[key],
                len(found.losses),
                found.fits,
                f"{accuracy:.9f}",
                f"{loss:.9f}",
                f"{apart:.1e}",
            )
        )


def _report_aims(board: Board) -> None:
    print()
    for key, name, most in AIMS:
        if key in board.measured:
            value = statistics.median(getattr(m, name) for m in board.measured[key])
            verdict = "reached" if value <= most else "MISSED"
            print(f"{NAMES[key]}: {name} {value:.1f}, aim {most:g}: {verdict}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__ + "\n\n" + "\n".join(NAMES.values()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    keys = ("a", "b", "b2", "c", "d")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--only", type=lambda text: text.split(","), default=keys, help="e.g. a,b,b2"
    )
    parser.add_argument(
        "--cold", action="store_true", help="every run compiles what it imports, as the very first"
    )
    parser.add_argument(
        "--threads",
        type=int,
        default=1,
        help="of BLAS and OpenMP in b, b2 and c; 0 leaves it to them (default: 1, as a has it: "
        "on a busy machine more of them mostly wait for each other)",
    )
    options = parser.parse_args()
    if unknown := set(options.only) - set(keys):
        parser.error(f"--only {','.join(unknown)}: choose from {','.join(keys)}")
    return options


if __name__ == "__main__":
    main()
