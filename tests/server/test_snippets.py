"""The code on the server's page, run as it stands there."""

import os
import re
import shutil
import subprocess
import sys
from typing import Any

import pytest

from pipeline.server.snippets import KEYS, snippets
from tests.support.guards import KEY, make_guard, make_keys
from tests.support.pima import PATIENT
from tests.support.wire import call

PROGRAMS = {
    "curl": ("bash", "-c"),
    "Python": (sys.executable, "-c"),
    "JavaScript": ("node", "--input-type=module", "-e"),
}


def test_each_language_has_a_program():
    assert set(PROGRAMS) == set(KEYS) == set(snippets("http://localhost", {}, with_key=False))


@pytest.mark.parametrize("language", PROGRAMS)
@pytest.mark.parametrize("with_key", [False, True])
def test_snippet_prints_the_predictions(language, with_key):
    guard = make_guard(keys=make_keys(ann=KEY) if with_key else None)
    body = {"dataframe_records": [PATIENT], "params": {"threshold": None, "version": False}}
    done = run(language, guard, body, with_key)
    assert done.returncode == 0, done.stderr
    assert "0.25" in done.stdout


@pytest.mark.parametrize("language", PROGRAMS)
def test_snippet_quotes_what_a_row_may_hold(language):
    """The ninth column is refused: it came as a column, whatever its name and value."""
    row = {**PATIENT, 'it\'s "$KEY" `x` \\ µ': "</pre> ${process.exit()}"}
    done = run(language, make_guard(), {"inputs": [row]}, with_key=False)
    assert re.search("column number 9|400 Client Error", done.stdout + done.stderr)


def run(language: str, guard: Any, body: Any, with_key: bool) -> subprocess.CompletedProcess[str]:
    if shutil.which(PROGRAMS[language][0]) is None:
        pytest.skip(f"there is no {PROGRAMS[language][0]}")

    def ask(address: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*PROGRAMS[language], snippets(f"{address}/invocations", body, with_key)[language]],
            env={**os.environ, "KEY": KEY},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return call(guard, ask)
