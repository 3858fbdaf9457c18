"""A shadow whose process is a thread, and both models of each task."""

import threading
import time
from collections.abc import Callable
from multiprocessing import Pipe
from types import SimpleNamespace
from typing import Any

import numpy as np

from pipeline.config.serve import Serve
from pipeline.inference.predictor import Predictor, Trained
from pipeline.schema.columns import NumberColumn
from pipeline.schema.contract import Contract
from pipeline.server import shadow as server_shadow
from pipeline.server.request_json import Reader
from pipeline.server.shadow import Shadow
from pipeline.server.shadow_process import compare
from tests.support.guards import FakeModel

COLUMNS = {"height": NumberColumn(range=(0, 3)), "noise": NumberColumn()}
SCORES = tuple(np.linspace(-2, 2, 101).tolist())  # of intervals: 1.84 difficulties to each side
TARGETS: dict[str, dict[str, Any]] = {
    "binary": {"classes": ("no", "yes"), "positive": "yes"},
    "multiclass": {"classes": ("a", "b", "c"), "positive": None},
    "regression": {"classes": (), "positive": None},
}


def contract_of(task: str, **changes: Any) -> Contract:
    return Contract(**{"columns": COLUMNS, "target": "label", **TARGETS[task], **changes})


def make_predictor(
    task: str, version: str, shift: float = 0.0, contract: Contract | None = None
) -> Predictor:
    """What it says of a row is its height, and the shift."""
    contract = contract or contract_of(task)

    def predict(X: Any) -> Any:
        p = np.clip(X[:, 0] + shift, 0, 1)
        return {
            "binary": np.stack([1 - p, p], axis=1),
            "multiclass": np.stack([p, (1 - p) / 2, (1 - p) / 2], axis=1),
            "regression": np.stack([10 * (X[:, 0] + shift), np.ones(len(X))], axis=1),
        }[task]

    threshold = 0.5 if task == "binary" else None
    trained = Trained(threshold, *np.full((2, len(contract.columns)), 9.0), scores=SCORES)
    return Predictor(contract, predict, trained, {"model": "visits", "version": version})


def make_model(predictor: Predictor) -> Any:
    """Of a version, as a guard and a shadow need one."""
    model: Any = FakeModel(predictor)
    model.version = SimpleNamespace(name="visits", version=predictor.model_version["version"])
    model.header, model.title = model.version.version.encode(), f"version {model.version.version}"
    model.copy = SimpleNamespace(whole=lambda: None)
    model.close = lambda: None
    return model


class ThreadedProcess:
    """In place of a process: it compares in a thread, and a kill closes its connection."""

    def __init__(self, reader: Reader) -> None:
        self.connection, self.other = Pipe()
        self.is_held = threading.Event()  # while it is, nothing is answered
        self.is_killed = threading.Event()
        self.thread = threading.Thread(target=self._run, args=(reader,), daemon=True)
        self.thread.start()

    def _run(self, reader: Reader) -> None:
        self.other.send(None)
        while not self.is_killed.wait(0.002):
            if not self.is_held.is_set() and self.other.poll():
                self.other.send(compare(reader, self.other.recv()))
        self.other.close()

    def kill(self) -> None:
        self.is_killed.set()

    def is_alive(self) -> bool:
        return self.thread.is_alive()

    def join(self) -> None:
        self.thread.join()


def start_shadow(monkeypatch: Any, serve: Serve, model: Any) -> tuple[Shadow, list[Any]]:
    """A shadow, and its processes as they are started."""
    processes: list[ThreadedProcess] = []

    def start(*_: Any) -> Any:
        processes.append(ThreadedProcess(model.reader))
        return processes[-1], processes[-1].connection

    monkeypatch.setattr(server_shadow, "start", start)
    shadow = Shadow(serve, model)
    _wait(lambda: shadow._connection is not None)
    return shadow, processes


def wait_until_done(shadow: Shadow) -> None:
    _wait(lambda: shadow._added == shadow._taken)


def _wait(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 20
    while not condition() and time.monotonic() < until:
        time.sleep(0.01)
    assert condition()
