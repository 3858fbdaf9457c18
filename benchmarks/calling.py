"""How fast the production door answers, by the form of the request and the rows in it.

    python benchmarks/calling.py [--seconds 1] [--rounds 3] [--port 8080]

Trains and serves the champion of configs/pima.yaml, or asks the one that a server on the port has,
over one connection, one request after the other. Every form holds the same rows. With gzip both the
request and the answer are packed; Parquet packs its columns itself. Prints rows a second, rows a
second of processor time (the median over the rounds), the milliseconds that half and 99 % of the
requests took at most, and KiB of request and answer (`0.2+0.1`): of the round in which half of the
requests took least, as the others tell what else the machine did.
"""

import argparse
import gzip
import io
import itertools
import json
import socket
import sys
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import NamedTuple

import pandas as pd
import project
import psutil
from measure import measure
from server import HOST, running

COUNTS = (1, 10, 100, 1_000, 10_000)
LEAST = 3  # requests that are measured, however slow they are
TICK = 0.01  # seconds, of which processor time is counted
JSON = "application/json"


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _parquet(table: pd.DataFrame) -> bytes:
    file = io.BytesIO()
    table.to_parquet(file, index=False)
    return file.getvalue()


FORMS: dict[str, tuple[str, Callable[[pd.DataFrame], bytes]]] = {
    "dataframe_records": (JSON, lambda t: _json({"dataframe_records": t.to_dict("records")})),
    "dataframe_split": (
        JSON,
        lambda t: _json({"dataframe_split": {"columns": list(t), "data": t.to_numpy().tolist()}}),
    ),
    "instances, by column": (JSON, lambda t: _json({"instances": t.to_dict("list")})),
    "CSV": ("text/csv", lambda t: t.to_csv(index=False).encode()),
    "Parquet": ("application/vnd.apache.parquet", _parquet),
}


class Row(NamedTuple):
    """Rows a second, and of processor time; milliseconds of a request; KiB of it and the answer."""

    rate: float
    cpu: float
    p50: float
    p99: float
    request: float
    answer: float


class Client:
    """One connection that stays."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection((HOST, port), timeout=120)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.reader = self.socket.makefile("rb", 2**20)

    def close(self) -> None:
        self.reader.close()
        self.socket.close()

    def ask(self, request: bytes) -> int:
        """Sends a request and reads its answer; returns the bytes of its body."""
        self.socket.sendall(request)
        status, length = self.reader.readline(), 0
        while (line := self.reader.readline()) != b"\r\n":
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        body = self.reader.read(length)
        if b" 200 " not in status:
            sys.exit(f"{status.decode()}{body[:2000].decode(errors='replace')}")
        return len(body)


def main() -> None:
    options = _options()
    if options.port is not None:
        _show(options)
        return
    with tempfile.TemporaryDirectory() as temporary, project.copied(Path(temporary)) as copy:
        folder = Path(temporary)
        environment = {**project.environment(copy, folder / "bytecode"), "OMP_NUM_THREADS": "1"}
        verb = (sys.executable, "-m", "pipeline")
        measure((*verb, "run", "configs/pima.yaml"), copy, environment, folder / "log.txt")
        command = (*verb, "serve", "configs/pima.yaml", "--serve.port")
        log = folder / "server.txt"
        with running(lambda port: (*command, str(port)), copy, environment, log) as server:
            options.port = server.port
            _show(options)


def _show(options: argparse.Namespace) -> None:
    """Measures in rounds, each of all cells, and prints the quickest of each."""
    cells = [
        cell
        for cell in itertools.product(COUNTS, FORMS, (False, True))
        if cell[1:] != ("Parquet", True)
    ]
    measured: dict[tuple[int, str, bool], list[Row]] = {cell: [] for cell in cells}
    for _ in range(options.rounds):
        for cell in cells:
            measured[cell].append(_measure(options, *cell))
    one = ("rows/s", "rows/CPU s", "p50 ms", "p99 ms", "KiB")
    titles = ("rows", "form", *one, *(f"{title}, gzip" for title in one))
    print(f"| {' | '.join(titles)} |\n|{' --- |' * len(titles)}")
    for count, form in itertools.product(COUNTS, FORMS):
        texts = [f"{count:,}", form]
        for is_packed in (False, True):
            texts += _texts(measured.get((count, form, is_packed), []))
        print(f"| {' | '.join(texts)} |")


def _texts(results: list[Row]) -> list[str]:
    if not results:
        return [""] * 5
    best, cpu = min(results, key=lambda row: row.p50), median(row.cpu for row in results)
    rates = [f"{best.rate:,.0f}", f"{cpu:,.0f}"]
    return [*rates, f"{best.p50:.2f}", f"{best.p99:.2f}", f"{best.request:,.1f}+{best.answer:,.1f}"]


def _measure(options: argparse.Namespace, count: int, form: str, is_packed: bool) -> Row:
    kind, body_of = FORMS[form]
    table = pd.read_csv(project.ROOT / "data/pima.csv").drop(columns="Outcome")
    body = body_of(table.sample(count, replace=True, random_state=0))
    sent = gzip.compress(body, 1) if is_packed else body
    with closing(Client(options.port)) as client:
        request = _head(kind, len(sent), is_packed) + sent
        client.ask(request)  # it may start the process for large requests
        before = _cpu(options.port)
        times, size = _times(client, request, options.seconds)
        cpu = max(_cpu(options.port) - before, TICK)
    p50, p99 = times[len(times) // 2], times[len(times) * 99 // 100]
    asked = count * len(times)
    return Row(
        asked / sum(times), asked / cpu, 1000 * p50, 1000 * p99, len(sent) / 1024, size / 1024
    )


def _cpu(port: int) -> float:
    """Processor seconds of the server on the port, and of what it has started."""
    sockets = psutil.net_connections("tcp")
    pids = {one.pid for one in sockets if one.status == "LISTEN" and one.laddr.port == port}
    servers = [psutil.Process(pid) for pid in pids if pid is not None]
    tree = {process for server in servers for process in (server, *server.children(True))}
    return sum(sum(process.cpu_times()[:2]) for process in tree)


def _times(client: Client, request: bytes, seconds: float) -> tuple[list[float], int]:
    """Seconds of each request, the shortest first, and bytes of the answer."""
    times, until, size = [], perf_counter() + seconds, 0
    while len(times) < LEAST or perf_counter() < until:
        start = perf_counter()
        size = client.ask(request)
        times.append(perf_counter() - start)
    return sorted(times), size


def _head(kind: str, length: int, is_packed: bool) -> bytes:
    lines = ["POST /invocations HTTP/1.1", f"Host: {HOST}", f"Content-Type: {kind}"]
    lines += ["Content-Encoding: gzip", "Accept-Encoding: gzip"] if is_packed else []
    return "\r\n".join([*lines, f"Content-Length: {length}", "", ""]).encode()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=1.0, help="a measurement (default: 1)")
    parser.add_argument("--rounds", type=int, default=3, help="how often (default: 3)")
    parser.add_argument("--port", type=int, help="of a server that is there")
    return parser.parse_args()


if __name__ == "__main__":
    main()
