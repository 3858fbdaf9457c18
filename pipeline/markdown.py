"""Texts of people and of errors inside Markdown, where a line break or a bar would end a cell."""

from collections.abc import Sequence


def one_line(text: str) -> str:
    """Every run of blanks and line breaks as one blank."""
    return " ".join(text.split())


def shortened(text: str, most: int) -> str:
    """At most so many characters, the last of them an ellipsis if more was there."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def cell(text: str) -> str:
    """Of a table."""
    return one_line(text).replace("|", "\\|")


def row(cells: Sequence[str]) -> str:
    """Of a table."""
    return f"| {' | '.join(map(cell, cells))} |"
