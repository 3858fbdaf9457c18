"""What is refused before seconds go into loading a model."""

import errno
import logging
import socket

import pytest

from pipeline.config.load import load
from pipeline.config.serve import Serve
from pipeline.errors import ConfigError
from pipeline.server import api_keys
from pipeline.server import serve as server
from pipeline.server.tls import FILES, Certificates, TLSTimeoutLoop

EXPOSED = "which other machines can reach, and anyone could ask; set serve.keys, or ask for client"
HASH = "0" * 64


class ReachedError(Exception):
    """All that comes before the model was in order."""


def raises(error):
    def fails(*_):
        raise error

    return fails


@pytest.fixture(autouse=True)
def _nothing_is_served(monkeypatch):
    monkeypatch.setattr(server, "_run", raises(ReachedError()))
    monkeypatch.setattr(server.signal, "signal", lambda *_: None)
    monkeypatch.setattr(logging.root, "handlers", logging.root.handlers)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.delenv(api_keys.VARIABLE, raising=False)


@pytest.fixture
def serve():
    """Serves on any port that is free, if none is named."""
    config = load("configs/pima.yaml", {})

    def serve(port=0, **settings):
        section = Serve(**settings).model_copy(update={"port": port})
        server.serve(config.model_copy(update={"serve": section}))

    return serve


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
@pytest.mark.parametrize("workers", [1, 2])
def test_on_loopback_anyone_may_ask(serve, host, workers):
    with pytest.raises(ReachedError):
        serve(host=host, workers=workers)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "api.example.org"])
def test_beyond_loopback_not_anyone_may_ask(serve, host):
    with pytest.raises(ConfigError, match=f"^serve.host is '{host}', {EXPOSED}"):
        serve(host=host)


@pytest.mark.parametrize(
    "variables",
    [
        {"UVICORN_SSL_CERTFILE": "c.pem"},
        {"UVICORN_SSL_CERT_REQS": "2"},
        {"UVICORN_SSL_CERTFILE": "c.pem", "UVICORN_SSL_CERT_REQS": "1"},
    ],
)
def test_certificate_that_clients_need_not_have_is_not_enough(serve, monkeypatch, variables):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=EXPOSED):
        serve(host="0.0.0.0")


@pytest.mark.parametrize(
    ("settings", "variables"),
    [
        ({"keys": "keys"}, {}),
        ({}, {api_keys.VARIABLE: f"ann:{HASH}"}),
        ({}, {"UVICORN_SSL_CERTFILE": "c.pem", "UVICORN_SSL_CERT_REQS": "2"}),
        ({"insecure": True}, {}),
    ],
    ids=["keys in a file", "keys in a variable", "certificates", "insecure"],
)
def test_beyond_loopback_it_takes_one_of_these(serve, monkeypatch, tmp_path, settings, variables):
    (tmp_path / "keys").write_text(f"ann:{HASH}")
    if "keys" in settings:
        settings = {"keys": str(tmp_path / "keys")}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ReachedError):
        serve(host="0.0.0.0", **settings)


def test_port_that_is_taken_is_refused_with_the_remedy(serve):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        message = f"serve.port {taken} cannot be listened on: Address already in use; choose"
        with pytest.raises(ConfigError, match=message):
            serve(port=taken)


@pytest.mark.parametrize("host", ["no.such.host.invalid", "999.1.1.1", "fe80::zz"])
def test_host_that_is_none_is_refused(serve, host):
    with pytest.raises(ConfigError, match=f"serve.host '{host}' and serve.port .* cannot be"):
        serve(host=host, insecure=True)


def test_wrong_variable_of_uvicorn_is_refused(serve, monkeypatch):
    monkeypatch.setenv("UVICORN_BACKLOG", "lots")
    with pytest.raises(ConfigError, match=r"a variable UVICORN_\.\.\. is wrong: .*lots"):
        serve()


def test_keys_that_cannot_be_read_are_refused(serve):
    with pytest.raises(ConfigError, match=r"serve\.keys 'none' cannot be read"):
        serve(keys="none")


def test_tls_may_take_no_longer_than_a_request_to_arrive():
    serve = Serve(limits={"receive_seconds": 7.0})
    certificates = Certificates(dict.fromkeys(FILES))
    loop = server._uvicorn_config("a:b", serve, certificates, {}).get_loop_factory()()
    loop.close()
    assert isinstance(loop, TLSTimeoutLoop)
    assert loop._seconds == 7.0


@pytest.mark.parametrize(
    ("path", "root"), [("", ""), ("/", ""), ("/x", "/x"), ("/x/", "/x"), ("/a/b-1.2", "/a/b-1.2")]
)
def test_root_path_is_taken_from_uvicorns_variable(monkeypatch, path, root):
    monkeypatch.setenv("UVICORN_ROOT_PATH", path)
    assert server._uvicorn_options()["root_path"] == root


@pytest.mark.parametrize("path", ["x", "x/", "//", "/x//y", "/x y", "/é", "http://x/", "/x?y"])
def test_root_path_that_is_none_is_refused(serve, monkeypatch, path):
    monkeypatch.setenv("UVICORN_ROOT_PATH", path)
    with pytest.raises(ConfigError, match=r"UVICORN_ROOT_PATH is .* a path such as /models"):
        serve()


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(errno.ENOSPC, "No space left"), "is full: No space left; make room"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "is full: Disk quota exceeded; make room"),
        (
            FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']"),
            r"there is no folder for temporary files: .*'/tmp'\]; .* TMPDIR",
        ),
    ],
)
def test_folder_for_temporary_files_that_takes_none_is_named(serve, monkeypatch, error, message):
    monkeypatch.setattr(server, "_run", raises(error))
    with pytest.raises(ConfigError, match=message):
        serve()


def test_other_faults_of_the_system_keep_their_traceback(serve, monkeypatch):
    monkeypatch.setattr(server, "_run", raises(PermissionError(errno.EACCES, "Denied", "x")))
    with pytest.raises(PermissionError):
        serve()
