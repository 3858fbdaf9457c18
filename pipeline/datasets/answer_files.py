"""The file of a source's answers: there as a whole or not at all, and resumed after a kill.

The answers of each batch are a part in a folder beside the file, for a process that goes on after a
kill. The file itself grows in that folder, and moves to its place when it is whole.
"""

import csv
import io
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.ipc
import pyarrow.parquet as pq

from pipeline.errors import ConfigError, ContractError, ModelError, SourceError, nearest
from pipeline.schema.faults import Fault

if sys.platform != "win32":
    import fcntl

STATE = "state.json"
REJECTED_HEADER = ("row", "column", "rule", "value")


class AnswerFile:
    """A file of answers, one of rejected rows, and the folder of parts meanwhile."""

    def __init__(self, output: str) -> None:
        """Raises ConfigError for a format that is not written, and for a folder."""
        self.path = Path(output)
        if self.path.suffix.lower() not in WRITERS:
            formats = ", ".join(WRITERS)
            raise ConfigError(
                f"--output is {output!r}; it must end in one of {formats}"
                f"{nearest(self.path.suffix, WRITERS)}"
            )
        if os.path.isdir(output):
            raise ConfigError(f"--output is {output!r}, which is a folder; name a file in it")
        self.rejected = self.path.with_name(f"{self.path.stem}.rejected.csv")
        self.folder = self.path.with_name(f".{self.path.name}.parts")

    @contextmanager
    def opened(self, fingerprint: object, force: bool) -> Iterator[None]:
        """Meanwhile parts are kept, and those are there that a killed process has left of the rows.

        The folder of parts goes when all is done. A process that is killed leaves it, and the next
        goes on from there. Raises ConfigError for a file that is there and is not to be written
        over, or that another process writes.
        """
        try:
            with self._locked():
                if not self._is_of(fingerprint):
                    self._begin(fingerprint, force)
                yield from self._with_parts()
        except OSError as error:
            remedy = "name a file in a folder where you may write"
            if os.path.isdir(self.folder):
                remedy = "what is scored stays beside it, and the same command goes on from there"
            reason = error.strerror or error
            raise SourceError(
                f"--output {str(self.path)!r} cannot be written: {reason}; {remedy}"
            ) from None

    def _with_parts(self) -> Iterator[None]:
        try:
            yield
        except (ContractError, ModelError, SourceError):  # once mended, the answers are others
            self._remove()
            raise
        self._remove()

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One process at a time. Raises ConfigError where another is at it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if sys.platform == "win32":
            yield
            return
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

    def _is_of(self, fingerprint: object) -> bool:
        """Whether the parts are of these rows, or of others, or there are none."""
        state = self.folder / STATE
        return state.exists() and json.loads(state.read_text("utf-8")) == fingerprint

    def _begin(self, fingerprint: object, force: bool) -> None:
        """Without parts. Raises ConfigError for a file that is there, unless forced."""
        state = self.folder / STATE
        if self.path.exists() and not force:
            if not state.exists():  # what a process has left that was killed when it removed them
                self._remove()
            raise ConfigError(
                f"{self.path} exists; --force writes over it, --output PATH writes another file"
            )
        for path in self.folder.iterdir():
            path.unlink()
        with _written(state) as file:
            file.write(json.dumps(fingerprint).encode())
        _partial(state).replace(state)

    def _remove(self) -> None:
        """The folder; first of all what says whose the parts are."""
        (self.folder / STATE).unlink(missing_ok=True)
        shutil.rmtree(self.folder)

    def part(self, start: int) -> pa.Table | None:
        """The answers for the batch that begins with that row, if they were kept."""
        path = self._part(start)
        return pa.ipc.open_file(path.read_bytes()).read_all() if path.exists() else None

    def keep(self, start: int, answers: pa.Table) -> None:
        """Keeps the answers for a batch, on the disk, until all is done."""
        path = self._part(start)
        with _written(path) as file, pa.ipc.new_file(file, answers.schema) as writer:
            writer.write_table(answers)
        _partial(path).replace(path)

    def _part(self, start: int) -> Path:
        return self.folder / f"{start}.arrow"

    def write(self, batches: Iterable[tuple[pa.Table, Sequence[Fault]]]) -> None:
        """Writes the file, and that of the rejected rows if there are any.

        `batches` are tables of one schema, one at least, with the faults of rejected rows.
        """
        path, rejected = (self.folder / each.name for each in (self.path, self.rejected))
        has_rejected = False
        with _written(path) as file, _written(rejected) as faults_file:
            faults_file.write(_as_csv([REJECTED_HEADER]))
            batches = iter(batches)
            first = next(batches)
            with WRITERS[self.path.suffix.lower()](file, first[0].schema) as writer:
                for table, faults in chain([first], batches):
                    writer.write_table(table)
                    has_rejected |= bool(faults)
                    rows = [(fault.row, fault.column, fault.rule, fault.value) for fault in faults]
                    faults_file.write(_as_csv(rows))
        if has_rejected:
            _partial(rejected).replace(self.rejected)
        else:
            self.rejected.unlink(missing_ok=True)  # of an earlier file of the same name
        _partial(path).replace(self.path)


def _partial(path: Path) -> Path:
    return path.with_name(f"{path.name}.partial")


@contextmanager
def _written(path: Path) -> Iterator[IO[bytes]]:
    """The file under the name of a partial one; at the end all of it is on the disk."""
    with _partial(path).open("wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


def _as_csv(rows: Sequence[Sequence[object]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


WRITERS: Mapping[str, Callable[[IO[bytes], pa.Schema], Any]] = MappingProxyType(
    {".parquet": pq.ParquetWriter, ".csv": pa.csv.CSVWriter}
)
