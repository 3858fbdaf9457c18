"""What the README and the pages in `docs/` say of verbs and settings is so."""

import re
from pathlib import Path

from pipeline.config.gate import Gate
from pipeline.config.keys import settings
from pipeline.config.serve import Limits
from pipeline.verbs import VERBS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
PAGES = {path.stem: path.read_text("utf-8") for path in (ROOT / "docs").glob("*.md")}
UV = "uv run --python 3.11 --with-requirements requirements.txt"


def test_ci_runs_the_test_command_of_the_readme() -> None:
    script = (ROOT / ".ci/run").read_text("utf-8").splitlines()
    assert f"pip install uv && {UV} pytest" in README.splitlines()
    assert f"{UV} pytest" in script


def test_readme_lists_every_verb() -> None:
    assert {verb for verb in VERBS if f"| `{verb}`" not in README} == set()


def test_every_setting_that_a_page_names_exists() -> None:
    sections = {key.split(".")[0] for key, _ in settings()}
    text = "\n".join([README, *PAGES.values()])
    named = set(re.findall(rf"`((?:{'|'.join(sections)})(?:\.\w+)+)`", text))
    assert named
    assert named <= {key for key, _ in settings()}


def test_door_page_lists_every_limit_with_its_default() -> None:
    documented = dict(
        re.findall(r"^\| `serve\.limits\.(\w+)` \| (\S+(?: [KM]iB)?)", PAGES["door"], re.MULTILINE)
    )
    limits = Limits()
    assert documented == {
        "body_bytes": f"{limits.body_bytes >> 20} MiB",
        "header_bytes": f"{limits.header_bytes >> 10} KiB",
        "rows": f"{limits.rows:,}",
        "receive_seconds": f"{limits.receive_seconds:g}",
        "answer_seconds": f"{limits.answer_seconds:g}",
        "concurrency": f"{limits.concurrency}",
        "uploads": f"{limits.uploads}",
        "rate": "none",
    }
    assert set(documented) == set(Limits.model_fields)


def test_gate_page_lists_every_rule_with_its_default() -> None:
    documented = dict(
        re.findall(r"^\| `gate\.(\w+)`(?:, `gate\.\w+`)? \| (\w[^ ]*)", PAGES["gate"], re.MULTILINE)
    )
    gate = Gate()
    defaults = {
        name: str(getattr(gate, name) or "none").lower() for name in documented if name != "floors"
    }
    assert {name: text for name, text in documented.items() if name != "floors"} == defaults
    assert {name for name in Gate.model_fields if f"`gate.{name}`" not in PAGES["gate"]} == set()
    assert f"`gate.margin` ({gate.margin})" in PAGES["gate"]
    assert f"`gate.level` ({gate.level})" in PAGES["gate"]
    assert f"`gate.metric` ({gate.metric})" in PAGES["gate"]
    assert f"`gate.latency` ({gate.latency} s)" in PAGES["gate"]


def test_every_link_to_a_file_leads_to_one() -> None:
    for folder, text in ((ROOT, README), *((ROOT / "docs", text) for text in PAGES.values())):
        links = re.findall(r"\]\((?!https?:)([^)#]+)", text)
        assert [link for link in links if not (folder / link).exists()] == []
    assert len(re.findall(r"\]\(docs/", README)) >= len(PAGES)


def test_readme_fits_on_a_few_screens() -> None:
    assert len(README.splitlines()) < 200


def test_portuguese_readme_has_the_same_blocks_links_and_verbs_in_the_same_order() -> None:
    """So that whatever runs the blocks of the one holds the other as well."""
    portuguese = (ROOT / "README.pt-BR.md").read_text("utf-8")
    for part in (r"^```\w*\n.*?^```", r"\]\(((?:docs|configs)/[^)]+)", r"^\| `(\w+)`", r"^(#+) "):
        english = re.findall(part, README, re.DOTALL | re.MULTILINE)
        assert english
        assert re.findall(part, portuguese, re.DOTALL | re.MULTILINE) == english
    assert "](README.pt-BR.md)" in README
    assert "](README.md)" in portuguese
