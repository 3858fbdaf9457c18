"""What the checks of a table found, as pages for people."""

from collections.abc import Sequence

from pipeline.datasets.checks.finding import Finding
from pipeline.datasets.checks.table import together
from pipeline.reporting.markdown import one_line

HEAD = """# Findings

Each is a sentence, and what to write into the config if it is right. A column of `columns` takes
the place of its line there, and one of `drop` loses it. A config without `data.columns` has no such
lines: begin with the `config.yaml` in the run of `ingest`, which has them all.
"""
NOTHING = "The checks of the table found nothing."
MOST_IN_NOTE = 15


def findings_page(findings: Sequence[Finding]) -> str:
    """All findings with their settings, and these once more in one piece, as Markdown."""
    if not findings:
        return f"# Findings\n\n{NOTHING}\n"
    whole = together(findings).yaml
    end = f"\n## All together\n\n```yaml\n{whole}\n```\n" if whole else ""
    return f"{HEAD}\n{_numbered(findings)}\n{end}"


def findings_note(findings: Sequence[Finding]) -> str:
    """The first findings with their settings, as Markdown that a terminal shows as well."""
    if not findings:
        return NOTHING
    count = f"{len(findings)} finding{'s' * (len(findings) > 1)}"
    more = len(findings) - MOST_IN_NOTE
    end = f"\n\n{more} more are in findings.md." if more > 0 else ""
    return f"{count}\n\n{_numbered(findings[:MOST_IN_NOTE])}{end}"


def _numbered(findings: Sequence[Finding]) -> str:
    return "\n\n".join(f"{number}. {_text(one)}" for number, one in enumerate(findings, 1))


def _text(finding: Finding) -> str:
    lines = ["```yaml", *finding.yaml.splitlines(), "```"] if finding.yaml else []
    return "\n".join([one_line(finding.sentence), *(f"   {line}" for line in lines)])
