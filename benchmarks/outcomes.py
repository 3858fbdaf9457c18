"""What a contender has found, read from the files that it leaves."""

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDS = 5


@dataclass(frozen=True)
class Outcome:
    """All contenders should have found the same."""

    fits: int
    losses: list[float]  # of the trials, mean over the folds
    scores: Mapping[str, float]  # of the blend on the test part


def plan(folder: Path) -> dict[str, Any]:
    """What the pipeline tried and how it blended the best, as the other contenders want it."""
    trials = _artifact(folder, "tuning.json")["trials"]
    training = _artifact(folder, "training.json")
    return {
        "trials": [{"family": trial["family"], "params": trial["params"]} for trial in trials],
        "weights": training["weights"],
        "threshold": training["threshold"],
    }


def of_pipeline(folder: Path) -> Outcome:
    """From the artifacts of its steps."""
    losses = [trial["metrics"]["log_loss"] for trial in _artifact(folder, "tuning.json")["trials"]]
    members = sum(weight > 0 for weight in _artifact(folder, "training.json")["weights"].values())
    table = _rows(folder, "metrics.csv")
    baselines = len(table[0].keys() & {"dummy", "tutorial"})
    scores = {row["metric"]: float(row["value"]) for row in table}
    return Outcome(FOLDS * len(losses) + members + baselines, losses, scores)


def of_bare(folder: Path) -> Outcome:
    """From its one file."""
    result = json.loads((folder / "result.json").read_text())
    return Outcome(result["fits"], result["losses"], result["scores"]["blend"])


def of_usual(folder: Path) -> Outcome:
    """From the artifacts of its steps."""
    trials = _rows(folder, "trials.csv")
    scores = _artifact(folder, "scores.json")  # of the blend and the baselines
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
