"""What the checks of a table found, as pages for people."""

from collections.abc import Sequence

from pipeline.datasets.checks.finding import Finding
from pipeline.datasets.checks.table import together
from pipeline.reporting.markdown import one_line

HEAD = """# Findings

Each is a sentence, and what to write into the config if it is right. A column of `columns` takes
the place of its line there, and one of `drop` loses it.
"""
REMEDY = "Write what is right into the config, in place of what it says there, and run it again."
NOTHING = "The checks of the table found nothing."
MOST_IN_NOTE = 15


def findings_page(findings: Sequence[Finding], are_inferred: bool = False) -> str:
    """All findings with their settings, and these once more in one piece, as Markdown.

    `are_inferred` says whether the config leaves columns to what the table says of them.
    """
    if not findings:
        return f"# Findings\n\n{NOTHING}\n"
    whole = "\n".join(_settings(together(findings), are_inferred))
    end = f"\n## All together\n\n```yaml\n{whole}\n```\n" if whole else ""
    return f"{HEAD}\n{_numbered(findings, are_inferred)}\n{end}"


def findings_note(findings: Sequence[Finding], are_inferred: bool = False) -> str:
    """The first findings with their settings, as Markdown that a terminal shows as well."""
    if not findings:
        return NOTHING
    count = f"{len(findings)} finding{'s' * (len(findings) > 1)}"
    more = len(findings) - MOST_IN_NOTE
    end = f"\n\n{more} more are in findings.md." if more > 0 else ""
    if any(finding.yaml for finding in findings):
        end += f"\n\n{REMEDY}"
    return f"{count}\n\n{_numbered(findings[:MOST_IN_NOTE], are_inferred)}{end}"


def _numbered(findings: Sequence[Finding], are_inferred: bool) -> str:
    texts = [_text(one, are_inferred) for one in findings]
    return "\n\n".join(f"{number}. {text}" for number, text in enumerate(texts, 1))


def _text(finding: Finding, are_inferred: bool) -> str:
    settings = _settings(finding, are_inferred)
    lines = ["```yaml", *settings, "```"] if settings else []
    return "\n".join([one_line(finding.sentence), *(f"   {line}" for line in lines)])


def _settings(finding: Finding, are_inferred: bool) -> list[str]:
    """The lines to paste: a config that lists one column says if it leaves others open."""
    lines = finding.yaml.splitlines()
    if finding.columns and are_inferred:
        lines.insert(lines.index("data:") + 1, "  unlisted: infer")
    return lines
