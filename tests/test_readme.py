"""The README's commands are the ones that run."""

import re
from pathlib import Path

from pipeline.config.gate import Gate
from pipeline.config.keys import settings
from pipeline.config.serve import Limits
from pipeline.verbs import VERBS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
UV = "uv run --python 3.11 --with-requirements requirements.txt"


def test_ci_runs_the_test_command_of_the_readme() -> None:
    script = (ROOT / ".ci/run").read_text("utf-8").splitlines()
    assert f"pip install uv && {UV} pytest" in README.splitlines()
    assert f"{UV} pytest" in script


def test_readme_tells_every_verb() -> None:
    assert {verb for verb in VERBS if f"| `{verb}`" not in README} == set()


def test_every_setting_that_the_readme_names_exists() -> None:
    sections = {key.split(".")[0] for key, _ in settings()}
    named = set(re.findall(rf"`((?:{'|'.join(sections)})(?:\.\w+)+)`", README))
    assert named
    assert named <= {key for key, _ in settings()}


def test_readme_tells_every_limit_with_its_default() -> None:
    told = dict(
        re.findall(r"^\| `serve\.limits\.(\w+)` \| (\S+(?: [KM]iB)?)", README, re.MULTILINE)
    )
    limits = Limits()
    assert told == {
        "body_bytes": f"{limits.body_bytes >> 20} MiB",
        "header_bytes": f"{limits.header_bytes >> 10} KiB",
        "rows": f"{limits.rows:,}",
        "receive_seconds": f"{limits.receive_seconds:g}",
        "answer_seconds": f"{limits.answer_seconds:g}",
        "concurrency": f"{limits.concurrency}",
        "uploads": f"{limits.uploads}",
        "rate": "none",
    }
    assert set(told) == set(Limits.model_fields)


def test_readme_tells_every_rule_of_the_gate_with_its_default() -> None:
    told = dict(
        re.findall(r"^\| `gate\.(\w+)`(?:, `gate\.\w+`)? \| (\w[^ ]*)", README, re.MULTILINE)
    )
    gate = Gate()
    shown = {name: str(getattr(gate, name) or "none").lower() for name in told if name != "floors"}
    assert {name: text for name, text in told.items() if name != "floors"} == shown
    assert {name for name in Gate.model_fields if f"`gate.{name}`" not in README} == set()
    assert f"`gate.margin` ({gate.margin})" in README
    assert f"`gate.level` ({gate.level})" in README
    assert f"`gate.metric` ({gate.metric})" in README
    assert f"`gate.latency` ({gate.latency} s)" in README
