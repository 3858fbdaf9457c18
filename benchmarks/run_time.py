"""Times the pipeline beside the same fits without MLflow, and with MLflow used as usual."""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path

import outcomes
import processes
import project
import report
from choices import some_of
from measure import Measurement, measure
from project import HERE
from report import Board

TABLE = Path("data", "pima.csv")
PIPELINE = (sys.executable, "-m", "pipeline", "run", "--fresh")
MLFLOW_RUN = (sys.executable, "-m", "mlflow", "run", ".", "--env-manager", "local")
REUSED = ("ingest", "analyze", "tune", "train", "evaluate")  # by an unchanged second run
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
CONTENDERS = ("a", "b", "b2", "c", "d")


def main() -> None:
    """Runs the rounds and prints the tables."""
    options = _options()
    processes.leave_in_order()
    board = Board()
    with tempfile.TemporaryDirectory(prefix="run_time-", ignore_cleanup_errors=True) as folder:
        bench = Bench(Path(folder), options)
        if "a" not in options.only or not options.cold:
            print("not counted:", file=sys.stderr)
        if "a" not in options.only:
            bench.pipeline(Board())  # for its plan
        if not options.cold:
            bench.round(options.only, Board())  # for the bytecode
        for number in range(options.rounds):
            print(f"round {number + 1}:", file=sys.stderr)
            bench.round(options.only, board)
    report.show(board)


class Bench:
    """Runs contenders, each in a fresh copy of the project with an empty store."""

    def __init__(self, folder: Path, options: argparse.Namespace) -> None:
        self.folder = folder
        self.options = options
        self.plan = folder / "plan.json"  # what the latest run of the pipeline tried and blended

    def round(self, keys: Iterable[str], board: Board) -> None:
        """Each contender once, in order."""
        runners = (self.pipeline, self.bare, self.bare_parallel, self.usual, self.mlflow_run)
        by_key = dict(zip(CONTENDERS, runners, strict=True))
        for key in keys:
            by_key[key](board)

    def pipeline(self, board: Board) -> None:
        """(a), which leaves the plan for those that follow."""
        with self._copy() as copy:
            measured = self._measure(PIPELINE, copy, self._environment(copy))
            self.plan.write_text(json.dumps(outcomes.plan(copy)))
            board.add("a", measured, outcomes.of_pipeline(copy))

    def bare(self, board: Board, key: str = "b", *extra: str) -> None:
        """(b)"""
        command = (sys.executable, str(HERE / "bare.py"), "--plan", str(self.plan), *extra)
        with self._copy() as copy:
            measured = self._measure(command, copy, self._with_threads(copy))
            board.add(key, measured, outcomes.of_bare(copy))

    def bare_parallel(self, board: Board) -> None:
        """(b2)"""
        self.bare(board, "b2", "--parallel")

    def usual(self, board: Board) -> None:
        """(c), started as (a) is: without the seconds of `mlflow run` around it."""
        with self._copy() as copy:
            folder = copy / HERE / "usual"
            command = (sys.executable, "main.py", "--table", str(copy / TABLE))
            command += ("--plan", str(self.plan))
            measured = self._measure(command, folder, self._with_threads(copy))
            board.add("c", measured, outcomes.of_usual(folder))

    def mlflow_run(self, board: Board) -> None:
        """(d), twice in one folder."""
        with self._copy() as copy:
            for key in ("d", "d second"):
                board.add(key, self._measure(MLFLOW_RUN, copy, self._environment(copy)))
            text = self._log.read_text(errors="replace")
            missing = [step for step in REUSED if f"{step}: reused" not in text]
            if missing:
                raise RuntimeError(f"the second run did not reuse {', '.join(missing)}:\n{text}")

    @property
    def _log(self) -> Path:
        """What the latest command has printed."""
        return self.folder / "log.txt"

    def _measure(
        self, command: tuple[str, ...], folder: Path, environment: dict[str, str]
    ) -> Measurement:
        return measure(command, folder, environment, self._log, self.options.pss)

    def _copy(self) -> AbstractContextManager[Path]:
        return project.copied(self.folder)

    def _environment(self, copy: Path) -> dict[str, str]:
        return project.environment(copy, (copy if self.options.cold else self.folder) / "bytecode")

    def _with_threads(self, copy: Path) -> dict[str, str]:
        """The environment of a contender that leaves threads to the libraries."""
        threads = self.options.threads
        return {
            **self._environment(copy),
            **dict.fromkeys(THREADS if threads else (), f"{threads}"),
        }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="\n".join([str(__doc__), *report.NAMES.values()]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=3, help="how often (default: 3)")
    parser.add_argument(
        "--only", type=some_of(CONTENDERS), default=CONTENDERS, help="some only, e.g. a,b,b2"
    )
    parser.add_argument(
        "--threads",
        type=int,
        default=1,
        help="BLAS and OpenMP threads of b, b2 and c, 0 for as many as they take (default: 1, "
        "which the pipeline sets itself; on a busy machine more of them mostly wait)",
    )
    parser.add_argument(
        "--cold", action="store_true", help="each run compiles all that it imports, as the first"
    )
    parser.add_argument(
        "--pss",
        action="store_true",
        help="count memory that processes share once in the tree; reading it slows the run down",
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
