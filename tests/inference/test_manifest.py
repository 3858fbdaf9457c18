import hashlib
import os

import pytest

from pipeline.errors import ModelError
from pipeline.inference import manifest

FILES = {"MLmodel": b"flavors", "model.pkl": b"\x80\x05", "code/pipeline/a.py": b"a = 1\n"}


@pytest.fixture
def folder(tmp_path):
    """A model's folder, in which MLflow and Python have left what is of no concern."""
    folder = tmp_path / "model"
    others = {
        "registered_model_meta": b"model_name: m",
        "code/pipeline/__pycache__/a.cpython-311.pyc": b"bytecode",
    }
    for name, content in {**FILES, **others}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


@pytest.fixture
def target(tmp_path):
    target = tmp_path / "copy"
    target.mkdir()
    return target


def held(folder):
    """The files below a folder with their contents."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def refusal(folder, logged, target):
    """What is wrong with the files by the message, without its beginning and the remedy."""
    with pytest.raises(ModelError) as error:
        manifest.copy(folder, logged, target)
    start, end = "the model's files are not what was logged: ", f"; {manifest.REMEDY}"
    message = str(error.value)
    assert message.startswith(start)
    assert message.endswith(end)
    return message[len(start) : -len(end)]


def test_manifest_holds_the_sha256_of_every_file_of_the_model(folder):
    assert manifest.of(folder) == {
        name: hashlib.sha256(content).hexdigest() for name, content in FILES.items()
    }


def test_copy_holds_just_the_listed_files(folder, target):
    manifest.copy(folder, manifest.of(folder), target)

    assert held(target) == FILES


def change(folder, *names):
    for name in names:
        (folder / name).write_bytes(b"other")


def add(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()


def remove(folder, *names):
    for name in names:
        (folder / name).unlink()


@pytest.mark.parametrize(
    ("faults", "expected"),
    [
        ({change: ["MLmodel"]}, "MLmodel was changed"),
        ({change: ["code/pipeline/a.py"]}, "code/pipeline/a.py was changed"),
        ({add: ["added.py"]}, "added.py was added"),
        ({add: ["code/pipeline/b.py"]}, "code/pipeline/b.py was added"),
        ({add: ["new/__init__.py"]}, "new/__init__.py was added"),
        ({remove: ["model.pkl"]}, "model.pkl is missing"),
        ({remove: ["code/pipeline/a.py"]}, "code/pipeline/a.py is missing"),
        (
            {add: ["b", "a"], remove: ["MLmodel"], change: ["model.pkl"]},
            "a was added, b was added, MLmodel is missing, model.pkl was changed",
        ),
        (
            {add: [f"a{number}" for number in range(7)]},
            "a0 was added, a1 was added, a2 was added, a3 was added, a4 was added and 2 more",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_files_that_differ_are_refused_by_their_names(folder, target, faults, expected):
    logged = manifest.of(folder)
    for make, names in faults.items():
        make(folder, *names)

    assert refusal(folder, logged, target) == expected


def test_file_swapped_for_another_of_the_model_is_refused(folder, target):
    logged = manifest.of(folder)
    (folder / "model.pkl").rename(folder / "swap")
    (folder / "MLmodel").rename(folder / "model.pkl")
    (folder / "swap").rename(folder / "MLmodel")

    assert refusal(folder, logged, target) == "MLmodel was changed, model.pkl was changed"


def link_to_a_file(folder, elsewhere):
    (folder / "model.pkl").rename(elsewhere)
    (folder / "model.pkl").symlink_to(elsewhere)
    return "model.pkl"


def link_to_a_folder(folder, elsewhere):
    (folder / "code" / "pipeline").rename(elsewhere)
    (folder / "code" / "pipeline").symlink_to(elsewhere, target_is_directory=True)
    return "code/pipeline"


def link_within_the_model(folder, _):
    (folder / "model.pkl").unlink()
    (folder / "model.pkl").symlink_to("MLmodel")
    return "model.pkl"


def link_to_nowhere(folder, elsewhere):
    (folder / "added").symlink_to(elsewhere)
    return "added"


def pipe(folder, _):
    os.mkfifo(folder / "added")
    return "added"


ODD = [link_to_a_file, link_to_a_folder, link_within_the_model, link_to_nowhere, pipe]


@pytest.mark.parametrize("make", ODD, ids=lambda make: make.__name__)
def test_what_is_no_plain_file_is_refused_by_its_name(folder, target, tmp_path, make):
    """Even where it leads to what was promoted: that can be changed behind our back."""
    logged = manifest.of(folder)
    name = make(folder, tmp_path / "elsewhere")

    assert refusal(folder, logged, target) == f"{name} is no plain file"
    assert held(target) == {}


@pytest.mark.parametrize("make", ODD, ids=lambda make: make.__name__)
def test_no_manifest_is_written_of_what_is_no_plain_file(folder, tmp_path, make):
    name = make(folder, tmp_path / "elsewhere")

    with pytest.raises(ModelError, match=f"{name} is no plain file"):
        manifest.of(folder)


def test_link_that_is_put_there_after_the_look_is_not_followed(folder, target, monkeypatch):
    logged = manifest.of(folder)
    monkeypatch.setattr(manifest, "_files", lambda _: iter(logged))
    (folder / "model.pkl").rename(folder / "elsewhere")
    (folder / "model.pkl").symlink_to("elsewhere")

    with pytest.raises(OSError, match="Too many levels of symbolic links"):
        manifest.copy(folder, logged, target)


def test_path_out_of_the_folder_is_never_read(folder, target, tmp_path):
    (tmp_path / "secret").write_bytes(b"secret")
    outside = {"../secret": hashlib.sha256(b"secret").hexdigest()}

    logged = {**manifest.of(folder), **outside}
    assert refusal(folder, logged, target) == "../secret is missing"


def test_digest_is_of_the_whole_whatever_the_order():
    whole = manifest.digest({"a": "1", "b": "2"})

    assert manifest.digest({"b": "2", "a": "1"}) == whole
    assert len({whole, manifest.digest({"a": "1"}), manifest.digest({"a": "2", "b": "1"})}) == 3


# As tags.


@pytest.mark.parametrize("count", [0, 1, 40, 60, 1500])
def test_tags_give_the_manifest_back_however_many_it_takes(count):
    whole = {f"code/größe/{place}.py": f"{place:064x}" for place in range(count)}
    tags = manifest.to_tags(whole)

    assert manifest.from_tags({"other": "x", **tags}) == whole
    assert all(len(text) <= manifest.LONGEST_TAG for text in tags.values())
    assert list(tags)[:2] == ["manifest", "manifest.1"][: len(tags)]
    assert len(tags) > 1 or count < 60


@pytest.mark.parametrize("tags", [{}, {"data_digest": "d"}, {"manifest.sha": "x"}])
def test_tags_of_a_version_that_was_not_promoted_hold_no_manifest(tags):
    assert manifest.from_tags(tags) is None


WHOLE = manifest.to_tags({f"{place}.py": "0" * 64 for place in range(150)})


def without(name):
    return {key: text for key, text in WHOLE.items() if key != name}


@pytest.mark.parametrize(
    "tags",
    [
        *(without(name) for name in ("manifest", "manifest.1", "manifest.2")),
        *({"manifest": text} for text in ("{", "no JSON", '"a"', "3", "null", "[1]", "true")),
    ],
    ids=lambda tags: ", ".join(f"{key} {text:.9}" for key, text in tags.items()),
)
def test_damaged_tags_are_refused(tags):
    assert list(WHOLE) == ["manifest", "manifest.1", "manifest.2"]
    with pytest.raises(ModelError, match="the tags 'manifest' of the model are damaged; "):
        manifest.from_tags(tags)
