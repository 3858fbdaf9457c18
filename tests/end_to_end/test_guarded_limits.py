"""The production door is bounded: sizes, times, numbers of requests."""

import json
import socket
import statistics
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.doors import JSON, PATIENT, Door, open_door, read_all, read_one

HEAD = "POST /invocations HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
SMALL = {"body_bytes": 100_000, "rows": 50, "receive_seconds": 1, "answer_seconds": 20}


@pytest.fixture(scope="module")
def narrow(main_job: object, project: Path) -> Iterator[Door]:
    """A door with small limits, some from the command line and some from the environment."""
    options = [f"--serve.limits.{name}={SMALL[name]}" for name in ("body_bytes", "receive_seconds")]
    variables = {
        "PIPELINE_SERVE_LIMITS_ROWS": "50",
        "PIPELINE_SERVE_LIMITS_CONCURRENCY": "3",
        "PIPELINE_SERVE_LIMITS_HEADER_BYTES": "2000",
    }
    with open_door(project, *options, **variables) as door:
        yield door


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def test_body_beyond_the_limit_is_refused_before_it_is_sent(narrow: Door) -> None:
    head = f"{HEAD}Content-Length: 10000000000\r\n\r\n".encode()
    start = time.perf_counter()
    with socket.create_connection(("127.0.0.1", narrow.port), timeout=10) as client:
        client.sendall(head)
        answer = read_one(client)
    assert status_of(answer) == 413
    assert b"larger than 100000 bytes" in answer
    assert time.perf_counter() - start < SMALL["receive_seconds"]


def test_rows_beyond_the_limit_are_refused(narrow: Door) -> None:
    assert narrow.post({"inputs": [PATIENT] * 50}).status == 200
    reply = narrow.post({"inputs": [PATIENT] * 51})
    assert (reply.status, reply.json["message"]) == (
        413,
        "the request has 51 rows; at most 50 are allowed",
    )


@pytest.mark.parametrize("end", [b"\r\n\r\n", b""], ids=["whole", "endless"])
def test_headers_beyond_the_limit_are_refused(narrow: Door, end: bytes) -> None:
    answer = narrow.raw(b"GET /ping HTTP/1.1\r\nX-Long: " + b"a" * 5000 + end)
    assert status_of(answer) == 431
    assert json.loads(answer.split(b"\r\n\r\n")[1])["error_code"] == "REQUEST_LIMIT_EXCEEDED"


@pytest.mark.parametrize(
    "begun",
    [
        b"",
        b"GET /pi",
        b"GET /ping HTTP/1.1\r\nHost: loc",
        f"{HEAD}Content-Length: 9\r\n\r\n[".encode(),
    ],
    ids=["nothing", "a line", "headers", "body"],
)
def test_slow_client_is_cut(narrow: Door, begun: bytes) -> None:
    start = time.perf_counter()
    answer = narrow.raw(begun)
    assert status_of(answer) == 408
    assert time.perf_counter() - start < SMALL["receive_seconds"] + 2


def test_client_that_trickles_is_cut(narrow: Door) -> None:
    with socket.create_connection(("127.0.0.1", narrow.port), timeout=10) as client:
        client.sendall(f"{HEAD}Content-Length: 1000\r\n\r\n".encode())
        for _ in range(100):
            try:
                client.sendall(b" ")
            except (BrokenPipeError, ConnectionResetError):
                break
            time.sleep(0.05)
        else:
            pytest.fail("a byte every 50 ms went on for 5 seconds")
        assert status_of(read_one(client)) == 408


def test_answer_that_takes_too_long_is_ended_and_the_next_is_given(
    main_job: object, project: Path
) -> None:
    limits = ["--serve.limits.answer_seconds=0.5", "--serve.limits.rows=1000000"]
    limits += ["--serve.limits.body_bytes=500000000"]
    many = {"inputs": {name: [value] * 300_000 for name, value in PATIENT.items()}}
    with open_door(project, *limits) as door:
        start = time.perf_counter()
        reply = door.post(many)
        assert reply.status == 504
        assert reply.json["error_code"] == "DEADLINE_EXCEEDED"
        assert time.perf_counter() - start < 15
        assert door.predict()["label"] == 1


def test_ping_stays_quick_while_many_rows_are_refused_and_served(
    main_job: object, project: Path
) -> None:
    """JSON, which holds a parser's process from start to end; the limits are raised for it."""
    options = ["--serve.limits.rows=300000", "--serve.limits.body_bytes=500000000"]
    options += ["--serve.limits.answer_seconds=120", "--serve.limits.receive_seconds=60"]
    body = json.dumps({"inputs": {n: [v] * 300_000 for n, v in PATIENT.items()}}).encode()
    with open_door(project, *options) as door:
        replies: list[int] = []
        refused = body.replace(b"]", b", -1]")

        def send() -> None:
            for content in (refused, body):
                with door.connect(timeout=200) as connection:
                    connection.request("POST", "/invocations", content, {"Content-Type": JSON})
                    response = connection.getresponse()
                    while response.read(2**20):
                        pass
                    replies.append(response.status)

        sender = threading.Thread(target=send)
        sender.start()
        took = []
        with door.connect() as pinger:
            while sender.is_alive():
                start = time.perf_counter()
                pinger.request("GET", "/ping")
                assert pinger.getresponse().read() == b"\n"
                took.append(time.perf_counter() - start)
                time.sleep(0.01)
        sender.join()
    assert replies == [413, 200]
    assert len(took) > 100
    assert statistics.quantiles(took, n=100)[98] < 0.1


def test_client_that_does_not_read_is_cut(main_job: object, project: Path) -> None:
    body = json.dumps({"inputs": {n: [v] * 100_000 for n, v in PATIENT.items()}}).encode()
    with (
        open_door(project, "--serve.limits.receive_seconds=2") as door,
        socket.socket() as client,
    ):
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", door.port))
        client.settimeout(30)
        client.sendall(f"{HEAD}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        door.wait_for("request", rows=100_000, seconds=30)
        assert b'serve_refusals_total{rule="slow_reader"} 1.0' in door.get("/metrics").content
        assert len(read_all(client)) < 4_000_000
