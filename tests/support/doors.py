"""The production door as a process of its own, and ways to talk to it, well or badly."""

import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.end_to_end.conftest import environment

PATIENT = {
    "Pregnancies": 6,
    "Glucose": 148,
    "BloodPressure": 72,
    "SkinThickness": 35,
    "Insulin": 0,
    "BMI": 33.6,
    "DiabetesPedigreeFunction": 0.627,
    "Age": 50,
}
JSON = "application/json"


@dataclass
class Reply:
    """What came back: the body is read as JSON where it is JSON."""

    status: int
    headers: dict[str, str]
    content: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.content)


@dataclass
class Door:
    """A running server."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path
    tls: ssl.SSLContext | None = None
    headers: dict[str, str] = field(default_factory=dict)

    @contextmanager
    def connect(self, timeout: float = 30) -> Iterator[http.client.HTTPConnection]:
        """A connection, closed at the end."""
        where = ("127.0.0.1", self.port)
        if self.tls is None:
            connection = http.client.HTTPConnection(*where, timeout=timeout)
        else:
            connection = http.client.HTTPSConnection(*where, timeout=timeout, context=self.tls)
        with closing(connection):
            yield connection

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Reply:
        """One request on a connection of its own."""
        named = {name.replace("_", "-"): text for name, text in headers.items()}
        with self.connect() as connection:
            connection.request(method, path, body, {**self.headers, **named})
            response = connection.getresponse()
            content = response.read()
        lowered = {name.lower(): value for name, value in response.getheaders()}
        return Reply(response.status, lowered, content)

    def get(self, path: str, **headers: str) -> Reply:
        return self.ask("GET", path, **headers)

    def post(self, body: Any, kind: str = JSON, **headers: str) -> Reply:
        """To /invocations; what is no bytes is sent as JSON."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.ask("POST", "/invocations", content, **{"Content-Type": kind, **headers})

    def predict(self, **changes: Any) -> Any:
        """The answer for a patient."""
        reply = self.post({"dataframe_records": [{**PATIENT, **changes}]})
        assert reply.status == 200, reply.content
        return reply.json["predictions"][0]

    def raw(self, content: bytes, timeout: float = 10) -> bytes:
        """All that comes back for bytes of any kind, until the server ends the connection."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=timeout) as sock:
            sock.sendall(content)
            return read_all(sock)

    def lines(self) -> list[dict[str, Any]]:
        """What it has logged."""
        return [json.loads(line) for line in self.log.read_text().splitlines() if line[:1] == "{"]

    def wait_for(self, event: str, seconds: float = 20, **fields: Any) -> dict[str, Any]:
        """The first line of the log about the event."""
        for _ in range(round(seconds / 0.05)):
            for line in self.lines():
                if line["event"] == event and fields.items() <= line.items():
                    return line
            time.sleep(0.05)
        raise AssertionError(f"no {event} {fields} in:\n{self.log.read_text()[-3000:]}")


def read_all(sock: socket.socket) -> bytes:
    """Until the other side ends the connection."""
    parts = []
    while True:
        try:
            part = sock.recv(2**16)
        except ConnectionResetError:
            break
        if not part:
            break
        parts.append(part)
    return b"".join(parts)


def read_one(sock: socket.socket) -> bytes:
    """One answer, of a connection that stays."""
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += sock.recv(2**16)
    head, _, body = answer.partition(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    while len(body) < length:
        body += sock.recv(2**16)
    return head + b"\r\n\r\n" + body


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def command(port: int, *options: str) -> list[str]:
    return [sys.executable, "-m", "pipeline", "serve", "--serve.port", str(port), *options]


def end_of_door(
    project: Path, port: int, *options: str, **variables: str
) -> subprocess.CompletedProcess[str]:
    """A server that does not start: its status, and what it said."""
    return subprocess.run(
        command(port, *options),
        cwd=project,
        env={**environment(), **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@contextmanager
def open_door(
    project: Path,
    *options: str,
    tls: ssl.SSLContext | None = None,
    headers: dict[str, str] | None = None,
    **variables: str,
) -> Iterator[Door]:
    """A server with these options, ready to answer, and stopped at the end."""
    port = free_port()
    door = started(project, port, *command(port, *options), **variables)
    door.tls, door.headers = tls, headers or {}
    try:
        wait_until_ready(door)
        yield door
    finally:
        stop(door.process)


def wait_until_ready(door: Door) -> None:
    for _ in range(600):
        assert door.process.poll() is None, door.log.read_text()
        try:
            if door.get("/ping").status == 200:
                return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"not ready within a minute:\n{door.log.read_text()}")


def started(project: Path, port: int, *words: str, **variables: str) -> Door:
    """A server that a command of its own process group starts on the port; it may not be ready."""
    log = project / f"door-{port}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            words,
            cwd=project,
            env={**environment(), **variables},
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    return Door(process, port, log)


def stop(process: subprocess.Popen[bytes]) -> None:
    """The process group that the test started, and it alone."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(timeout=30)


def children(pid: int) -> list[int]:
    """Processes that it has started, of Python's own helpers none."""
    result = []
    for thread in Path(f"/proc/{pid}/task").iterdir():
        result += [int(child) for child in (thread / "children").read_text().split()]
    return [child for child in result if b"resource_tracker" not in command_line(child)]


def command_line(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def eventually(condition: Callable[[], object], seconds: float = 30) -> bool:
    """Whether the condition holds within the time."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if condition():
            return True
        time.sleep(0.05)
    return False
