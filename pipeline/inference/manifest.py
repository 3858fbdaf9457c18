"""What a model's folder held when it was promoted: sha256 of every file."""

import hashlib
import json
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from pipeline.errors import FilesError, MissingFilesError, ModelError

Manifest = Mapping[str, str]  # path in the folder, with slashes -> sha256 in hex
TAG = "manifest"
LONGEST_TAG = 4000  # registries take 5000 characters
# MLflow writes the first beside a model that it fetches from the registry, Python the second.
NOT_OURS = ("registered_model_meta", "__pycache__")
REMEDY = (  # without a comparison: a champion that somebody changed keeps the gate shut
    "restore them, or train it anew: `python -m pipeline run --fresh --gate.rule none` with the "
    "same config and options promotes what it trains; nothing was loaded"
)
MOST_FAULTS = 5  # told


def of(folder: Path) -> Manifest:
    """The manifest of a folder as it is. Raises FilesError for what is no plain file."""
    return {name: _sha256(_read(folder, name)) for name in sorted(_files(folder))}


def copy(folder: Path, manifest: Manifest, target: Path) -> None:
    """Copies what the manifest lists, if the folder holds just that.

    What is hashed is what is written: the copy cannot change between check and use. Raises
    FilesError for files that were added, changed, taken away or replaced by links.
    """
    found = set(_files(folder))
    added = [f"{name} was added" for name in sorted(found - manifest.keys())]
    missing = [f"{name} is missing" for name in sorted(manifest.keys() - found)]
    changed = []
    for name in sorted(found & manifest.keys()):
        content = _read(folder, name)
        if _sha256(content) != manifest[name]:
            changed.append(f"{name} was changed")
        elif not (added or missing or changed):
            path = target / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    if faults := [*added, *missing, *changed]:
        more = f" and {len(faults) - MOST_FAULTS} more" if len(faults) > MOST_FAULTS else ""
        told = ", ".join(faults[:MOST_FAULTS]) + more
        message = f"the model's files are not what was logged: {told}"
        raise (FilesError if added or changed else MissingFilesError)(f"{message}; {REMEDY}")


def digest(manifest: Manifest) -> str:
    """sha256 of the whole."""
    return _sha256(json.dumps(dict(manifest), sort_keys=True).encode())


def to_tags(manifest: Manifest) -> dict[str, str]:
    """As tags of a model version, which are of limited length: `manifest`, `manifest.1`, ..."""
    return parts(TAG, json.dumps(dict(manifest), sort_keys=True))


def parts(tag: str, text: str) -> dict[str, str]:
    """A text of any length as tags: the tag itself, `tag.1`, ..."""
    pieces = [text[at : at + LONGEST_TAG] for at in range(0, len(text), LONGEST_TAG)]
    return {tag if not place else f"{tag}.{place}": piece for place, piece in enumerate(pieces)}


def from_tags(tags: Mapping[str, str]) -> Manifest | None:
    """What `to_tags` wrote; None where nothing was written."""
    names = [TAG, *(f"{TAG}.{place}" for place in range(1, len(tags)))]
    text = "".join(tags.get(name, "") for name in names)
    if not text:
        return None
    try:
        known = json.loads(text)
    except ValueError:
        known = None
    if not isinstance(known, dict):
        raise ModelError(f"the tags {TAG!r} of the model are damaged; nothing was loaded")
    return known


def _files(folder: Path) -> Iterator[str]:
    """Paths of all files below the folder; a link is a fault wherever it leads."""
    for root, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name not in NOT_OURS]
        for name in (*folders, *names):
            path = Path(root) / name
            if name in NOT_OURS:
                continue
            mode = path.lstat().st_mode
            shown = path.relative_to(folder).as_posix()
            if stat.S_ISLNK(mode) or not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                raise FilesError(
                    f"the model's files are not what was logged: {shown} is no plain file; {REMEDY}"
                )
            if stat.S_ISREG(mode):
                yield shown


def _read(folder: Path, name: str) -> bytes:
    with os.fdopen(os.open(folder / name, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
        return file.read()


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
