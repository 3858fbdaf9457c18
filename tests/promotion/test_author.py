import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import mlflow
import pytest

from pipeline.promotion import author

LOGINS = ("LOGNAME", "USER", "LNAME", "USERNAME")


@pytest.fixture(autouse=True)
def git_config(tmp_path: Path, monkeypatch) -> Path:
    """The user's settings of git, which say nothing; outside of any repository."""
    config = tmp_path / "gitconfig"
    config.write_text("")
    for name in (author.VARIABLE, *LOGINS, "GIT_DIR", "GIT_CONFIG_PARAMETERS", "GIT_CONFIG_COUNT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    monkeypatch.setenv("LOGNAME", "login")
    monkeypatch.chdir(tmp_path)
    return config


def named(config: Path, name: str, encoding: str = "utf-8") -> None:
    config.write_text(f'[user]\n\tname = "{name}"\n', encoding=encoding)


@pytest.mark.parametrize("message", ["Ann Dee", "  Ann Dee \n", "ann@example.org", "Jörg 李"])
def test_author_is_who_the_variable_says(git_config, monkeypatch, message):
    named(git_config, "of git")
    monkeypatch.setenv(author.VARIABLE, message)
    assert author.author() == message.strip()


@pytest.mark.parametrize("message", [None, "", "   "])
@pytest.mark.parametrize("name", ["Ann Dee", "Jörg 李"])
def test_author_is_who_git_knows_where_the_variable_says_nothing(
    git_config, monkeypatch, message, name
):
    named(git_config, name)
    if message is not None:
        monkeypatch.setenv(author.VARIABLE, message)
    assert author.author() == name


def test_author_of_a_repository_comes_before_that_of_the_user(git_config, tmp_path):
    named(git_config, "at home")
    for command in (["init", "-q"], ["config", "user.name", "at work"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    assert author.author() == "at work"


@pytest.mark.parametrize("name", [None, "", "  "])
def test_author_is_the_login_where_git_knows_nobody(git_config, name):
    if name is not None:
        named(git_config, name)
    assert author.author() == "login"


def test_author_is_the_login_where_the_settings_of_git_are_broken(git_config):
    git_config.write_text("[user\n")
    assert author.author() == "login"


def test_author_is_the_login_where_there_is_no_git(git_config, monkeypatch, tmp_path):
    named(git_config, "of git")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert author.author() == "login"


def test_name_in_an_old_encoding_stops_nothing(git_config):
    named(git_config, "Jörg", "latin-1")
    assert author.author()


@pytest.mark.parametrize("error", [KeyError("uid not found"), OSError("no username set")])
def test_author_without_a_login_is_the_number_of_the_user(monkeypatch, error):
    def fail() -> str:
        raise error

    monkeypatch.setattr(author.getpass, "getuser", fail)
    assert author.author() == f"uid {os.getuid()}"


@contextmanager
def served(status: int, body: str) -> Iterator[list[str]]:
    """A tracking server that answers every request so; the paths that it was asked for."""
    asked: list[str] = []

    class Server(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            pass

    before = mlflow.get_tracking_uri()
    with HTTPServer(("127.0.0.1", 0), Server) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        mlflow.set_tracking_uri(f"http://127.0.0.1:{server.server_port}")
        yield asked
        mlflow.set_tracking_uri(before)
        server.shutdown()
        thread.join()


ANN = '{"is_basic_auth": true, "user": {"id": 1, "is_admin": false, "username": "ann"}}'


@pytest.mark.parametrize(
    ("variable", "author_of_the_decision"),
    [(None, "ann"), ("ann", "ann"), ("Bob", "Bob (account ann)")],
)
def test_author_on_a_server_with_accounts_is_the_account(
    git_config, monkeypatch, variable, author_of_the_decision
):
    named(git_config, "of git")
    if variable is not None:
        monkeypatch.setenv(author.VARIABLE, variable)
    with served(200, ANN) as asked:
        assert author.author() == author_of_the_decision
    assert asked == [author.CURRENT_USER]


@pytest.mark.parametrize(
    ("status", "body"),
    [(404, "no such page"), (200, "<html>"), (200, "[]"), (200, '{"user": null}'), (401, "")],
)
def test_author_on_a_server_without_accounts_is_of_git(git_config, status, body):
    named(git_config, "of git")
    with served(status, body) as asked:
        assert author.author() == "of git"
    assert asked == [author.CURRENT_USER]
