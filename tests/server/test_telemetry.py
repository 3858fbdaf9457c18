"""The log and the metrics: what is written, what is dropped, and what several workers add up."""

import json
import logging
import os
import re
import subprocess
import sys
from contextlib import suppress

import pytest
from prometheus_client import REGISTRY

from pipeline.config.paths import PROJECT
from pipeline.server import telemetry


def test_log_is_one_line_of_json_with_the_time(log_lines):
    telemetry.log("ready", model="visits", version="7", note='a "quote"\nand a line')
    telemetry.log("request", status=200, ms=0.5, rule=None)
    first, second = log_lines()
    assert first.pop("time") > 1.7e9
    note = 'a "quote"\nand a line'
    assert first == {"event": "ready", "model": "visits", "version": "7", "note": note}
    assert second["rule"] is None


@pytest.fixture
def pipe(monkeypatch):
    """The reading end of a pipe in place of standard output: nobody reads it yet."""
    telemetry.flush()
    read, write = os.pipe()
    monkeypatch.setattr(telemetry, "STANDARD_OUTPUT", write)
    monkeypatch.setattr(telemetry, "_writer", telemetry._Writer())  # it has dropped nothing yet
    os.set_blocking(read, False)
    yield read
    with suppress(OSError):
        os.close(read)  # a writer that waits ends with an error
    telemetry.flush(20)
    os.close(write)


def read_until(pipe, is_whole):
    """The lines in the pipe, once they are as they should be."""
    written = b""
    while not is_whole(written):
        with suppress(BlockingIOError):
            written += os.read(pipe, 2**16)
    return [json.loads(line) for line in written.splitlines()]


def test_log_that_nobody_reads_any_more_is_no_fault(pipe):
    os.close(pipe)
    telemetry.log("request")
    telemetry.flush(20)
    assert telemetry._writer.is_idle.is_set()


def test_log_that_nobody_reads_holds_nobody_up_and_says_later_what_is_missing(pipe, monkeypatch):
    """The lines that may wait are more than the pipe holds, so it is not empty in between."""
    monkeypatch.setattr(telemetry, "MAX_WAITING_LINES", 1000)
    before = REGISTRY.get_sample_value("serve_log_lines_dropped_total")

    for number in range(5000):
        telemetry.log("request", number=number, text="x" * 100)
    telemetry.flush(0.01)  # it does not wait for the reader

    metrics = telemetry.metrics().decode()
    (count,) = re.findall(r"^serve_log_lines_dropped_total (\S+)$", metrics, re.MULTILINE)
    *lines, last = read_until(pipe, lambda written: b"log_dropped" in written)
    numbers = [line["number"] for line in lines]
    assert numbers[:1000] == list(range(1000))
    assert numbers == sorted(set(numbers))
    assert (last["event"], last["lines"]) == ("log_dropped", 5000 - len(lines))
    assert float(count) - before == last["lines"] > 0


def test_output_that_does_not_block_loses_nothing(pipe):
    """Whoever made the pipe may have set it so, and a full one is no error then."""
    os.set_blocking(telemetry.STANDARD_OUTPUT, False)
    for number in range(2000):
        telemetry.log("request", number=number, text="x" * 100)
    lines = read_until(pipe, lambda written: written.count(b"\n") == 2000)
    assert [line["number"] for line in lines] == list(range(2000))


def test_what_libraries_log_becomes_lines_of_the_same_kind(log_lines, monkeypatch):
    monkeypatch.setattr(logging.root, "handlers", [])
    telemetry.log_records()
    try:
        raise ZeroDivisionError("by nought")
    except ZeroDivisionError:
        logging.getLogger("pipeline.test").exception("request %s met a fault", "r1")
    logging.getLogger("other").warning("beware")

    fault, warning = log_lines()
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
if sys.argv[1] != "first":
    print(telemetry.metrics().decode())
"""


@pytest.fixture
def worker(tmp_path):
    """Counts in a process of its own, which is gone afterwards; returns the lines it prints."""
    tmp_path.chmod(0o700)
    environment = {**os.environ, telemetry.SHARED_FOLDER: str(tmp_path)}

    def worker(name):
        command = [sys.executable, "-c", WORKER, name]
        done = subprocess.run(
            command, cwd=PROJECT, env=environment, stdout=subprocess.PIPE, text=True, check=True
        )
        return done.stdout.splitlines()

    return worker


def test_counts_of_all_workers_are_added_and_gauges_of_the_dead_are_forgotten(worker):
    worker("first")
    lines = worker("last")
    assert "serve_rows_total 6.0" in lines
    versions = [line for line in lines if line.startswith("serve_model_version{")]
    assert [re.sub(r"\d+", "N", line) for line in versions] == [
        'serve_model_version{model="visits",pid="N"} N.N'
    ]


def test_counts_outlive_the_folder_in_which_workers_keep_them(worker):
    lines = worker("cleaned")
    assert [line for line in lines if line.startswith("serve_rows_total")] == [
        "serve_rows_total 3.0",
        "serve_rows_total 7.0",
    ]
    assert lines.count('serve_request_seconds_count{path="other"} 1.0') == 2
    assert lines.count('serve_refusals_total{rule="json"} 1.0') == 1
    assert sum(line.startswith('serve_model_version{model="visits"') for line in lines) == 2
