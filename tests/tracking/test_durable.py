import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.tracking import durable


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    (folder / "deep" / "deeper").mkdir(parents=True)
    (folder / "empty").mkdir()
    for name in ("MLmodel", "deep/weights.bin", "deep/deeper/note.txt"):
        (folder / name).write_text(name)
    return folder


@pytest.fixture
def synced(monkeypatch) -> list[int]:
    """The inodes that were synced, in order."""
    inodes: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda handle: inodes.append(os.fstat(handle).st_ino))
    return inodes


def inode(path: Path) -> int:
    return path.stat().st_ino


def test_sync_reaches_every_file_and_folder_and_the_folders_own_name(folder, synced):
    durable.sync(folder)
    expected = {inode(path) for path in (folder.parent, folder, *folder.rglob("*"))}
    assert set(synced) == expected


def test_sync_leaves_what_is_beside_the_folder(folder, synced):
    (folder.parent / "beside.txt").write_text("another's")
    durable.sync(folder)
    assert inode(folder.parent / "beside.txt") not in synced


def test_sync_comes_to_a_folder_after_the_files_in_it(folder, synced):
    """A name on the disk without its content would be a file of nothing."""
    durable.sync(folder)
    for path in folder.rglob("*"):
        if path.is_file():
            assert synced.index(inode(path)) < synced.index(inode(path.parent))
    assert synced[-1] == inode(folder.parent)


def test_sync_takes_a_path_from_the_working_directory(folder, synced, monkeypatch):
    monkeypatch.chdir(folder.parent)
    durable.sync(Path(folder.name))
    assert {inode(folder), inode(folder.parent)} <= set(synced)


def test_sync_changes_nothing(folder):
    def state() -> dict[str, str | None]:
        paths = sorted(folder.rglob("*"))
        return {str(path): path.read_text() if path.is_file() else None for path in paths}

    before = state()
    durable.sync(folder)
    assert state() == before


def fail(handle: int) -> None:
    raise OSError("the disk is gone")


@pytest.mark.parametrize("failing", [False, True])
def test_sync_closes_what_it_opens(folder, monkeypatch, failing):
    opened, closed = [], []
    own_open: Callable[..., int] = os.open
    own_close = os.close

    def follow_open(*args, **options):
        opened.append(own_open(*args, **options))
        return opened[-1]

    def follow_close(handle):
        closed.append(handle)
        own_close(handle)

    monkeypatch.setattr(durable.os, "open", follow_open)
    monkeypatch.setattr(durable.os, "close", follow_close)
    if failing:
        monkeypatch.setattr(os, "fsync", fail)
        with pytest.raises(OSError, match="the disk is gone"):
            durable.sync(folder)
    else:
        durable.sync(folder)
    assert opened
    assert closed == opened
