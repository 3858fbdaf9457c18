"""Certificates that change under a running server, and handshakes that stall."""

import asyncio
import os
import pickle
import shutil
import socket
import ssl
from pathlib import Path

import pytest

from pipeline.errors import ConfigError
from pipeline.server.tls import Certificates, TLSTimeoutLoop
from tests.support import certificates as made


def make(folder):
    folder.mkdir()
    return made.Certificates.make(folder)


def path_of(authority):
    return authority.folder / "authority.crt"


@pytest.fixture
def authority(tmp_path):
    return make(tmp_path / "first")


@pytest.fixture
def paths(tmp_path, authority):
    """The files that the options name."""
    files = (*authority.issue("server"), path_of(authority))
    names = ("ssl_certfile", "ssl_keyfile", "ssl_ca_certs")
    return {
        name: Path(shutil.copy(file, tmp_path / name))
        for name, file in zip(names, files, strict=True)
    }


@pytest.fixture
def options(paths):
    return {
        **{name: str(path) for name, path in paths.items()},
        "ssl_keyfile_password": None,
        "ssl_version": ssl.PROTOCOL_TLS_SERVER,
        "ssl_cert_reqs": ssl.CERT_REQUIRED,
        "ssl_ciphers": None,
    }


def handshake(server, trusted, client=None):
    """Name of the server's certificate. Raises ssl.SSLError if one does not trust the other."""
    context = ssl.create_default_context(cafile=str(path_of(trusted)))
    if client is not None:
        context.load_cert_chain(*client)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [
        context.wrap_bio(to_client, to_server, server_hostname="127.0.0.1"),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    for _ in range(5):
        for side in sides:
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    (((_, name),),) = sides[0].getpeercert()["subject"]
    return name


def replace(paths, authority, name):
    """As an issuer of certificates does: one file after the other."""
    for option, new in zip(("ssl_certfile", "ssl_keyfile"), authority.issue(name), strict=True):
        os.replace(new, paths[option])


def test_new_connections_get_the_new_certificate(options, paths, authority):
    certificates = Certificates(options)
    context = certificates.context()
    client = authority.issue("client")

    assert handshake(context, authority, client) == "server"
    certificates.refresh()
    assert handshake(context, authority, client) == "server"
    replace(paths, authority, "renewed")
    certificates.refresh()
    assert handshake(context, authority, client) == "renewed"


def test_authority_that_is_taken_out_lets_nobody_in_any_more(options, paths, authority, tmp_path):
    certificates = Certificates(options)
    context = certificates.context()
    other = make(tmp_path / "second")
    old, new = authority.issue("client"), other.issue("client")

    assert handshake(context, authority, old) == "server"
    paths["ssl_ca_certs"].write_bytes(path_of(other).read_bytes())
    certificates.refresh()

    with pytest.raises(ssl.SSLError):
        handshake(context, authority, old)
    assert handshake(context, authority, new) == "server"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda paths, _: paths["ssl_certfile"].write_bytes(b""),
        lambda paths, _: paths["ssl_keyfile"].unlink(),
        lambda paths, _: paths["ssl_ca_certs"].write_bytes(b"none"),
        lambda paths, key: paths["ssl_keyfile"].write_bytes(key.read_bytes()),
    ],
    ids=["empty", "deleted", "no authority", "another's key"],
)
def test_files_that_are_not_right_change_nothing(options, paths, authority, events, spoil):
    certificates = Certificates(options)
    context = certificates.context()
    spoil(paths, Path(authority.issue("other")[1]))

    for _ in range(3):
        certificates.refresh()

    assert handshake(context, authority, authority.issue("client")) == "server"
    with pytest.raises(ConfigError, match=r"UVICORN_SSL_CERTFILE=.* cannot be used"):
        certificates.check()
    assert events() == ["certificates_refused"]


def test_context_of_a_worker_is_made_there(options, authority):
    certificates = pickle.loads(pickle.dumps(Certificates(options)))
    context = certificates.context()
    assert handshake(context, authority, authority.issue("client")) == "server"


def test_server_without_a_certificate_has_none(options):
    certificates = Certificates(dict.fromkeys(options))
    certificates.check()
    certificates.refresh(is_forced=True)
    assert not certificates


# uvloop's own server of TLS warns when its loop is closed, and hangs if that is an error.
@pytest.mark.filterwarnings("ignore:unclosed resource:ResourceWarning")
@pytest.mark.parametrize("begun", [b"", b"\x16\x03\x01\x02\x00"], ids=["nothing", "a part"])
def test_handshake_that_stalls_is_cut_in_the_time_of_a_request(options, begun):
    """uvloop would wait for a minute."""
    context = Certificates(options).context()

    async def run():
        loop = asyncio.get_running_loop()
        server = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0, ssl=context)
        with socket.create_connection(server.sockets[0].getsockname()) as client:
            client.sendall(begun)
            client.setblocking(False)
            async with asyncio.timeout(20):
                return await loop.sock_recv(client, 100)

    with asyncio.Runner(loop_factory=lambda: TLSTimeoutLoop(0.1)) as runner:
        assert runner.run(run()) == b""


def test_server_without_tls_takes_no_times_of_tls():
    async def run():
        loop = asyncio.get_running_loop()
        async with await loop.create_server(asyncio.Protocol, "127.0.0.1", 0) as server:
            return server.is_serving()

    with asyncio.Runner(loop_factory=lambda: TLSTimeoutLoop(0.5)) as runner:
        assert runner.run(run())
