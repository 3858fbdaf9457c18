"""What is refused before seconds go into loading a model."""

import errno
import logging
import socket

import pytest

from pipeline.config.load import load
from pipeline.config.sections import Serve
from pipeline.errors import ConfigError
from pipeline.server import api_keys
from pipeline.server import serve as server
from pipeline.server.tls import FILES, Certificates, TLSTimeoutLoop

EXPOSED = "which other machines can reach, and anyone could ask; set serve.keys, or ask for client"
HASH = "0" * 64


class Reached(Exception):
    """All that comes before the model was in order."""


@pytest.fixture(autouse=True)
def _nothing_is_served(monkeypatch):
    def reached(*_):
        raise Reached

    monkeypatch.setattr(server, "_run", reached)
    monkeypatch.setattr(server.signal, "signal", lambda *_: None)
    monkeypatch.setattr(logging.root, "handlers", logging.root.handlers)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.delenv(api_keys.VARIABLE, raising=False)


@pytest.fixture
def port():
    """A port that is free."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def serve(port):
    config = load("configs/pima.yaml", {})

    def serve(**settings):
        server.serve(config.model_copy(update={"serve": Serve(**{"port": port, **settings})}))

    return serve


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
@pytest.mark.parametrize("workers", [1, 2])
def test_on_loopback_anyone_may_ask(serve, host, workers):
    with pytest.raises(Reached):
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
def test_a_certificate_that_clients_need_not_have_is_not_enough(serve, monkeypatch, variables):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    with pytest.raises(ConfigError, match=EXPOSED):
        serve(host="0.0.0.0")


@pytest.mark.parametrize(
    "way", ["keys in a file", "keys in a variable", "certificates", "insecure"]
)
def test_beyond_loopback_it_takes_one_of_these(serve, monkeypatch, tmp_path, way):
    settings = {}
    if way == "keys in a file":
        (tmp_path / "keys").write_text(f"ann:{HASH}")
        settings["keys"] = str(tmp_path / "keys")
    elif way == "keys in a variable":
        monkeypatch.setenv(api_keys.VARIABLE, f"ann:{HASH}")
    elif way == "certificates":
        monkeypatch.setenv("UVICORN_SSL_CERTFILE", "c.pem")
        monkeypatch.setenv("UVICORN_SSL_CERT_REQS", "2")
    else:
        settings["insecure"] = True

    with pytest.raises(Reached):
        serve(host="0.0.0.0", **settings)


def test_port_that_is_taken_is_told_with_the_remedy(serve):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]

        told = f"serve.port {taken} cannot be listened on: Address already in use; choose another"
        with pytest.raises(ConfigError, match=told):
            serve(port=taken)


@pytest.mark.parametrize("host", ["no.such.host.invalid", "999.1.1.1", "fe80::zz"])
def test_host_that_is_none_is_told(serve, host):
    with pytest.raises(ConfigError, match=f"serve.host '{host}' and serve.port .* cannot be"):
        serve(host=host, insecure=True)


def test_wrong_variable_of_uvicorn_is_told(serve, monkeypatch):
    monkeypatch.setenv("UVICORN_BACKLOG", "lots")

    with pytest.raises(ConfigError, match=r"a variable UVICORN_\.\.\. is wrong: .*lots"):
        serve()


def test_keys_that_cannot_be_read_are_told(serve):
    with pytest.raises(ConfigError, match=r"serve\.keys 'none' cannot be read"):
        serve(keys="none")


def test_tls_may_take_no_longer_than_a_request_to_arrive():
    serve = Serve(limits={"receive_seconds": 7.0})

    loop = server._uvicorn_config(
        "a:b", serve, Certificates(dict.fromkeys(FILES)), {}
    ).get_loop_factory()()

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
def test_root_path_that_is_none_is_told(serve, monkeypatch, path):
    monkeypatch.setenv("UVICORN_ROOT_PATH", path)

    with pytest.raises(ConfigError, match=r"UVICORN_ROOT_PATH is .* a path such as /models"):
        serve()


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device"),
            "is full: No space left on device; make",
        ),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "is full: Disk quota exceeded; make room"),
        (
            FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']"),
            r"there is no folder for temporary files: .*'/tmp'\]; .* TMPDIR",
        ),
    ],
)
@pytest.mark.parametrize("workers", [1, 2])
def test_folder_for_temporary_files_that_takes_none_is_told(
    serve, monkeypatch, fault, words, workers
):
    def fails(*_):
        raise fault

    monkeypatch.setattr(server, "_run", fails)

    with pytest.raises(ConfigError, match=words):
        serve(workers=workers)


def test_other_faults_of_the_system_keep_their_traceback(serve, monkeypatch):
    def fails(*_):
        raise PermissionError(errno.EACCES, "Permission denied", "x")

    monkeypatch.setattr(server, "_run", fails)

    with pytest.raises(PermissionError):
        serve()
