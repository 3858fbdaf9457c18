import json
import logging
import os
import re
import subprocess
import sys
import time
from contextlib import suppress

import pytest
from prometheus_client import REGISTRY

from pipeline.config.load import PROJECT
from pipeline.server import telemetry


def lines(capfd):
    telemetry.flush()
    return [json.loads(line) for line in capfd.readouterr().out.splitlines()]


def test_log_is_one_line_of_json_with_the_time(capfd):
    telemetry.log("ready", model="visits", version="7", note='a "quote"\nand a line')
    telemetry.log("request", status=200, ms=0.5, rule=None)

    first, second = lines(capfd)
    assert first.pop("time") > 1.7e9
    assert first == {
        "event": "ready",
        "model": "visits",
        "version": "7",
        "note": 'a "quote"\nand a line',
    }
    assert second["rule"] is None


def test_log_that_nobody_reads_any_more_is_no_fault(monkeypatch):
    read, write = os.pipe()
    os.close(read)
    monkeypatch.setattr(telemetry, "STANDARD_OUTPUT", write)

    try:
        telemetry.log("request")
    finally:
        os.close(write)


@pytest.fixture
def unread(monkeypatch):
    """The reading end of a pipe in place of standard output: nobody reads it yet."""
    telemetry.flush()
    read, write = os.pipe()
    monkeypatch.setattr(telemetry, "STANDARD_OUTPUT", write)
    yield read
    os.set_blocking(read, False)
    until = time.monotonic() + 20
    while not telemetry._writer.is_idle.is_set() and time.monotonic() < until:
        drain(read)
    os.close(read)
    os.close(write)


def drain(read):
    parts = []
    with suppress(BlockingIOError):
        while True:
            parts.append(os.read(read, 2**16))
    return b"".join(parts)


def test_log_that_nobody_reads_holds_nobody_up_and_says_later_what_is_missing(unread, monkeypatch):
    monkeypatch.setattr(telemetry, "MAX_WAITING_LINES", 1000)
    before = REGISTRY.get_sample_value("serve_log_lines_dropped_total")

    start = time.monotonic()
    for number in range(5000):
        telemetry.log("request", number=number)
    telemetry.flush(0.2)
    assert time.monotonic() - start < 10

    text = telemetry.metrics().decode()
    (shown,) = re.findall(r"^serve_log_lines_dropped_total (\S+)$", text, re.MULTILINE)
    os.set_blocking(unread, False)
    written, until = b"", time.monotonic() + 20
    while b"log_dropped" not in written and time.monotonic() < until:
        written += drain(unread)
    *numbered, last = [json.loads(line) for line in written.splitlines()]
    assert [line["number"] for line in numbered] == list(range(len(numbered)))
    assert 1000 <= len(numbered) < 5000
    assert (last["event"], last["lines"]) == ("log_dropped", 5000 - len(numbered))
    assert float(shown) - before == last["lines"]


def test_output_that_does_not_block_loses_nothing(unread):
    """Whoever made the pipe may have set it so, and a full one is no error then."""
    os.set_blocking(telemetry.STANDARD_OUTPUT, False)
    for number in range(2000):
        telemetry.log("request", number=number, text="x" * 100)

    os.set_blocking(unread, False)
    written, until = b"", time.monotonic() + 20
    while written.count(b"\n") < 2000 and time.monotonic() < until:
        written += drain(unread)

    assert [json.loads(line)["number"] for line in written.splitlines()] == list(range(2000))


def test_what_libraries_log_becomes_lines_of_the_same_kind(capfd, monkeypatch):
    monkeypatch.setattr(logging.root, "handlers", [])
    telemetry.log_records()
    try:
        raise ZeroDivisionError("by nought")
    except ZeroDivisionError:
        logging.getLogger("pipeline.test").exception("request %s met a fault", "r1")
    logging.getLogger("other").warning("beware")

    fault, warning = lines(capfd)
    assert (fault["event"], fault["level"]) == ("log", "error")
    assert fault["message"] == "request r1 met a fault"
    assert "ZeroDivisionError: by nought" in fault["traceback"]
    assert (warning["level"], warning["message"]) == ("warning", "beware")
    assert "traceback" not in warning


def test_ids_of_requests_are_all_different():
    assert len({telemetry.new_request_id() for _ in range(1000)}) == 1000


WORKER = """
import os, shutil, sys
from pipeline.server import telemetry
telemetry.rows.inc(3)
telemetry.seconds.labels("other").observe(0.3)
telemetry.model_version.labels("visits").set(7)
if sys.argv[1] == "cleaned":
    shutil.rmtree(os.environ[telemetry.SHARED_FOLDER])
    print(telemetry.metrics().decode())
    telemetry.rows.inc(4)
    telemetry.refusals.labels("json").inc()
    print(telemetry.metrics().decode())
if sys.argv[1] == "last":
    print(telemetry.metrics().decode())
"""


@pytest.fixture
def worker(tmp_path):
    """Counts in a process of its own, which is gone afterwards."""
    tmp_path.chmod(0o700)
    environment = {**os.environ, telemetry.SHARED_FOLDER: str(tmp_path)}

    def worker(name):
        return subprocess.run(
            [sys.executable, "-c", WORKER, name],
            cwd=PROJECT,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    return worker


def test_counts_of_all_workers_are_added_and_gauges_of_the_dead_are_forgotten(worker):
    worker("first")

    told = worker("last").splitlines()

    assert "serve_rows_total 6.0" in told
    versions = [line for line in told if line.startswith("serve_model_version{")]
    assert [re.sub(r"\d+", "N", line) for line in versions] == [
        'serve_model_version{model="visits",pid="N"} N.N'
    ]


def test_counts_outlive_the_folder_in_which_workers_keep_them(worker):
    told = worker("cleaned").splitlines()

    assert [line for line in told if line.startswith("serve_rows_total")] == [
        "serve_rows_total 3.0",
        "serve_rows_total 7.0",
    ]
    assert told.count('serve_request_seconds_count{path="other"} 1.0') == 2
    assert told.count('serve_refusals_total{rule="json"} 1.0') == 1
    assert sum(line.startswith('serve_model_version{model="visits"') for line in told) == 2
