"""Stores as earlier versions of the project have left them, and how they were made.

    python -m tests.support.older_stores 9e39461
    python -m tests.support.older_stores c5e51ed

writes `tests/data/store_COMMIT.tar.xz`: what the commands of `COMMANDS` leave when the code of the
commit runs them in an empty folder, and what its two champions answered to `ROWS` (`answers.json`).
The database is SQL, with {FOLDER} for the folder. Pictures and pages, which no command reads, are
left out.
"""

import io
import json
import os
import sqlite3
import subprocess
import sys
import tarfile
import tempfile
from contextlib import closing
from pathlib import Path

from tests.support.builders import make_table

DATA = Path(__file__).parents[1] / "data"
FOLDER = "{FOLDER}"
CONTENT = ("answers.json", "mlruns", "people.csv", "store.sql")
NOT_READ = (".png", ".html", "registered_model_meta")  # MLflow writes the last anew
MODEL = "people"
CONFIG = f"""\
data:
  source: people.csv
  target: label
  positive: 1
  columns:
    height: {{meaning: how tall, unit: cm, range: [-10, 10]}}
    gap: {{meaning: a quarter of it is missing, optional: true}}
    noise: {{missing: 0}}
    flag: {{range: [0, 1]}}
tune: {{families: [logistic_regression], max_evals: 1, folds: 2, parallelism: 1}}
evaluate: {{resamples: 200}}
gate: {{metric: log_loss, margin: 0.05}}
registry: {{model: {MODEL}}}
"""
COMMANDS = (
    ("promote", "--tune.space", "{logistic_regression: {C: 0.05}}"),  # version 1
    (  # version 2, the champion
        *("promote", "--tune.families", "[spline_logistic_regression]"),
        *("--tune.space", "{spline_logistic_regression: {C: 5}}"),
    ),
    ("evaluate", "--tune.space", "{logistic_regression: {C: 1}}"),  # better than version 1
)
ROWS = [
    {"height": 1.5, "gap": 0.5, "noise": 0.3, "flag": 1},
    {"height": -0.5, "gap": None, "noise": 0, "flag": 0},
]
PARAMS = {"explain": True, "version": True, "threshold": 0.9}
ANSWER = f"""\
import json, mlflow, pandas as pd
rows = pd.DataFrame({ROWS!r}, dtype=float)
for version in (1, 2):
    model = mlflow.pyfunc.load_model(f"models:/{MODEL}/{{version}}")
    print(model.predict(rows, params={PARAMS!r}).to_json(orient="records", double_precision=15))
"""


def unpack(commit: str, folder: Path) -> None:
    """The store that the code of a commit left, with the config, as if it had been made here."""
    (folder / "people.yaml").write_text(CONFIG, "utf-8")
    with tarfile.open(DATA / f"store_{commit}.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    script = (folder / "store.sql").read_text("utf-8").replace(FOLDER, str(folder))
    with closing(sqlite3.connect(folder / "mlflow.db")) as database:
        database.executescript(script)


def make(commit: str) -> Path:
    """The archive of the store that the code of a commit leaves."""
    path = DATA / f"store_{commit}.tar.xz"
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root)
        _check_out(commit, folder / "code")
        make_table(rows=400).round(3).to_csv(folder / "people.csv", index=False)
        (folder / "people.yaml").write_text(CONFIG, "utf-8")
        for verb, *options in COMMANDS:
            _python(folder, "-m", "pipeline", verb, "people.yaml", *options)
        answers = [json.loads(line) for line in _python(folder, "-c", ANSWER).splitlines()]
        (folder / "answers.json").write_text(json.dumps(answers, indent=1), "utf-8")
        _dump(folder)
        with tarfile.open(path, "w:xz", preset=9) as archive:
            for name in CONTENT:
                archive.add(folder / name, name, filter=_plain)
    return path


def _check_out(commit: str, folder: Path) -> None:
    command = ["git", "archive", commit, "pipeline"]
    content = subprocess.run(
        command, cwd=DATA.parents[1], check=True, stdout=subprocess.PIPE
    ).stdout
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        archive.extractall(folder, filter="data")


def _python(folder: Path, *words: str) -> str:
    """What Python prints in the folder, with the code that is there."""
    variables = {
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
        "PYTHONPATH": str(folder / "code"),
        "PIPELINE_USER": "Ann",
    }
    return subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env={**os.environ, **variables},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout


def _dump(folder: Path) -> None:
    """The database as SQL, in its place."""
    database = folder / "mlflow.db"
    with closing(sqlite3.connect(database)) as connection:
        script = "\n".join(connection.iterdump())
    (folder / "store.sql").write_text(script.replace(str(folder), FOLDER), "utf-8")
    database.unlink()


def _plain(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Without what is not read, and whose it is."""
    if member.name.endswith(NOT_READ) or "__pycache__" in member.name:
        return None
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


if __name__ == "__main__":
    print(make(sys.argv[1]))
