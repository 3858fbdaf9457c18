"""Texts of people and of errors inside Markdown, where a line break or a bar would end a cell."""

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


def cell(text: str) -> str:
    """Of a table."""
    return one_line(text).replace("|", "\\|")


def row(cells: Sequence[str]) -> str:
    """Of a table."""
    return f"| {' | '.join(map(cell, cells))} |"
