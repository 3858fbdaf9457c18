from importlib.metadata import version

import pytest

from pipeline import packages
from pipeline.errors import ConfigError

SVC = "sklearn.svm.SVC"


@pytest.fixture
def modules(tmp_path, monkeypatch):
    """A folder on the path with a module `one_file` and a package `a_folder` of the user."""
    (tmp_path / "one_file.py").write_text("class Thing: pass\n")
    (tmp_path / "a_folder" / "deep").mkdir(parents=True)
    (tmp_path / "a_folder" / "__init__.py").write_text("")
    (tmp_path / "a_folder" / "deep" / "inner.py").write_text("class Thing: pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_distribution_is_found_by_the_name_that_is_imported():
    assert packages.distributions([SVC]) == {"scikit-learn": version("scikit-learn")}


def test_distributions_are_named_once_and_in_order():
    found = packages.distributions([SVC, "numpy.ndarray", "sklearn.neighbors.KNeighborsClassifier"])
    assert list(found) == ["numpy", "scikit-learn"]


@pytest.mark.parametrize("find", [packages.distributions, packages.versions])
def test_nothing_leads_to_nothing_without_a_look_at_the_packages(find, monkeypatch):
    def fail():
        raise AssertionError("it looked")

    monkeypatch.setattr(packages, "packages_distributions", fail)
    assert find([]) == {}
    assert packages.files([]) == []


def test_own_module_has_no_distribution(modules):
    assert packages.distributions(["one_file.Thing"]) == {}


def test_files_are_the_module_or_the_folder_of_a_package(modules):
    paths = ["one_file.Thing", "a_folder.deep.inner.Thing", "a_folder.Other"]
    assert packages.files(paths) == [modules / "a_folder", modules / "one_file.py"]


def test_files_leave_out_installed_packages_and_what_is_not_there(modules):
    assert packages.files([SVC, "not_there.Thing"]) == []


def test_versions_tell_packages_and_own_modules(modules):
    found = packages.versions([SVC, "one_file.Thing", "a_folder.Thing"])
    assert set(found) == {"scikit-learn", "module one_file", "module a_folder"}
    assert found["scikit-learn"] == version("scikit-learn")
    assert len(found["module one_file"]) == 12


def test_versions_take_any_iterable_once(modules):
    paths = (path for path in (SVC, "one_file.Thing"))
    assert set(packages.versions(paths)) == {"scikit-learn", "module one_file"}


@pytest.mark.parametrize(
    ("path", "file"),
    [("one_file.Thing", "one_file.py"), ("a_folder.Thing", "a_folder/deep/inner.py")],
)
def test_version_of_an_own_module_follows_its_code(modules, path, file):
    before = packages.versions([path])
    assert packages.versions([path]) == before
    (modules / file).write_text("class Thing: x = 1\n")
    changed = packages.versions([path])
    assert changed.keys() == before.keys()
    assert changed != before


def test_version_of_a_package_does_not_follow_what_is_no_code(modules):
    before = packages.versions(["a_folder.Thing"])
    (modules / "a_folder" / "notes.txt").write_text("nothing")
    assert packages.versions(["a_folder.Thing"]) == before


@pytest.fixture
def machine(monkeypatch):
    """Makes this a machine with or without PySpark, java and JAVA_HOME."""

    def machine(*, pyspark: bool, java: bool, home: str | None) -> None:
        monkeypatch.setattr(packages, "find_spec", lambda name: object() if pyspark else None)
        monkeypatch.setattr(packages.shutil, "which", lambda name: "/bin/java" if java else None)
        monkeypatch.delenv("JAVA_HOME", raising=False)
        if home is not None:
            monkeypatch.setenv("JAVA_HOME", home)

    return machine


def refusal() -> str:
    try:
        packages.check_spark()
    except ConfigError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(("java", "home"), [(True, None), (False, "/opt/java"), (True, "")])
def test_spark_may_run_with_pyspark_and_a_java(machine, java, home):
    machine(pyspark=True, java=java, home=home)
    assert refusal() == ""


def test_spark_is_refused_without_pyspark_and_says_what_to_install(machine):
    machine(pyspark=False, java=True, home="/opt/java")
    assert refusal() == (
        "tune.backend is 'spark', but PySpark is not installed; install requirements-spark.txt "
        "in place of requirements.txt, or set tune.backend to local"
    )


@pytest.mark.parametrize("home", [None, ""])
def test_spark_is_refused_without_java_and_says_what_to_install(machine, home):
    machine(pyspark=True, java=False, home=home)
    assert refusal() == (
        "tune.backend is 'spark', but there is no java on the PATH and no JAVA_HOME; install "
        "Java 17 or later, or set tune.backend to local"
    )
