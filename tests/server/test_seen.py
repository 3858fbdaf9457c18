import json
import logging
import os
import re
import subprocess
import sys

import pytest

from pipeline.config_file import PROJECT
from pipeline.server import seen


def lines(capfd):
    return [json.loads(line) for line in capfd.readouterr().out.splitlines()]


def test_log_is_one_line_of_json_with_the_time(capfd):
    seen.log("ready", model="visits", version="7", note='a "quote"\nand a line')
    seen.log("request", status=200, ms=0.5, rule=None)

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
    monkeypatch.setattr(seen, "STANDARD_OUTPUT", write)

    try:
        seen.log("request")
    finally:
        os.close(write)


def test_what_libraries_log_becomes_lines_of_the_same_kind(capfd, monkeypatch):
    monkeypatch.setattr(logging.root, "handlers", [])
    seen.log_records()
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
    assert len({seen.new_id() for _ in range(1000)}) == 1000


WORKER = """
import os, sys
from pipeline.server import seen
seen.rows.inc(3)
seen.model.labels("visits").set(7)
if sys.argv[1] == "last":
    print(seen.metrics().decode())
"""


@pytest.fixture
def worker(tmp_path):
    """Counts in a process of its own, which is gone afterwards."""
    environment = {**os.environ, seen.SHARED: str(tmp_path)}

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
