"""Texts of people and of errors inside Markdown, where a line break or a bar would end a cell."""

import re
from collections.abc import Sequence


def one_line(text: str) -> str:
    """Every run of blanks and line breaks as one blank."""
    return " ".join(text.split())


def shortened(text: str, most: int) -> str:
    """At most so many characters, the last of them an ellipsis if more was there."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def sections(text: str, most: int, more: str) -> str:
    """Those that fit into so many characters; `more` says where the others are."""
    if len(text) <= most:
        return text
    room = most - len(more)
    end = text.rfind("\n## ", 0, room)
    return text[: end if end > 0 else room] + more


def spaced(page: str) -> str:
    """A page as MLflow's UI draws it well: it gives the cells of tables, and tables, no margin.

    Twice is as good as once.
    """
    lines = [_spaced_row(line) if _is_row(line) else line for line in page.splitlines()]
    return re.sub(r"(?m)^(\|.*)\n(?!\||\n&nbsp;\n)", "\\1\n\n&nbsp;\n", "\n".join(lines))


def _is_row(line: str) -> bool:
    return line.startswith("|") and not set(line) <= set("|- ")


def _spaced_row(line: str) -> str:
    return re.sub(r"(?<!\\)(?<!&emsp;) \|(?=.)", "&emsp; |", line)


def filled(pieces: Sequence[str], width: int, indent: str) -> str:
    """Pieces behind one another, separated by commas, in lines of that width."""
    lines = [""]
    for piece in pieces:
        if lines[-1] and len(lines[-1]) + len(piece) > width:
            lines.append("")
        lines[-1] += f"{piece}, "
    return f"\n{indent}".join(line.rstrip() for line in lines).removesuffix(",")


def cell(text: str) -> str:
    """Of a table."""
    return one_line(text).replace("|", "\\|")


def row(cells: Sequence[str]) -> str:
    """Of a table."""
    return f"| {' | '.join(map(cell, cells))} |"
