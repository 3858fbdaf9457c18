"""Nothing is written into a home, and nothing needs one."""

import getpass
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline import library_environment
from pipeline.config.paths import PROJECT
from pipeline.library_environment import prepare

SET = ("MPLCONFIGDIR", "SKB_DATA_DIRECTORY", "XDG_CACHE_HOME", "MLFLOW_DISABLE_TELEMETRY")


@pytest.fixture
def home(monkeypatch, tmp_path):
    path = tmp_path / "home"
    path.mkdir()
    monkeypatch.setenv("HOME", str(path))
    return path


@pytest.fixture
def project(monkeypatch, tmp_path):
    path = tmp_path / "project"
    path.mkdir()
    monkeypatch.setattr(library_environment, "PROJECT", path)
    return path


@pytest.fixture
def prepared(tmp_path, project):
    """The environment that becomes of another."""

    def prepared(**environment: str) -> dict[str, str]:
        prepare(environment, tmp_path / "temporary")
        return environment

    return prepared


def test_libraries_write_into_the_project_and_the_folder_for_temporary_files(
    prepared, home, project, tmp_path
):
    environment = prepared()
    assert environment["MPLCONFIGDIR"] == str(project / ".cache" / "matplotlib")
    assert environment["SKB_DATA_DIRECTORY"] == str(tmp_path / "temporary" / "skrub")
    assert environment["MLFLOW_DISABLE_TELEMETRY"] == "true"


def test_what_the_user_has_set_stays(prepared, home):
    given = dict.fromkeys(SET, "mine")
    assert prepared(**given) == given


def test_project_that_cannot_be_written_is_left_alone(prepared, home, monkeypatch, tmp_path):
    monkeypatch.setattr(library_environment, "PROJECT", Path("/proc/nonexistent"))
    assert prepared()["MPLCONFIGDIR"] == str(tmp_path / "temporary" / "matplotlib")


def test_without_a_folder_for_temporary_files_nothing_points_there(home):
    environment = {"PROMETHEUS_MULTIPROC_DIR": "/srv/metrics"}
    prepare(environment, None)
    assert set(environment) <= {"MLFLOW_DISABLE_TELEMETRY", "LOGNAME"}


def test_caches_stay_in_a_home_that_takes_them(prepared, home):
    """What a user's own estimators have loaded once is there."""
    assert "XDG_CACHE_HOME" not in prepared()


@pytest.mark.parametrize("place", ["/dev/null", "/proc/nonexistent"])
def test_caches_go_elsewhere_from_a_home_that_takes_none(prepared, monkeypatch, tmp_path, place):
    monkeypatch.setenv("HOME", place)
    environment = prepared()
    assert environment["XDG_CACHE_HOME"] == str(tmp_path / "temporary" / "cache")
    assert "HOME" not in environment  # credentials in it may be read


def test_user_without_a_home_gets_one(prepared, monkeypatch, tmp_path):
    monkeypatch.setattr("os.path.expanduser", lambda path: path)
    assert prepared()["HOME"] == str(tmp_path / "temporary")


def test_user_without_a_name_goes_by_the_number(prepared, home, monkeypatch):
    monkeypatch.setattr(getpass, "getuser", lambda: "ann")
    assert "LOGNAME" not in prepared()

    def unknown():
        raise KeyError("getpwuid(): uid not found: 12345")

    monkeypatch.setattr(getpass, "getuser", unknown)
    assert prepared()["LOGNAME"] == f"uid {os.geteuid()}"


def test_folder_of_another_servers_counts_is_left_alone(prepared, home):
    given = dict.fromkeys(library_environment.PROMETHEUS, "/srv/metrics")
    assert not given.keys() & prepared(**given).keys()


@pytest.mark.parametrize("place", ["home", "/dev/null"])
def test_what_writes_when_imported_needs_no_home(tmp_path, home, place):
    """Not even an empty one; in the other nobody can make anything, the superuser included."""
    program = (
        "import os; from pathlib import Path; from pipeline import library_environment as library;"
        f"library.PROJECT = Path({str(tmp_path)!r});"
        f"library.prepare(os.environ, Path({str(tmp_path / 'temporary')!r}));"
        "import matplotlib.font_manager, mlflow, skrub, pipeline.inference.runtimes;"
        "print('imported')"
    )
    inherited = {
        name: os.environ[name] for name in ("PATH", "PYTHONPYCACHEPREFIX") if name in os.environ
    }

    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        cwd=PROJECT,
        env={**inherited, "HOME": str(home) if place == "home" else place},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "imported\n", "")
    assert list(home.iterdir()) == []
