"""The commands of the README and of the pages in `docs/`, run as they stand there.

In a clone whose default search is small, on free ports of loopback, with real ids for `RUN`.
"""

import io
import json
import logging
import re
import shlex
import shutil
from contextlib import redirect_stdout
from pathlib import Path
from textwrap import indent

import pandas as pd
import pytest
from mlflow import MlflowClient

from pipeline.cli import main
from tests.end_to_end.conftest import MAIN_JOB, ROOT, command_in, working_in
from tests.end_to_end.conftest import clone as clone_project
from tests.support.doors import free_port
from tests.support.stores import experiments

PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
ENVIRONMENT = "pip install uv && uv run --python 3.11 --with-requirements requirements.txt "
NOT_RUN = {  # how a block begins -> why it is not run here
    f"{ENVIRONMENT}pytest": "it is what runs this",
    "uv venv": "the environment is there",
    "uv run --python 3.11 --with-requirements requirements-spark.txt": "needs a Spark cluster",
    "export UVICORN_SSL": "needs certificates; TLS has tests of its own",
}
SERVERS = re.compile(
    r"^(mlflow ui|mlflow models serve|mlflow run \. -e serve|.* -m pipeline serve)"
)
SMALL = "max_evals: 3\n  families: [logistic_regression]\n  parallelism: 1"
ALIVE = "until curl -sf -o answer.txt $alive; do kill -0 $server; sleep 0.2; done"


def blocks(page: Path) -> list[str]:
    """The shell blocks of a page, without the prefix that makes the environment."""
    shell = re.findall(r"^```sh\n(.*?)^```", page.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    return [
        block.removeprefix(ENVIRONMENT) for block in shell if not block.startswith(tuple(NOT_RUN))
    ]


class Clone:
    """A clone whose default config searches one family and promotes the best, and its commands."""

    def __init__(self, folder: Path) -> None:
        self.folder = clone_project(folder)
        config = folder / "configs/pima.yaml"
        text = config.read_text("utf-8").replace("max_evals: 48", SMALL)
        config.write_text(text.replace("gate:\n", "gate:\n  rule: none\n"))

    def sh(self, block: str, *after: str) -> str:
        """What a block prints; a server in it is up before what follows, and ended at the end."""
        port = str(free_port())
        lines = block.replace("8080", port).replace("host 0.0.0.0", "host 127.0.0.1").splitlines()
        script = ["set -euo pipefail", f"export PIPELINE_SERVE_PORT={port} MLFLOW_PORT={port}"]
        for line in lines:
            script.append(f"{line} > server.log 2>&1 & server=$!" if SERVERS.match(line) else line)
            if SERVERS.match(line):
                script += ["trap 'kill $server; wait $server || true' EXIT"]
                script += [f"alive=http://127.0.0.1:{port}/health", ALIVE]
        script += [text.replace("8080", port) for text in after]
        done = command_in(self.folder, "bash", "-c", "\n".join(script))
        assert done.returncode == 0, f"{block}\n{done.stdout}{done.stderr}"
        return done.stdout

    def verbs(self, block: str) -> str:
        """What a block of nothing but verbs prints in this process, which has MLflow already."""
        logger, printed = logging.getLogger("pipeline"), io.StringIO()
        logger.addHandler(handler := logging.StreamHandler(printed))
        try:
            with redirect_stdout(printed), working_in(self.folder, self.store):
                for line in block.splitlines():
                    python, *words = shlex.split(line, comments=True)
                    assert (python, *words[:2]) == ("python", "-m", "pipeline"), line
                    assert main(words[2:]) == 0, line
        finally:
            logger.removeHandler(handler)
        return printed.getvalue()

    @property
    def store(self) -> str:
        return f"sqlite:///{self.folder}/mlflow.db"

    @property
    def client(self) -> MlflowClient:
        return MlflowClient(self.store)

    @property
    def runs(self) -> list[str]:
        """The ids of the parents whose model was evaluated, the earliest first."""
        parents = self.client.search_runs(
            experiments(self.client), "tags.verb = 'run'", order_by=["start_time"]
        )
        return [run.info.run_id for run in parents]


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """With two champions, the first of which is the tutorial's model."""
    clone = Clone(tmp_path_factory.mktemp("docs"))
    weak = "--tune.families '[raw_logistic_regression]' --tune.max_evals 1"
    printed = clone.verbs(f"python -m pipeline run {weak}\npython -m pipeline run")
    assert "version 2 is champion" in printed
    return clone


def test_gate_page_promotes_rolls_back_and_tells_the_history(clone: Clone) -> None:
    (block,) = blocks(ROOT / "docs/gate.md")
    first, second = clone.runs[:2]
    printed = clone.verbs(
        block.replace("--run RUN", f"--run {second}")
        .replace("compare RUN RUN", f"compare {first} {second}")
        .replace("--version 3", "--version 2")
    )
    assert re.findall(r"version (\d) is champion again", printed) == ["1", "2"]
    assert "log_loss" in printed


def test_readme_serves_the_champion_at_both_doors_and_asks_it(clone: Clone) -> None:
    readme = blocks(ROOT / "README.md")
    (curl,) = [block for block in readme if block.startswith("curl")]
    servers = [block for block in readme if SERVERS.match(block) and "serve" in block]
    answers = [json.loads(clone.sh(server, curl))["predictions"] for server in servers]
    assert len(answers) == 2
    assert answers[0] == answers[1]
    assert [set(answer) for answer in answers[0]] == [{"label", "probability"}] * 2
    assert [answer["label"] for answer in answers[0]] == [1, 0]


def test_readme_opens_the_ui_and_runs_with_other_settings(clone: Clone) -> None:
    for block in blocks(ROOT / "README.md"):
        if block.startswith("mlflow ui"):
            assert "<title>MLflow</title>" in clone.sh(block, "curl -sf http://127.0.0.1:8080/")
        elif "tune.max_evals" in block:
            fewer = re.sub(r"(max_evals[= ])20", r"\g<1>2", block)
            run = clone.verbs if fewer.startswith("python") else clone.sh
            assert "version" in run(fewer)  # of the champion, whether it stays or goes


def test_readme_runs_the_main_job_from_a_notebook(clone: Clone) -> None:
    (cell,) = re.findall(
        r"^```python\n(from pipeline.*?)^```",
        (ROOT / "README.md").read_text("utf-8"),
        re.DOTALL | re.MULTILINE,
    )
    (clone.folder / "notebook.py").write_text(
        f"def cell():\n{indent(cell, '    ')}\n\nif __name__ == '__main__':\n    cell()\n"
    )
    printed = clone.sh("python notebook.py")
    assert "is champion" in printed or "stays champion" in printed
    assert "VotingClassifier" in printed or "Pipeline" in printed


def test_audit_page_audits_the_procedure(clone: Clone) -> None:
    (block,) = blocks(ROOT / "docs/audit.md")
    assert "audit: fold 2 of 2" in clone.sh(block.replace("folds=10", "folds=2"))
    client = clone.client
    (audit,) = client.search_runs(experiments(client), "tags.step = 'audit'")
    assert audit.data.params["audit.folds"] == "2"
    paths = {file.path for file in client.list_artifacts(audit.info.run_id)}
    assert {"audit.csv", "audit.png", "folds.csv"} <= paths
    assert "optimistic" in audit.data.tags["mlflow.note.content"]
    parent = client.get_run(audit.data.tags["mlflow.parentRunId"])
    assert parent.data.metrics["audit/log_loss"] == audit.data.metrics["audit/log_loss"]


def test_door_page_lets_the_holder_of_a_key_in(clone: Clone) -> None:
    first, *others = blocks(ROOT / "docs/door.md")
    assert '"version":"2"' in clone.sh(first).replace(" ", "")
    for block in others:
        assert "ok" in clone.sh(block, "curl -sf http://127.0.0.1:8080/ping || true; echo ok")


def test_calling_page_asks_with_curl_from_python_and_from_javascript(clone: Clone) -> None:
    page = (ROOT / "docs/calling.md").read_text("utf-8")
    server, curl = blocks(ROOT / "docs/calling.md")
    calls = [curl, "wc -c answers.json"]
    for language, file, program in (("python", "a.py", "python"), ("js", "a.mjs", "node")):
        code = re.search(rf"^```{language}\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
        assert code is not None
        if shutil.which(program):
            calls.append(f"cat > {file} <<'END'\n{code[1]}END\n{program} {file}")
    printed = clone.sh(server, *calls)
    assert len(json.loads((clone.folder / "answers.json").read_bytes())["predictions"]) == 768
    assert "768 labels" in printed
    if shutil.which("node"):
        assert re.search(r"^0\.\d+$", printed, re.MULTILINE)


def test_pages_make_a_config_of_a_table_and_show_what_is_said_of_it(clone: Clone) -> None:
    for page in (ROOT / "README.md", ROOT / "docs/table.md"):
        (block,) = [one for one in blocks(page) if one.startswith("python -m pipeline init")]
        (clone.folder / "configs/mine.yaml").unlink(missing_ok=True)
        printed = [line.strip() for line in clone.verbs(block).splitlines()]
        lines = page.read_text("utf-8").split(block)[1].split("```")[2].strip().splitlines()
        assert printed[: len(lines)] == lines


def test_table_page_takes_the_table_from_elsewhere(clone: Clone) -> None:
    (block,) = [one for one in blocks(ROOT / "docs/table.md") if one.startswith("gzip")]
    command, verb = block.splitlines()
    clone.sh(command)
    assert "ingest took" in clone.verbs(verb)


def test_operations_page_scores_a_table_and_looks_after_the_champion(clone: Clone) -> None:
    *verbs, doctor = blocks(ROOT / "docs/operations.md")
    write_logs(clone.folder)
    printed = clone.verbs("".join(verbs))
    sentences = (
        "scores.parquet: 768 rows scored by pima-diabetes version",
        r"data/pima.csv against \S+ version \d: \*\*As before.\*\* 768 rows",
        r"logs against \S+ version \d: \*\*As before.\*\* 768 rows",
        "768 of 768 rows have a label in outcomes.csv",
        r"\*\*Version 1 is not worse than version 2 within gate.margin",
        r"python -m pipeline promote --run \w{32}",
    )
    assert re.search(".*".join(sentences), printed, re.DOTALL), printed
    assert (clone.folder / "scores.parquet").exists()
    assert "is champion, as it says" in clone.sh(f"{doctor.strip()} || true")


def write_logs(folder: Path) -> None:
    """A request log of the whole table, a shadow log, and what became of the rows."""
    log = pd.read_csv(folder / "data/pima.csv").assign(request_id="all", row=range(768))
    log[["request_id", "row", "Outcome"]].to_csv(folder / "outcomes.csv", index=False)
    both = log[["request_id", "row"]].assign(time=1.5e9, champion="2", shadow="1")
    for name, shift in (("champion", 0.2), ("shadow", 0.3)):
        both[f"{name}_label"] = log["Outcome"]
        both[f"{name}_probability"] = log["Outcome"] / 2 + shift
    logs = {
        "logs": log.drop(columns="Outcome"),
        "shadow-log": both.assign(difference=0.1, labels_differ=False),
    }
    for name, frame in logs.items():
        (folder / name).mkdir()
        frame.to_json(folder / name / "requests-1.jsonl", orient="records", lines=True)


def test_every_shell_block_is_run_or_left_out_for_a_reason() -> None:
    assert blocks(ROOT / "README.md")[0] == f"{MAIN_JOB}\n"  # which others look at
    run = {
        *blocks(ROOT / "README.md"),
        *(
            block
            for name in ("gate", "audit", "door", "table", "operations", "calling")
            for block in blocks(ROOT / f"docs/{name}.md")
        ),
    }
    assert {block for page in PAGES for block in blocks(page)} == run
