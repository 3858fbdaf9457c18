"""The production door lets nobody in: keys, hosts, exposure, TLS and client certificates."""

import hashlib
import os
import re
import signal
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.certificates import Certificates
from tests.support.doors import PATIENT, Door, end_of_door, eventually, free_port, open_door

KEYS = {"alice": "a" * 40, "bob": "b" * 40}


def written(name: str) -> str:
    return f"{name}:{hashlib.sha256(KEYS[name].encode()).hexdigest()}"


@pytest.fixture(scope="module")
def locked(main_job: object, project: Path) -> Iterator[Door]:
    """Open to other machines: Alice's key in a file, Bob's in the environment."""
    (project / "keys.txt").write_text(f"# who may ask\n{written('alice')}\n")
    options = ("--serve.keys=keys.txt", "--serve.host=0.0.0.0", "--serve.docs=false")
    options += ("--serve.allowed_hosts=[127.0.0.1, api.example]",)
    with open_door(project, *options, PIPELINE_API_KEYS=written("bob")) as door:
        yield door


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": f"Basic {KEYS['alice']}"},
        {"Authorization": written("alice").split(":")[1]},
        {"X-API-Key": ""},
        {"X-API-Key": written("alice").split(":")[1]},
    ],
    ids=["none", "wrong", "other scheme", "the hash", "empty", "the hash as a key"],
)
def test_without_a_key_all_but_probes_is_closed(locked: Door, headers: dict[str, str]) -> None:
    for path in ("/model", "/metrics", "/version", "/docs", "/openapi.json", "/nothing"):
        reply = locked.get(path, **headers)
        assert (reply.status, reply.json["error_code"]) == (401, "UNAUTHENTICATED")
    assert locked.post({"inputs": [PATIENT]}, **headers).status == 401
    for path in ("/ping", "/health"):
        assert locked.get(path, **headers).status == 200


def test_each_key_opens_and_is_logged_by_its_name_only(locked: Door) -> None:
    for name, headers in (
        ("alice", {"Authorization": f"Bearer {KEYS['alice']}"}),
        ("bob", {"X-API-Key": KEYS["bob"]}),
    ):
        reply = locked.post({"inputs": [PATIENT]}, **headers)
        assert reply.status == 200
        assert locked.wait_for("request", request_id=reply.headers["x-request-id"])["key"] == name
        assert KEYS[name] not in locked.log.read_text()


def test_allowed_hosts_are_those_of_the_config_and_docs_can_be_turned_off(locked: Door) -> None:
    alice = {"X-API-Key": KEYS["alice"]}
    assert locked.get("/model", Host="api.example:443", **alice).status == 200
    assert locked.get("/model", Host="localhost", **alice).status == 421
    for path in ("/docs", "/openapi.json"):
        assert locked.get(path, **alice).status == 404


def test_keys_are_read_again_when_they_change_and_sighup_ends_nothing(
    main_job: object, project: Path
) -> None:
    path, workers = project / "changing_keys.txt", 2
    path.write_text(f"{written('alice')}\n{written('bob')}\n")
    options = [f"--serve.keys={path.name}", f"--workers={workers}"]
    with open_door(project, *options) as door:

        def opens(name: str) -> bool:
            """Asked of any worker, several times."""
            replies = [door.get("/model", X_API_Key=KEYS[name]) for _ in range(4)]
            return all(reply.status == 200 for reply in replies)

        assert eventually(lambda: len(events(door, "ready")) == workers)
        assert opens("alice")
        assert opens("bob")
        os.kill(door.process.pid, signal.SIGHUP)
        assert eventually(lambda: len(events(door, "keys_read")) == workers)
        path.write_text(f"{written('bob')}\n")
        assert eventually(lambda: len(events(door, "keys_read")) == 2 * workers)
        assert not opens("alice")
        assert opens("bob")
        path.write_text("bob:no hash\n")
        assert eventually(lambda: len(events(door, "keys_refused")) == workers)
        assert opens("bob")
        assert door.get("/model").status == 401
        assert door.process.poll() is None
        assert len(events(door, "ready")) == workers  # nothing was started anew


def events(door: Door, name: str) -> list[dict[str, Any]]:
    return [line for line in door.lines() if line["event"] == name]


def test_server_that_may_not_start_ends_with_one_clear_line(
    main_job: object, project: Path
) -> None:
    variable = {"PIPELINE_API_KEYS": "alice:secret"}
    done = end_of_door(project, free_port(), **variable)
    output = done.stdout + done.stderr
    assert done.returncode == 2
    assert "PIPELINE_API_KEYS" in output
    assert "NAME:SHA256" in output
    assert not re.search("Traceback|secret", output)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates.make(tmp_path_factory.mktemp("certificates"))


def test_mutual_tls_by_uvicorns_own_variables_with_certificates_that_change(
    main_job: object, project: Path, certificates: Certificates
) -> None:
    server, client = certificates.issue("server"), certificates.issue("client")
    authority = str(certificates.folder / "authority.crt")
    context = ssl.create_default_context(cafile=authority)
    context.load_cert_chain(*client)
    variables = {
        "UVICORN_SSL_CERTFILE": server[0],
        "UVICORN_SSL_KEYFILE": server[1],
        "UVICORN_SSL_CA_CERTS": authority,
        "UVICORN_SSL_CERT_REQS": "2",
    }
    # With client certificates asked for, other machines may come in.
    with open_door(project, "--serve.host=0.0.0.0", tls=context, **variables) as door:
        assert door.predict()["label"] == 1
        with door.connect() as connection:
            connection.connect()
            before = serial(connection.sock)
            certificates.issue("server")  # in the same files
            door.wait_for("certificates_read")
            connection.request("GET", "/ping")  # the open connection stays
            assert connection.getresponse().status == 200
        with door.connect() as connection:
            connection.connect()
            assert serial(connection.sock) != before
        door.tls = ssl.create_default_context(cafile=authority)  # shows no certificate
        with pytest.raises((ssl.SSLError, ConnectionError)):
            door.get("/ping")


def serial(connection: Any) -> str:
    """The serial number of the server's certificate."""
    return str(connection.getpeercert()["serialNumber"])
