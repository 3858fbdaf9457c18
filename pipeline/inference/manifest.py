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
REGISTERED = "registered_model_meta"  # MLflow's, beside a model that it fetches from the registry
IGNORED = (REGISTERED, "__pycache__")
REMEDY = (  # without a comparison: a champion that somebody changed keeps the gate shut
    "restore them, or train it anew: `python -m pipeline run --fresh --gate.rule none` with the "
    "same config and options promotes what it trains; nothing was loaded"
)
CHANGED = "the model's files are not what was logged"
MOST_FAULTS = 5  # named in a message


def of(folder: Path) -> Manifest:
    """The manifest of a folder as it is. Raises FilesError for what is no plain file."""
    return {name: _sha256(_read(folder, name)) for name in sorted(_files(folder))}


def copy(folder: Path, manifest: Manifest, target: Path) -> None:
    """Copies what the manifest lists, if the folder holds just that.

    What is hashed is what is written: the copy cannot change between check and use. Raises
    FilesError for files that were added, changed, taken away or replaced by links.
    """
    present = set(_files(folder))
    added = [f"{name} was added" for name in sorted(present - manifest.keys())]
    missing = [f"{name} is missing" for name in sorted(manifest.keys() - present)]
    changed = []
    for name in sorted(present & manifest.keys()):
        content = _read(folder, name)
        if _sha256(content) != manifest[name]:
            changed.append(f"{name} was changed")
        elif not (added or missing or changed):
            path = target / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    if faults := [*added, *missing, *changed]:
        more = f" and {len(faults) - MOST_FAULTS} more" if len(faults) > MOST_FAULTS else ""
        sentence = f"{CHANGED}: {', '.join(faults[:MOST_FAULTS])}{more}"
        raise (FilesError if added or changed else MissingFilesError)(f"{sentence}; {REMEDY}")


def digest(manifest: Manifest) -> str:
    """sha256 (hex) of a whole manifest, whatever the order of its files."""
    return _sha256(json.dumps(dict(manifest), sort_keys=True).encode())


def to_tags(manifest: Manifest) -> dict[str, str]:
    """The tags of a model version that hold it, of limited length: `manifest`, `manifest.1`, ..."""
    return parts(TAG, json.dumps(dict(manifest), sort_keys=True))


def parts(tag: str, text: str) -> dict[str, str]:
    """A text of any length as tags: the tag itself, `tag.1`, ..."""
    pieces = [text[at : at + LONGEST_TAG] for at in range(0, len(text), LONGEST_TAG)]
    return {tag if not place else f"{tag}.{place}": piece for place, piece in enumerate(pieces)}


def joined(tag: str, tags: Mapping[str, str]) -> str:
    """The text that `parts` has made tags of; "" if it is not among them."""
    names = [tag, *(f"{tag}.{place}" for place in range(1, len(tags)))]
    return "".join(tags.get(name, "") for name in names)


def from_tags(tags: Mapping[str, str]) -> Manifest | None:
    """The manifest that `to_tags` wrote, or None. Raises ModelError where tags are damaged."""
    text = joined(TAG, tags)
    if not text:
        return None
    try:
        manifest = json.loads(text)
    except ValueError:
        manifest = None
    if not isinstance(manifest, dict):
        raise ModelError(f"the tags {TAG!r} of the model are damaged; nothing was loaded")
    return manifest


def _files(folder: Path) -> Iterator[str]:
    """Paths of all files below the folder; a link is a fault wherever it leads."""
    for root, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name not in IGNORED]
        for name in (*folders, *names):
            path = Path(root) / name
            if name in IGNORED:
                continue
            mode = path.lstat().st_mode
            relative = path.relative_to(folder).as_posix()
            if stat.S_ISREG(mode):
                yield relative
            elif not stat.S_ISDIR(mode):  # or a link, which lstat does not follow
                raise FilesError(f"{CHANGED}: {relative} is no plain file; {REMEDY}")


def _read(folder: Path, name: str) -> bytes:
    with os.fdopen(os.open(folder / name, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
        return file.read()


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
