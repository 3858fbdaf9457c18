"""The file of answers: whole or not there, gone on with after a kill, one process at a time."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from pipeline.datasets import answer_files
from pipeline.datasets.answer_files import WRITERS, AnswerFile
from pipeline.errors import ConfigError, ContractError, SourceError
from pipeline.schema.faults import Fault

FAULT = Fault(3, "age", "must be at most 120, years", "'200'")
PARTS = {0: pa.table({"p": [0.25, 0.5]}), 3: pa.table({"p": [0.75]})}  # by their first row
BATCHES = [
    (pa.table({"id": [1, 2], "p": [0.25, 0.5]}), [FAULT]),
    (pa.table({"id": [4], "p": [0.75]}), []),
]


def write(output: AnswerFile, error: BaseException | None = None) -> list[int]:
    """All parts, kept where they were not, then the error; returns the first rows of the others."""
    kept = []
    with output.opened("rows", False):
        for start, part in PARTS.items():
            if output.part(start) is None:
                output.keep(start, part)
            else:
                assert part.equals(output.part(start))
                kept.append(start)
        output.write(BATCHES)
        if error is not None:
            raise error
    return kept


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it."""


def write_until(output: AnswerFile, error: BaseException, mark: object = "rows") -> None:
    """The first part and the first batch, before the error."""

    def batches() -> Iterator[tuple[pa.Table, list[Fault]]]:
        yield BATCHES[0]
        raise error

    with output.opened(mark, False):
        output.keep(0, PARTS[0])
        output.write(batches())


def read(path: Path) -> pd.DataFrame:
    return pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)


@pytest.mark.parametrize("suffix", WRITERS)
def test_parts_are_joined_in_order_and_only_the_files_stay(tmp_path: Path, suffix: str) -> None:
    output = AnswerFile(str(tmp_path / "new" / f"scores{suffix}"))

    write(output)

    expected = pa.concat_tables([table for table, _ in BATCHES]).to_pandas()
    pd.testing.assert_frame_equal(read(output.path), expected)
    assert output.rejected.read_text("utf-8") == (
        "row,column,rule,value\n3,age,\"must be at most 120, years\",'200'\n"
    )
    assert sorted(output.path.parent.iterdir()) == sorted([output.path, output.rejected])


def test_killed_process_leaves_no_file_and_the_next_goes_on(tmp_path: Path) -> None:
    output = AnswerFile(str(tmp_path / "scores.parquet"))
    with pytest.raises(Killed):
        write_until(output, Killed())
    assert not output.path.exists()

    assert write(output) == [0]

    assert read(output.path)["id"].tolist() == [1, 2, 4]


def test_parts_of_other_rows_are_not_taken(tmp_path: Path) -> None:
    output = AnswerFile(str(tmp_path / "scores.parquet"))
    with pytest.raises(Killed):
        write_until(output, Killed(), mark="other rows")

    assert write(output) == []


def test_process_that_is_killed_when_the_file_is_there_scores_nothing_again(
    tmp_path: Path,
) -> None:
    output = AnswerFile(str(tmp_path / "scores.parquet"))
    with pytest.raises(Killed):
        write(output, error=Killed())

    assert write(output) == [0, 3]
    assert read(output.path)["id"].tolist() == [1, 2, 4]


def test_file_that_is_there_stays_unless_forced(tmp_path: Path) -> None:
    output = AnswerFile(str(tmp_path / "scores.csv"))
    output.path.write_text("mine")
    output.rejected.write_text("of an earlier one")

    with pytest.raises(ConfigError, match=r"scores\.csv exists; --force"):
        write(output)
    assert output.path.read_text() == "mine"
    with output.opened("rows", True):
        output.write([(BATCHES[0][0], [])])

    assert read(output.path)["id"].tolist() == [1, 2]
    assert not output.rejected.exists()


def test_process_that_is_killed_when_it_removes_the_parts_leaves_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = AnswerFile(str(tmp_path / "scores.csv"))

    def killed(folder: Path) -> None:
        next(folder.glob("*.arrow")).unlink()
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(answer_files.shutil, "rmtree", killed)
        with pytest.raises(Killed):
            write(output)
    with pytest.raises(ConfigError, match=r"scores\.csv exists; --force"):
        write(output)

    assert sorted(tmp_path.iterdir()) == sorted([output.path, output.rejected])


def test_one_process_writes_at_a_time(tmp_path: Path) -> None:
    output = AnswerFile(str(tmp_path / "scores.csv"))
    with output.opened("rows", False):
        with pytest.raises(ConfigError, match="another process"):
            write(AnswerFile(str(output.path)))
        output.write([(BATCHES[0][0], [])])

    assert read(output.path)["id"].tolist() == [1, 2]


def test_mistake_in_the_rows_leaves_nothing(tmp_path: Path) -> None:
    output = AnswerFile(str(tmp_path / "scores.csv"))
    with pytest.raises(ContractError):
        write_until(output, ContractError("row 3"))

    assert list(tmp_path.iterdir()) == []


def test_full_disk_is_named_and_what_is_scored_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = AnswerFile(str(tmp_path / "scores.csv"))
    sync = os.fsync

    def full_after_two(handle: int) -> None:
        if len(list(output.folder.iterdir())) > 2:  # the state and the first part
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(handle)

    monkeypatch.setattr(os, "fsync", full_after_two)
    with pytest.raises(SourceError, match=r"scores\.csv' cannot be written: No space left"):
        write(output)
    monkeypatch.undo()

    assert write(output) == [0]


def test_place_where_nothing_can_be_written_is_named_with_another_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SourceError, match=r"Not a directory; name a file in a folder where you"):
        write(AnswerFile(str(tmp_path / "file" / "scores.csv")))


def test_folder_is_refused_whatever_it_is_called(tmp_path: Path) -> None:
    (tmp_path / "scores.csv").mkdir()
    with pytest.raises(ConfigError, match=r"scores\.csv', which is a folder"):
        AnswerFile(str(tmp_path / "scores.csv"))


@pytest.mark.parametrize("name", ["scores.xlsx", "scores"])
def test_format_that_is_not_written_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=r"must end in one of \.parquet, \.csv"):
        AnswerFile(name)
