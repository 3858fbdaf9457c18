import sys
from collections.abc import Callable, Iterator
from functools import cache
from importlib.metadata import packages_distributions, version
from pathlib import Path

import pytest

from pipeline.errors import ConfigError
from pipeline.models import import_paths as packages

KNN = "sklearn.neighbors.KNeighborsClassifier"

installed = cache(packages_distributions)


@pytest.fixture(autouse=True)
def _metadata_is_read_once(monkeypatch):
    """To read that of every package takes a tenth of a second."""
    monkeypatch.setattr(packages, "packages_distributions", installed)


@pytest.fixture
def write(tmp_path, monkeypatch) -> Iterator[Callable[[str, str], Path]]:
    """Writes a file into a folder that modules are imported from."""
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)

    def write(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    yield write
    for name in set(sys.modules) - before:
        if name.startswith("users_"):
            del sys.modules[name]


# Installed packages.


def test_distributions_are_the_packages_of_the_paths_with_their_versions():
    result = packages.distributions([KNN, "sklearn.svm.SVC", "hyperopt.Trials", "numpy.ndarray"])
    names = ["hyperopt", "numpy", "scikit-learn"]
    assert list(result.items()) == [(name, version(name)) for name in names]


@pytest.mark.parametrize(
    "paths", [[], ["no_such_package.Class"], ["pathlib.Path"]], ids=["none", "unknown", "Python's"]
)
def test_distributions_of_what_no_package_owns_are_none(paths):
    assert packages.distributions(paths) == {}


def test_no_path_costs_no_look_at_the_packages(monkeypatch):
    def read():
        raise AssertionError("reads the metadata of every package")

    monkeypatch.setattr(packages, "packages_distributions", read)
    assert (packages.distributions([]), packages.files([]), packages.versions([])) == ({}, [], {})


# Files of the user.


def test_files_are_the_users_modules_and_package_folders(write):
    module = write("users_module.py", "")
    folder = write("users_package/__init__.py", "").parent
    write("users_package/inner/deep.py", "")
    paths = ["users_package.inner.deep.Class", KNN, "users_module.Class", "users_module.Other"]
    assert packages.files(paths) == [module, folder]


@pytest.mark.parametrize("path", [KNN, "no_such_package.Class"])
def test_files_of_packages_and_of_what_is_nowhere_are_none(path):
    assert packages.files([path]) == []


def test_files_are_found_without_running_them(write):
    write("users_module.py", "raise RuntimeError('it ran')")
    write("users_package/__init__.py", "raise RuntimeError('it ran')")
    assert len(packages.files(["users_module.Class", "users_package.inner.Class"])) == 2


# What a result depends on.


def test_versions_are_those_of_packages_and_digests_of_modules(write):
    write("users_module.py", "NUMBER = 1\n")
    write("users_package/__init__.py", "")
    result = packages.versions([KNN, "users_module.Class", "users_package.inner.Class"])
    digests = [result.pop(f"module users_{name}") for name in ("module", "package")]
    assert result == {"scikit-learn": version("scikit-learn")}
    assert [len(digest) for digest in digests] == [12, 12]
    assert digests[0] != digests[1]


def test_digest_of_a_module_changes_with_its_text_alone(write):
    def digest(text: str) -> dict[str, str]:
        write("users_module.py", text)
        return packages.versions(["users_module.Class"])

    first, other, again = digest("a = 1\n"), digest("a = 2\n"), digest("a = 1\n")
    assert list(first) == ["module users_module"]
    assert first == again != other


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("users_package/__init__.py", True),
        ("users_package/model.py", True),
        ("users_package/inner/deep.py", True),
        ("users_package/notes.txt", False),
        ("users_other/model.py", False),
    ],
)
def test_digest_of_a_package_is_that_of_all_its_modules(write, name, counts):
    for module in ("__init__", "model", "inner/deep"):
        write(f"users_package/{module}.py", "a = 1\n")
    before = packages.versions(["users_package.model.Class"])
    write(name, "a = 2\n")
    after = packages.versions(["users_package.model.Class"])
    assert list(before) == list(after) == ["module users_package"]
    assert (before != after) is counts


def test_digest_does_not_depend_on_what_python_leaves_behind(write):
    write("users_package/__init__.py", "a = 1\n")
    before = packages.versions(["users_package.Class"])
    write("users_package/__pycache__/model.cpython-311.pyc", "bytes")
    assert packages.versions(["users_package.Class"]) == before


# Spark.


@pytest.fixture
def machine(monkeypatch) -> Callable[..., None]:
    """A machine with or without PySpark, java on the PATH and JAVA_HOME."""

    def set_up(pyspark: bool, java: bool, home: str | None) -> None:
        monkeypatch.setattr(packages, "find_spec", {"pyspark": pyspark or None}.get)
        monkeypatch.setattr(packages.shutil, "which", {"java": "/bin/java" if java else None}.get)
        monkeypatch.delenv("JAVA_HOME", raising=False)
        if home is not None:
            monkeypatch.setenv("JAVA_HOME", home)

    return set_up


@pytest.mark.parametrize(("java", "home"), [(True, None), (False, "/opt/java"), (True, "")])
def test_spark_runs_where_pyspark_and_java_are(machine, java, home):
    machine(True, java, home)
    packages.check_spark()
    machine(True, False, None)
    with pytest.raises(ConfigError):
        packages.check_spark()


@pytest.mark.parametrize(("java", "home"), [(True, "/opt/java"), (False, None)])
def test_spark_without_pyspark_is_refused(machine, java, home):
    machine(False, java, home)
    with pytest.raises(ConfigError) as error:
        packages.check_spark()
    assert str(error.value) == (
        "tune.backend is 'spark', but PySpark is not installed; install "
        "requirements-spark.txt in place of requirements.txt, or set tune.backend to local"
    )


@pytest.mark.parametrize("home", [None, ""])
def test_spark_without_java_is_refused(machine, home):
    machine(True, False, home)
    with pytest.raises(ConfigError) as error:
        packages.check_spark()
    assert str(error.value) == (
        "tune.backend is 'spark', but there is no java on the PATH and no JAVA_HOME; install "
        "Java 17 or later, or set tune.backend to local"
    )


def test_folder_without_an_init_file_is_found_as_one_with(tmp_path, monkeypatch):
    folder = tmp_path / "bare_folder"
    folder.mkdir()
    (folder / "model.py").write_text("class Few: ...\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert packages.files(["bare_folder.model.Few"]) == [folder]
    before = packages.versions(["bare_folder.model.Few"])
    (folder / "model.py").write_text("class Few: x = 1\n")
    assert packages.versions(["bare_folder.model.Few"]) != before


def test_module_of_the_interpreter_has_no_file():
    assert packages.files(["sys.X"]) == []
