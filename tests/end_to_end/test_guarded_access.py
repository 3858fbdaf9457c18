"""The production door lets nobody in: keys, hosts, exposure, TLS and client certificates."""

import datetime
import hashlib
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from .doors import PATIENT, Door, end_of_door, free_port, open_door

KEYS = {"alice": "a" * 40, "bob": "b" * 40}


def written(name: str) -> str:
    return f"{name}:{hashlib.sha256(KEYS[name].encode()).hexdigest()}"


@pytest.fixture(scope="module")
def locked(main_job: object, project: Path) -> Iterator[Door]:
    """Alice's key in a file, Bob's in the environment."""
    (project / "keys.txt").write_text(f"# who may ask\n{written('alice')}\n")
    with open_door(project, "--serve.keys=keys.txt", PIPELINE_API_KEYS=written("bob")) as door:
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
def test_without_a_key_all_but_ping_is_closed(locked: Door, headers: dict[str, str]) -> None:
    for path in ("/model", "/metrics", "/health", "/version", "/docs", "/openapi.json", "/nothing"):
        reply = locked.get(path, **headers)
        assert (reply.status, reply.json["error_code"]) == (401, "UNAUTHENTICATED")
    assert locked.post({"inputs": [PATIENT]}, **headers).status == 401
    assert locked.get("/ping", **headers).status == 200


def test_each_key_opens_and_is_logged_by_its_name_only(locked: Door) -> None:
    for name, headers in (
        ("alice", {"Authorization": f"Bearer {KEYS['alice']}"}),
        ("bob", {"X-API-Key": KEYS["bob"]}),
    ):
        reply = locked.post({"inputs": [PATIENT]}, **headers)
        assert reply.status == 200
        assert locked.wait_for("request", request_id=reply.headers["x-request-id"])["key"] == name
        assert KEYS[name] not in locked.log.read_text()


def test_foreign_host_is_refused_on_loopback(door: Door) -> None:
    for name in ("localhost", "127.0.0.1", f"localhost:{door.port}", "[::1]"):
        assert door.get("/model", Host=name).status == 200
    reply = door.get("/model", Host="rebound.example")
    assert reply.status == 421
    assert "rebound" not in reply.content.decode()


def test_allowed_hosts_are_those_of_the_config(main_job: object, project: Path) -> None:
    with open_door(project, "--serve.allowed_hosts=[api.example]", "--serve.docs=false") as door:
        assert door.get("/model", Host="api.example:443").status == 200
        assert door.get("/model", Host="localhost").status == 421
        # And docs can be turned off.
        assert door.get("/docs", Host="api.example").status == 404
        assert door.get("/openapi.json", Host="api.example").status == 404


@pytest.mark.parametrize(
    ("options", "variables", "words"),
    [
        (["--serve.host=0.0.0.0"], {}, ["serve.host is '0.0.0.0'", "serve.keys", "--insecure"]),
        (["--serve.keys=nothing.txt"], {}, ["serve.keys 'nothing.txt' cannot be read"]),
        ([], {"PIPELINE_API_KEYS": "alice:secret"}, ["PIPELINE_API_KEYS", "NAME:SHA256"]),
        ([], {"PIPELINE_SERVE_WORKERS": "lots"}, ["serve.workers is 'lots'"]),
        (["--serve.limits.rate=fast"], {}, ["serve.limits.rate", "100/second"]),
        ([], {"UVICORN_SSL_CERT_REQS": "x"}, ["UVICORN_"]),
        (["--registry.model=nobody"], {}, ["'nobody'", "promote one first"]),
    ],
)
def test_server_that_may_not_start_ends_with_one_clear_line(
    main_job: object, project: Path, options: list[str], variables: dict[str, str], words: list[str]
) -> None:
    done = end_of_door(project, free_port(), *options, **variables)
    told = done.stdout + done.stderr
    assert done.returncode == 2
    assert all(word in told for word in words)
    assert "Traceback" not in told
    assert "secret" not in told


def test_port_in_use_is_told_before_the_model_is_loaded(door: Door, project: Path) -> None:
    done = end_of_door(project, door.port)
    assert done.returncode == 2
    assert f"serve.port {door.port} cannot be listened on" in done.stderr


def test_insecure_opens_to_other_machines(main_job: object, project: Path) -> None:
    with open_door(project, "--serve.host=0.0.0.0", "--insecure") as door:
        assert door.get("/model", Host="any.example").status == 200


@dataclass
class Certificates:
    """An authority of the test's own, a server and a client."""

    folder: Path
    authority: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    def issue(self, name: str) -> tuple[str, str]:
        """Paths of a certificate and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _sign(name, key, self.authority.subject, self.key)
        paths = self.folder / f"{name}.crt", self.folder / f"{name}.key"
        paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        paths[1].write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return str(paths[0]), str(paths[1])


def _sign(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Name | None,
    by: ec.EllipticCurvePrivateKey,
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer or subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .sign(by, hashes.SHA256())
    )


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    folder = tmp_path_factory.mktemp("certificates")
    key = ec.generate_private_key(ec.SECP256R1())
    authority = _sign("authority", key, None, key)
    (folder / "authority.crt").write_bytes(authority.public_bytes(serialization.Encoding.PEM))
    return Certificates(folder, authority, key)


def test_mutual_tls_by_uvicorns_own_variables(
    main_job: object, project: Path, certificates: Certificates
) -> None:
    server, client = certificates.issue("server"), certificates.issue("client")
    authority = str(certificates.folder / "authority.crt")
    known = ssl.create_default_context(cafile=authority)
    known.load_cert_chain(*client)
    variables = {
        "UVICORN_SSL_CERTFILE": server[0],
        "UVICORN_SSL_KEYFILE": server[1],
        "UVICORN_SSL_CA_CERTS": authority,
        "UVICORN_SSL_CERT_REQS": "2",
    }
    # With client certificates asked for, other machines may come in.
    with open_door(project, "--serve.host=0.0.0.0", tls=known, **variables) as door:
        assert door.predict()["label"] == 1
        door.tls = ssl.create_default_context(cafile=authority)  # shows no certificate
        with pytest.raises((ssl.SSLError, ConnectionError)):
            door.get("/ping")
