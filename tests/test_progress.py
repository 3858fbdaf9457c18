import io
import re
import sys
from threading import Event

import pytest

from pipeline import progress


class Terminal(io.StringIO):
    """Standard error that says it is a terminal, and when something was written there."""

    def __init__(self) -> None:
        super().__init__()
        self.written = Event()

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        count = super().write(text)
        self.written.set()
        return count


def test_stage_that_takes_long_is_shown_on_a_terminal_and_then_cleared(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(progress, "AFTER", 0.0)
    with progress.stage("train: fits 6 families on 70000 rows"):
        assert terminal.written.wait(60)
    assert re.search(r"train: fits 6 families on 70000 rows: \d\d:\d\d", terminal.getvalue())
    assert terminal.getvalue().rstrip("\r").endswith(" ")


def test_stage_is_not_shown_where_standard_error_is_no_terminal(monkeypatch, capsys):
    monkeypatch.setattr(progress, "AFTER", 0.0)
    with progress.stage("analyze"):
        pass
    assert capsys.readouterr() == ("", "")


def test_stage_hands_on_what_is_raised(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    with pytest.raises(ValueError, match="no way"), progress.stage("analyze"):
        raise ValueError("no way")
