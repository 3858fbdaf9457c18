"""The folder for temporary files, over processes that end in order, are killed, or live on."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeline import temporary
from pipeline.config.paths import PROJECT

BEGIN = "import sys, tempfile; from pipeline import temporary; folder = temporary.begin();"
HOLD = f"{BEGIN} tempfile.mkdtemp(); print(folder, flush=True); input()"


@pytest.fixture
def parent() -> Iterator[Path]:
    """A short path: those of pytest are too long for sockets."""
    with tempfile.TemporaryDirectory(prefix="t-") as folder:
        yield Path(folder)


def start(parent: Path, program: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program],
        env={**os.environ, "TMPDIR": str(parent), "PYTHONPATH": str(PROJECT), **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


@contextmanager
def running(parent: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A process and its folder; killed at the end."""
    process = start(parent, HOLD)
    try:
        yield process, Path(process.stdout.readline().strip())
    finally:
        process.kill()
        process.communicate()


def status(process: subprocess.Popen[str]) -> int:
    """Of its end."""
    process.communicate(timeout=120)
    return process.returncode


def next_start(parent: Path) -> None:
    assert status(start(parent, BEGIN)) == 0


def left(parent: Path) -> list[str]:
    return sorted(path.name for path in parent.iterdir())


def test_temporary_files_are_in_the_folder_and_go_with_the_process(parent):
    process = start(parent, HOLD)
    folder = Path(process.stdout.readline().strip())
    assert folder.parent == parent
    assert len(list(folder.iterdir())) == 2  # the process's number and the file
    process.communicate("\n")
    assert left(parent) == []


def test_folder_of_a_process_that_was_killed_goes_at_the_next_start(parent):
    with running(parent) as (_, folder):
        pass
    assert left(parent) == [folder.name]
    next_start(parent)
    assert left(parent) == []


def test_folder_of_a_process_that_lives_stays(parent):
    with running(parent) as (_, folder):
        next_start(parent)
        assert left(parent) == [folder.name]
        assert len(list(folder.iterdir())) == 2


def test_folder_in_which_an_orphan_works_stays_until_it_ends(parent):
    with running(parent) as (_, folder):
        orphan = start(folder, "print(flush=True); input()")
        orphan.stdout.readline()
    next_start(parent)
    assert left(parent) == [folder.name]
    orphan.communicate("\n")
    next_start(parent)
    assert left(parent) == []


def test_what_is_not_ours_stays(parent, tmp_path):
    (parent / "pipeline-notes").mkdir()
    (parent / "pipeline-file").touch()
    (tmp_path / temporary.PID_FILE).write_text("1")
    (parent / "pipeline-link").symlink_to(tmp_path)
    next_start(parent)
    assert left(parent) == ["pipeline-file", "pipeline-link", "pipeline-notes"]
    assert (tmp_path / temporary.PID_FILE).exists()


@pytest.mark.skipif(not temporary.SEMAPHORES.is_dir(), reason="semaphores are no files here")
def test_semaphores_of_a_process_that_was_killed_go_and_those_of_others_stay(parent):
    with running(parent) as (process, _):
        of_process = temporary.SEMAPHORES / f"sem.loky-{process.pid}-test"
        other = temporary.SEMAPHORES / f"sem.loky-{os.getpid()}-test"
        for semaphore in (of_process, other):
            semaphore.touch()
    try:
        next_start(parent)
        assert not of_process.exists()
        assert other.exists()
    finally:
        other.unlink()


def test_folder_whose_path_is_too_long_for_a_socket_is_not_taken(parent):
    long = parent / ("x" * temporary.LONGEST)
    long.mkdir()
    program = f"{BEGIN} print(folder)"
    assert start(long, program).communicate()[0].strip() == str(long)
    assert left(long) == []


def test_where_no_file_can_be_written_the_verb_says_so(parent):
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0));"
    program = f"{limit} import runpy; runpy.run_module('pipeline', run_name='__main__')"
    done = subprocess.run(
        [sys.executable, "-c", program, "serve"],
        env={
            **os.environ,
            "TMPDIR": str(parent),
            "PYTHONDONTWRITEBYTECODE": "1",
            "MLFLOW_TRACKING_URI": f"sqlite:///{parent}/mlflow.db",
        },
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert "Traceback" not in done.stderr
