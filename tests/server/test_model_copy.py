"""The private copy of a model's files, and what is left of it when cleaners were there."""

import shutil
import tarfile
import tempfile

import pytest

from pipeline.errors import ModelError
from pipeline.inference import manifest
from pipeline.results import Version
from pipeline.server import model_copy
from pipeline.server.model_copy import ModelCopy

CONTENTS = {"MLmodel": b"flavors", "data/model.pkl": b"\x80pickle", "empty": b""}


@pytest.fixture
def folder(tmp_path):
    for name, content in CONTENTS.items():
        path = tmp_path / "source" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tmp_path / "source"


@pytest.fixture
def temporary(monkeypatch, tmp_path):
    """The folder of everybody's temporary files."""
    path = tmp_path / "temporary"
    path.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(path))
    return path


@pytest.fixture
def copy(folder, temporary):
    version = Version("visits", "7", "r1", {"cv/log_loss": 0.5}, manifest.of(folder))
    copy = ModelCopy(version, folder)
    yield copy
    copy.close()


def contents(folder):
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def test_whole_copy_stays_where_it_is(copy):
    before = copy.folder
    assert copy.whole() == before == copy.folder
    assert contents(before) == CONTENTS


@pytest.mark.parametrize(
    "clean",
    [
        lambda copy, _: shutil.rmtree(copy.folder),
        lambda _, temporary: shutil.rmtree(temporary),
        lambda copy, _: (copy.folder / "data" / "model.pkl").unlink(),
        lambda copy, _: shutil.rmtree(copy.folder / "data"),
        lambda copy, _: (copy.folder / "MLmodel").write_bytes(b"other"),
        lambda copy, _: (copy.folder / "added").write_bytes(b"more"),
    ],
    ids=["folder", "all temporary files", "a file", "a subfolder", "changed", "added"],
)
def test_copy_that_was_deleted_or_changed_is_made_anew(copy, folder, temporary, clean):
    shutil.rmtree(folder)  # the registry is away
    clean(copy, temporary)
    assert contents(copy.whole()) == CONTENTS
    assert copy.whole() == copy.folder
    assert [path.name for path in temporary.iterdir()] == [copy.folder.name]


@pytest.fixture
def path(tmp_path):
    """Where a copy is shared."""
    return tmp_path / "workers" / "champion.tar"


def test_shared_copy_is_version_and_files(copy, path):
    copy.share(path)
    with model_copy.shared(path) as (version, folder):
        assert version == copy.version
        assert contents(folder) == CONTENTS
    assert not folder.exists()
    assert [one.name for one in path.parent.iterdir()] == ["champion.tar"]


def test_shared_copy_is_unpacked_by_a_python_before_3_11_4(copy, path, monkeypatch):
    """As in Debian 12: it knows no filters."""
    copy.share(path)
    extract_all = tarfile.TarFile.extractall

    def extract_unfiltered(archive, folder):
        return extract_all(archive, folder)

    monkeypatch.delattr(tarfile, "data_filter")
    monkeypatch.setattr(tarfile.TarFile, "extractall", extract_unfiltered)

    with model_copy.shared(path) as (_, folder):
        assert contents(folder) == CONTENTS


def test_copy_is_shared_where_its_folder_was_deleted(copy, path):
    copy.share(path)
    shutil.rmtree(path.parent)
    shutil.rmtree(copy.folder)
    copy.share(path)
    with model_copy.shared(path) as (_, folder):
        assert contents(folder) == CONTENTS


def test_nothing_is_shared_in_a_folder_that_others_can_write_to(copy, path):
    """Somebody else may have made what a cleaner deleted."""
    copy.share(path)
    path.parent.chmod(0o777)
    with pytest.raises(PermissionError, match="not a folder of this user alone"):
        copy.share(path)
    with pytest.raises(PermissionError), model_copy.shared(path):
        pass


def test_copy_that_is_closed_leaves_nothing(copy, temporary):
    copy.close()
    copy.close()
    assert list(temporary.iterdir()) == []


def test_files_that_are_not_what_was_promoted_leave_no_copy(folder, temporary):
    version = Version("visits", "7", "r1", {}, manifest.of(folder))
    (folder / "empty").write_bytes(b"no more")
    with pytest.raises(ModelError, match="empty was changed"):
        ModelCopy(version, folder)
    assert list(temporary.iterdir()) == []
    assert tempfile.gettempdir() == str(temporary)
