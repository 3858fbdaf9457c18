"""How fast the production door answers, by the form of the request and the rows in it.

    python benchmarks/calling.py [--seconds 2] [--config configs/pima.yaml]

Trains, serves the champion, and asks over one connection, one request after the other; the server
on one core, the client on another. Every form holds the same rows. With gzip both the request and
the answer are packed; Parquet packs its columns itself. Prints a table of rows a second, the
milliseconds that half and 99 % of the requests took at most, and KiB of request and answer.
"""

import argparse
import gzip
import io
import itertools
import json
import os
import socket
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import pandas as pd
import project
from measure import measure
from server import HOST, running

COUNTS = (1, 10, 100, 1_000, 10_000, 100_000)
LEAST = 5  # requests that are measured, however slow they are
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


class Client:
    """One connection that stays."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection((HOST, port), timeout=120)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.reader = self.socket.makefile("rb", 2**20)

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
    server_core, client_core = sorted(os.sched_getaffinity(0))[:2]
    with tempfile.TemporaryDirectory() as temporary, project.copied(Path(temporary)) as copy:
        folder = Path(temporary)
        environment = {**project.environment(copy, folder / "bytecode"), "OMP_NUM_THREADS": "1"}
        verb = (sys.executable, "-m", "pipeline")
        measure((*verb, "run", options.config), copy, environment, folder / "log.txt")
        table = pd.read_csv("data/pima.csv").drop(columns="Outcome")
        limits = ("--serve.limits.body_bytes", str(2**26))
        command = (*verb, "serve", options.config, *limits, "--serve.port")
        print("| rows | form | gzip | rows/s | p50 ms | p99 ms | request KiB | answer KiB |")
        print("| --- | --- | --- | --- | --- | --- | --- | --- |")
        with running(lambda port: (*command, str(port)), copy, environment, folder / "l") as server:
            server.pin(server_core)
            os.sched_setaffinity(0, {client_core})
            for count, form in itertools.product(COUNTS, FORMS):
                kind, body_of = FORMS[form]
                body = body_of(table.sample(count, replace=True, random_state=0))
                for is_packed in (False, True) if form != "Parquet" else (False,):
                    sent = gzip.compress(body, 1) if is_packed else body
                    request = _head(kind, len(sent), is_packed) + sent
                    client = Client(server.port)
                    client.ask(request)  # it may start the process for large requests
                    server.pin(server_core)
                    times, size = _times(client, request, options.seconds)
                    p50, p99 = times[len(times) // 2], times[len(times) * 99 // 100]
                    rate = count * len(times) / sum(times)
                    cells = [f"{count:,}", form, "yes" if is_packed else "no", f"{rate:,.0f}"]
                    cells += [f"{1000 * p50:.2f}", f"{1000 * p99:.2f}"]
                    cells += [f"{len(sent) / 1024:,.1f}", f"{size / 1024:,.1f}"]
                    print(f"| {' | '.join(cells)} |", flush=True)


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
    parser.add_argument("--seconds", type=float, default=2.0, help="a measurement (default: 2)")
    parser.add_argument("--config", default="configs/pima.yaml")
    return parser.parse_args()


if __name__ == "__main__":
    main()
