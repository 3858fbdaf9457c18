"""A real server for a version that is not champion yet, asked over HTTP."""

import http.client
import json
import multiprocessing
import os
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass

import numpy as np
import pandas as pd

from pipeline import event_loop
from pipeline.config.sections import Config
from pipeline.config.serve import Limits, Serve
from pipeline.errors import ModelError
from pipeline.inference.model_folder import request
from pipeline.inference.predictor import Predictor
from pipeline.promotion import proof
from pipeline.promotion.proof import REFUSED, Answer, Request, Row
from pipeline.server.request_json import JSON
from pipeline.tracking import model_files, registry

START_SECONDS = 120.0
LOOK_AGAIN = 0.05
TIMED = 200  # requests of one row
SHARE = 0.95


def check(
    config: Config, number: str, original: Predictor, rows: pd.DataFrame
) -> tuple[int, str, float]:
    """How many requests, in which one it differs, and seconds for 95 % of single rows.

    The server has one worker on a free port of loopback, no keys and no limits but the default.
    Raises ModelError when it does not start.
    """
    version, address = registry.promoted(config.registry.model, number)
    with model_files.at(address) as folder:
        requests = proof.requests(folder, original, rows)
    with _served(config, version.version) as port, closing(_connect(port)) as connection:
        server = _Connection(connection)

        def expect(rows: Sequence[Row]) -> Answer:
            return proof.refused(proof.expect(original, rows))

        apart = event_loop.run(proof.difference(requests, expect, server.ask))
        return len(requests), apart, server.latency(request(rows.iloc[:1]).encode())


def _connect(port: int) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", port, timeout=START_SECONDS)


@dataclass
class _Connection:
    """A connection to the server."""

    connection: http.client.HTTPConnection

    async def ask(self, one: Request) -> Answer:
        status, answer = self._post(one.body, one.kind)
        if status == http.client.BAD_REQUEST:
            return REFUSED
        return answer if status == http.client.OK else f"status {status}"

    def latency(self, body: bytes) -> float:
        """Seconds within which 95 % of the answers came, one after the other."""
        seconds = []
        for _ in range(TIMED):
            start = time.perf_counter()
            self._post(body)
            seconds.append(time.perf_counter() - start)
        return float(np.quantile(seconds, SHARE))

    def _post(self, body: bytes, kind: str = JSON) -> tuple[int, Answer]:
        self.connection.request("POST", "/invocations", body, {"Content-Type": kind})
        response = self.connection.getresponse()
        return response.status, json.loads(response.read())


@contextmanager
def _served(config: Config, number: str) -> Iterator[int]:
    """The port of a server that is ready; ended and waited for at the end."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    serve = Serve(port=port, version=number, docs=False, limits=Limits())
    config = config.model_copy(update={"serve": serve})
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(config,))
    process.start()
    try:
        _wait(process, port)
        yield port
    finally:
        process.terminate()
        process.join(serve.grace)
        if process.is_alive():
            process.kill()
            process.join()


def _serve(config: Config) -> None:
    """In the process of the server: none of the environment's keys, certificates or limits."""
    for name in list(os.environ):
        if name.startswith(("PIPELINE_API_KEYS", "UVICORN_")):
            del os.environ[name]
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)  # its lines, one per request
    from pipeline.server.serve import serve

    serve(config)


def _wait(process: "multiprocessing.context.SpawnProcess", port: int) -> None:
    until = time.monotonic() + START_SECONDS
    while process.is_alive() and time.monotonic() < until:
        with suppress(OSError), closing(_connect(port)) as connection:
            connection.request("GET", "/health")
            if connection.getresponse().status == http.client.OK:
                return
        time.sleep(LOOK_AGAIN)
    raise ModelError(
        "the server of gate.serve_check: full did not start with the candidate; try "
        "`python -m pipeline serve --serve.version N` with its version"
    )
