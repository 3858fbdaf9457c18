"""Times the endpoint beside other servers of the same model, each on a core of its own."""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import processes
import project
import serve_report
from choices import some_of
from contenders import CONTENDERS, Champion
from doors import MODEL
from measure import measure
from serve_report import Board, Served
from server import Server, running

RUN = (sys.executable, "-m", "pipeline", "run", "configs/pima.yaml")
SETTINGS = {
    "tune.families": "[logistic_regression]",
    "tune.space": "{logistic_regression: {transform: standard}}",
    "tune.max_evals": "1",
    "train.ensemble": "false",
    "registry.model": "pima-linear",
}
TRAINED = {"linear": ("pima-linear", SETTINGS), "blend": ("pima-diabetes", {})}
CONNECTIONS = 8
EXACT = 1e-6  # how far a probability may be from the model's own


def main() -> None:
    """Trains, runs the rounds and prints the tables."""
    options = _options()
    if len(os.sched_getaffinity(0)) < 2:
        sys.exit("two cores are needed: one for the server, one for the load")
    processes.leave_in_order()
    champions = list(TRAINED) if options.champion == "both" else [options.champion]
    with (
        tempfile.TemporaryDirectory(prefix="serve_time-", ignore_cleanup_errors=True) as folder,
        project.copied(Path(folder)) as copy,
    ):
        bench = Bench(Path(folder), copy, options.seconds)
        boards = [bench.rounds(name, _present(options.only), options.rounds) for name in champions]
    for board in boards:
        serve_report.show(board)


class Bench:
    """Serves the champions of one copy of the project."""

    def __init__(self, folder: Path, copy: Path, seconds: float) -> None:
        self.folder = folder
        self.copy = copy
        self.seconds = seconds
        self.server_core, self.load_core = sorted(os.sched_getaffinity(0))[:2]
        self.environment = {
            **project.environment(copy, folder / "bytecode"),
            "OMP_NUM_THREADS": "1",
            "TMPDIR": str(folder),  # what servers leave goes with it
        }

    def rounds(self, name: str, keys: Sequence[str], count: int) -> Board:
        """Trains a champion and measures its servers, which take turns in each round."""
        champion, board = self._trained(name), Board(name)
        for key in keys:  # for the bytecode, and to see that all give the same answers
            self._check(key, champion)
        for number in range(count):
            print(f"round {number + 1}:", file=sys.stderr)
            for key in keys:
                board.add(key, self._served(key, champion))
        return board

    def _trained(self, name: str) -> Champion:
        model, settings = TRAINED[name]
        champion = Champion(model, self.folder / name)
        words = [word for key, value in settings.items() for word in (f"--{key}", value)]
        prepare = (sys.executable, str(project.HERE / "champion.py"), model, str(champion.folder))
        for command in ((*RUN, *words), prepare):
            measure(command, self.copy, self.environment, self._log)
        return champion

    def _check(self, key: str, champion: Champion) -> None:
        """Raises RuntimeError when a contender says something else than the model."""
        with self._running(key, champion) as server:
            answer = json.loads(server.ask((champion.folder / "all.jsonl").read_bytes()))
        if not CONTENDERS[key].answers:
            return
        expected = json.loads((champion.folder / "expected.json").read_text())
        rows = zip(answer["predictions"], *expected.values(), strict=True)
        for row, (said, label, probability) in enumerate(rows, 1):
            pair = said if isinstance(said, dict) else {"label": said, "probability": probability}
            if pair["label"] != label or abs(pair["probability"] - probability) > EXACT:
                raise RuntimeError(f"{key}, row {row}: {said}, not {label} by {probability}")

    def _served(self, key: str, champion: Champion) -> Served:
        with self._running(key, champion) as server:
            server.pin(self.server_core)
            rate = self._load(server, champion, "one", CONNECTIONS)
            alone = self._load(server, champion, "one", 1)
            many = self._load(server, champion, "many", 1)
            largest, tree = server.memory()
        return Served(
            rate=rate["rate"],
            p50=alone["p50"],
            p99=alone["p99"],
            many=many["rate"],
            seconds=server.seconds,
            largest=largest,
            tree=tree,
            busy=max(result["busy"] for result in (rate, alone, many)),
        )

    def _running(self, key: str, champion: Champion) -> AbstractContextManager[Server]:
        environment = {**self.environment, MODEL: str(champion.folder / "model.pkl")}
        command = partial(CONTENDERS[key].command, champion)
        return running(command, self.copy, environment, self._log)

    def _load(
        self, server: Server, champion: Champion, bodies: str, connections: int
    ) -> dict[str, float]:
        """Asks from the other core. Raises CalledProcessError at any answer but 200."""
        options = {
            "--port": server.port,
            "--bodies": champion.folder / f"{bodies}.jsonl",
            "--connections": connections,
            "--seconds": self.seconds,
            "--core": self.load_core,
        }
        words = [str(word) for option in options.items() for word in option]
        command = [sys.executable, str(project.HERE / "load.py"), *words]
        done = subprocess.run(
            command, cwd=self.copy, env=self.environment, stdout=subprocess.PIPE, check=True
        )
        result: dict[str, float] = json.loads(done.stdout)
        return result

    @property
    def _log(self) -> Path:
        """What the latest command has printed."""
        return self.folder / "log.txt"


def _present(keys: Iterable[str]) -> list[str]:
    """Those that can run here; says which cannot, and ends when none can."""
    present = []
    for key in keys:
        if CONTENDERS[key].missing:
            print(f"{key} is left out: there is no {CONTENDERS[key].needs} here", file=sys.stderr)
        else:
            present.append(key)
    return present or sys.exit("no contender is left")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="how often (default: 3)")
    parser.add_argument(
        "--only",
        type=some_of(CONTENDERS),
        default=tuple(CONTENDERS),
        help=f"some only: {', '.join(CONTENDERS)}",
    )
    parser.add_argument("--champion", choices=(*TRAINED, "both"), default="both")
    parser.add_argument("--seconds", type=float, default=4, help="a measurement (default: 4)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
