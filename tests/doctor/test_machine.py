"""What the doctor says of this machine."""

import hashlib
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.config.sections import Config
from pipeline.config.serve import Serve
from pipeline.doctor import machine
from pipeline.doctor.finding import WRONG, Finding
from tests.support.builders import make_config
from tests.support.doors import free_port


def find(check: Callable[[Config], Iterator[Finding]], **serve: object) -> list[Finding]:
    return list(check(make_config().model_copy(update={"serve": Serve(**serve)})))


def test_library_of_another_version_than_the_lock_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / machine.LOCK).write_text(
        "# made by uv\n"
        "numpy==0.1 \\\n    --hash=sha256:00\n"
        "no-such-library==1.0 \\\n    --hash=sha256:00\n"
        "only-there==1.0 ; sys_platform == 'nowhere' \\\n    --hash=sha256:00\n"
    )
    monkeypatch.setattr(machine, "PROJECT", tmp_path)

    (finding,) = find(machine.libraries)

    assert finding.status == WRONG
    assert "(locked 0.1)" in finding.message
    assert "no-such-library missing (locked 1.0)" in finding.message
    assert "only-there" not in finding.message
    assert finding.command.startswith("uv pip install -r requirements.txt")


def test_refused_pickles_are_named_with_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    name = machine.MLFLOW_ALLOW_PICKLE_DESERIALIZATION.name
    monkeypatch.setenv(name, "false")
    (refused,) = find(machine.pickles)
    monkeypatch.delenv(name)
    (allowed,) = find(machine.pickles)

    assert (refused.status, refused.command) == (WRONG, f"unset {name}")
    assert allowed.status == "ok"


def test_taken_port_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        number = server.getsockname()[1]
        (taken,) = find(machine.port, port=number)
    (free,) = find(machine.port, port=free_port())

    assert taken.status == WRONG
    assert f"127.0.0.1:{number} is taken" in taken.message
    assert free.status == "ok"


def test_disk_without_room_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "LEAST_ROOM", 2**62)

    finding = machine.room("disk", tmp_path / "not" / "there", "make room")

    assert finding.status == WRONG
    assert finding.message.startswith(f"{tmp_path} has ")
    assert finding.message.endswith("GiB left; make room")


def test_folder_of_a_process_that_was_killed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine.tempfile, "tempdir", str(tmp_path))
    left = tmp_path / f"{machine.temporary.PREFIX}left"
    left.mkdir()
    (left / machine.temporary.PID_FILE).write_text("1")

    *_, finding = find(machine.temporary_files)

    assert (finding.status, finding.command) == (WRONG, f"rm -r {left}")


def keys_file(folder: Path, content: str, mode: int) -> str:
    path = folder / "keys"
    path.write_text(content)
    path.chmod(mode)
    return str(path)


KEY = f"shop:{hashlib.sha256(b'secret').hexdigest()}\n"


def test_keys_that_others_may_read_are_closed_to_them(tmp_path: Path) -> None:
    path = keys_file(tmp_path, KEY, 0o644)

    (finding,) = find(machine.keys, keys=path)
    assert (finding.status, finding.command) == (WRONG, f"chmod 600 {path}")
    assert finding.fix is not None
    finding.fix()

    assert os.stat(path).st_mode & 0o777 == 0o600
    assert [one.status for one in find(machine.keys, keys=path)] == ["ok"]


def test_keys_that_are_none_are_named(tmp_path: Path) -> None:
    (finding,) = find(machine.keys, keys=keys_file(tmp_path, "secret\n", 0o600))

    assert finding.status == WRONG
    assert "holds an entry that is no key" in finding.message
