"""The file of a source's answers: there as a whole or not at all, and resumed after a kill.

Each batch is a part in a folder beside the file; the parts are joined when all are there.
"""

import csv
import fcntl
import io
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from pipeline.errors import ConfigError, PipelineError, SourceError, nearest
from pipeline.schema.faults import Fault

PART, REJECTED_PART, STATE = ".parquet", ".csv", "state.json"
REJECTED_HEADER = ("row", "column", "rule", "value")
REJECTED = b"rejected"  # rows of a part, in its metadata


class AnswerFile:
    """A file of answers, one of rejected rows, and the folder of parts that they are made of."""

    def __init__(self, output: str) -> None:
        """Raises ConfigError for a format that is not written."""
        self.path = Path(output)
        if self.path.suffix.lower() not in WRITERS:
            formats = ", ".join(WRITERS)
            raise ConfigError(
                f"--output is {output!r}; it must end in one of {formats}"
                f"{nearest(self.path.suffix, WRITERS)}"
            )
        self.rejected = self.path.with_name(f"{self.path.stem}.rejected.csv")
        self.folder = self.path.with_name(f".{self.path.name}.parts")

    @contextmanager
    def opened(self, fingerprint: object, force: bool) -> Iterator[frozenset[int]]:
        """The places of the parts that an earlier process made of the same rows, meanwhile.

        The folder of parts goes when all is done. A process that is killed leaves it, and the next
        goes on from there. Raises ConfigError for a file that is there and is not to be written
        over, or that another process writes.
        """
        state = self.folder / STATE
        is_ours = state.exists() and json.loads(state.read_text("utf-8")) == fingerprint
        if not is_ours and self.path.exists() and not force:
            raise ConfigError(
                f"{self.path} exists; --force writes over it, --output PATH writes another file"
            )
        try:
            with self._locked():
                if not is_ours:
                    self._clear()
                    content = json.dumps(fingerprint).encode()
                    _write_whole(state, lambda file: file.write(content))
                yield from self._with_parts()
        except OSError as error:
            raise SourceError(
                f"--output {str(self.path)!r} cannot be written: {error.strerror or error}; what "
                "is scored stays beside it, and the same command goes on from there"
            ) from None

    def _with_parts(self) -> Iterator[frozenset[int]]:
        try:
            yield frozenset(int(part.stem) for part in self.folder.glob(f"*{PART}"))
        except PipelineError:  # once it is mended the rows are others
            shutil.rmtree(self.folder)
            raise
        shutil.rmtree(self.folder)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One process at a time. Raises ConfigError where another is at it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.folder, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            raise ConfigError(
                f"{self.path} is being written by another process; wait for it, or name another "
                "--output"
            ) from None
        try:
            yield
        finally:
            os.close(handle)

    def _clear(self) -> None:
        """Parts of other rows, or of another model."""
        for path in self.folder.iterdir():
            path.unlink()

    def write(self, place: int, answers: pa.Table, faults: Sequence[Fault], rejected: int) -> None:
        """One part; it is there when its answers are."""

        def write_faults(file: IO[bytes]) -> None:
            rows = [(fault.row, fault.column, fault.rule, fault.value) for fault in faults]
            file.write(_as_csv(rows))

        if faults:
            _write_whole(self.folder / f"{place:08d}{REJECTED_PART}", write_faults)
        metadata = {**(answers.schema.metadata or {}), REJECTED: str(rejected).encode()}
        table = answers.replace_schema_metadata(metadata)
        path = self.folder / f"{place:08d}{PART}"
        _write_whole(path, lambda file: pq.write_table(table, file))

    def join(self, on_part: Callable[[pa.Table, int], None]) -> None:
        """Writes the file, and that of the rejected rows if there are any; tells of each part."""
        rejected = sorted(self.folder.glob(f"*{REJECTED_PART}"))
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if rejected:
            _write_whole(self.rejected, lambda file: _join_rejected(rejected, file), self.folder)
        else:
            self.rejected.unlink(missing_ok=True)  # of an earlier file of the same name
        _write_whole(self.path, lambda file: self._write_parts(file, on_part), self.folder)

    def _write_parts(self, file: IO[bytes], on_part: Callable[[pa.Table, int], None]) -> None:
        parts = self._parts(on_part)
        first = next(parts)
        with WRITERS[self.path.suffix.lower()](file, first.schema) as writer:
            for table in chain([first], parts):
                writer.write_table(table)

    def _parts(self, on_part: Callable[[pa.Table, int], None]) -> Iterator[pa.Table]:
        for path in sorted(self.folder.glob(f"*{PART}")):
            table = pq.read_table(path)
            on_part(table, int(table.schema.metadata[REJECTED]))
            yield table.replace_schema_metadata(None)


def _write_whole(
    path: Path, write: Callable[[IO[bytes]], object], folder: Path | None = None
) -> None:
    """The file is there, and on the disk, when all of it is; meanwhile it is in the folder."""
    partial = (folder or path.parent) / f"{path.name}.partial"
    with partial.open("wb") as file:
        write(file)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def _as_csv(rows: Sequence[Sequence[object]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def _join_rejected(parts: Sequence[Path], file: IO[bytes]) -> None:
    file.write(_as_csv([REJECTED_HEADER]))
    for part in parts:
        file.write(part.read_bytes())


WRITERS: Mapping[str, Callable[[IO[bytes], pa.Schema], Any]] = MappingProxyType(
    {".parquet": pq.ParquetWriter, ".csv": pa.csv.CSVWriter}
)
