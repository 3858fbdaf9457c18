"""A private copy of a version's verified files, which outlives cleaners of temporary folders."""

import json
import shutil
import tarfile
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from io import BytesIO
from pathlib import Path
from typing import IO

from pipeline.errors import ModelError
from pipeline.inference import manifest
from pipeline.results import Version
from pipeline.server import temporary_folder

VERSION = "version.json"  # in an archive, beside the files
FILES = "files"


class ModelCopy:
    """The files in a temporary folder, and once more in an archive that has no name.

    Nobody can delete what has no name. From there the folder is made anew when it was deleted.
    """

    def __init__(self, version: Version, source: Path) -> None:
        """Copies what the version's manifest lists from `source`. Raises ModelError, OSError."""
        self.version = version
        self._lock = threading.Lock()  # the archive has one position
        self.folder = _new_folder()
        try:
            manifest.copy(source, version.manifest, self.folder)
            self._archive: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  as long as the copy
            _pack(version, self.folder, self._archive)
        except BaseException:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise

    def whole(self) -> Path:
        """Returns the folder with all its files: a new one, if they were deleted or changed since.

        Raises ModelError, OSError.
        """
        with suppress(ModelError, OSError):
            if manifest.of(self.folder) == self.version.manifest:
                return self.folder
        shutil.rmtree(self.folder, ignore_errors=True)
        with self._lock, _unpacked(self._archive) as (version, files):
            folder = _new_folder()
            manifest.copy(files, version.manifest, folder)
        self.folder = folder
        return folder

    def share(self, path: Path) -> None:
        """Writes the archive to a path, at once as a whole. Raises OSError."""
        temporary_folder.make_private(path.parent)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            try:
                with self._lock:
                    self._archive.seek(0)
                    shutil.copyfileobj(self._archive, file)
                file.close()
                Path(file.name).replace(path)
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise

    def close(self) -> None:
        """Deletes the folder and the archive."""
        self._archive.close()
        shutil.rmtree(self.folder, ignore_errors=True)


@contextmanager
def shared(path: Path) -> Iterator[tuple[Version, Path]]:
    """Yields what `ModelCopy.share` wrote: the version, and a folder of its files meanwhile.

    Raises OSError if there is none.
    """
    temporary_folder.make_private(path.parent)
    with path.open("rb") as archive, _unpacked(archive) as unpacked:
        yield unpacked


def _new_folder() -> Path:
    """Makes a private one. The folder for temporary files itself may have been deleted."""
    Path(tempfile.gettempdir()).mkdir(mode=0o700, parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix="model-"))


def _pack(version: Version, folder: Path, target: IO[bytes]) -> None:
    with tarfile.open(fileobj=target, mode="w") as archive:
        content = json.dumps(asdict(version)).encode()
        entry = tarfile.TarInfo(VERSION)
        entry.size = len(content)
        archive.addfile(entry, BytesIO(content))
        archive.add(folder, FILES)
    target.flush()


@contextmanager
def _unpacked(source: IO[bytes]) -> Iterator[tuple[Version, Path]]:
    folder = _new_folder()
    source.seek(0)
    try:
        with tarfile.open(fileobj=source, mode="r") as archive:
            archive.extraction_filter = getattr(tarfile, "data_filter", None)  # since 3.11.4
            archive.extractall(folder)
        yield Version(**json.loads((folder / VERSION).read_bytes())), folder / FILES
    finally:
        shutil.rmtree(folder, ignore_errors=True)
