"""The request log: its lines and files, and what happens when they cannot be written."""

import errno
import fcntl
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pandas.testing import assert_frame_equal

from pipeline.config.serve import RequestLogSettings
from pipeline.errors import ConfigError
from pipeline.inference.predictor import Params, Predictor, Trained
from pipeline.schema.contract import Contract
from pipeline.schema.rules import check_rows
from pipeline.server import background_log, log_files, request_log, telemetry
from pipeline.server.log_lines import LoggedRequest, LoggedRows, lines
from pipeline.server.request_log import RequestLog
from tests.support.guards import GOOD, FakeModel, make_guard, post
from tests.support.mixed import make_mixed_dataset
from tests.support.pima import CONTRACT, PATIENT
from tests.support.tables import make_data, source_of

ROW = np.array([list(PATIENT.values())], dtype=float)
LINE = b'{"a": 1}\n'


def logged(
    X: Any = ROW, contract: Contract = CONTRACT, columns: tuple[str, ...] | None = None
) -> LoggedRows:
    """The rows of a request, answered by a model whose probability is always 0.25."""
    trained = Trained(0.5, *np.ones((2, len(contract.columns))))
    predictor = Predictor(
        contract, lambda X: np.tile([0.75, 0.25], (len(X), 1)), trained, {"version": "7"}
    )
    answers = predictor.answers(X, Params())
    return LoggedRows(predictor, LoggedRequest("r1", 1.5e9, columns), X, answers)


def written(folder: Path) -> list[dict[str, Any]]:
    """The lines of all closed files."""
    files = sorted(folder.glob("requests-*.jsonl"))
    return [json.loads(line) for one in files for line in one.read_text().splitlines()]


def counts() -> tuple[float, float]:
    """Rows that were written, and lost."""
    return telemetry.logged_rows._value.get(), telemetry.lost_rows._value.get()


def wait_until_written(log: RequestLog) -> None:
    until = time.monotonic() + 20
    while log._added != log._taken and time.monotonic() < until:
        time.sleep(0.01)
    assert log._added == log._taken


# Lines.


def test_line_holds_the_row_the_answer_and_where_they_came_from() -> None:
    X = np.concatenate([ROW, ROW])
    X[1, 1] = np.nan
    (first, second, other) = map(json.loads, lines([logged(X), logged()]).splitlines())

    assert first == {
        "request_id": "r1",
        "row": 1,
        "time": 1.5e9,
        "version": "7",
        **PATIENT,
        "predicted_label": 0,
        "predicted_probability": 0.25,
    }
    assert second == {**first, "row": 2, "Glucose": None}
    assert other == first


def test_only_the_columns_that_are_asked_for_are_logged() -> None:
    line = json.loads(lines([logged(columns=("BMI", "Age"))]))
    assert [name for name in line if name in PATIENT] == ["BMI", "Age"]


def test_columns_of_the_model_have_their_names_before_those_of_the_log() -> None:
    columns = {"row": CONTRACT.columns["Age"], "predicted_label": CONTRACT.columns["BMI"]}
    columns["share, in %"] = CONTRACT.columns["BMI"]
    contract = CONTRACT.model_copy(update={"columns": columns, "target": "predicted_probability"})
    line = json.loads(lines([logged(np.array([[3.0, 4.0, 5.0]]), contract)]))
    assert (line["row"], line["log_row"], line["share, in %"]) == (3, 1, 5)
    assert (line["predicted_label"], line["predicted_predicted_label"]) == (4, 0)
    assert "predicted_probability" not in line


@pytest.mark.parametrize("with_texts", [False, True])
def test_logged_rows_of_each_kind_are_read_as_they_were(with_texts: bool) -> None:
    dataset = make_mixed_dataset(with_texts=with_texts)
    X = dataset.X_train.to_numpy()
    request = logged(X, dataset.contract)

    table = pa.concat_tables(source_of(make_data(), lines([request])).batches(1000))

    frame = table.select(list(dataset.contract.columns)).to_pandas().replace({np.nan: None})
    again, faults = check_rows(request.predictor.rules, dict(frame.items()), len(frame))
    assert not faults
    assert_frame_equal(pd.DataFrame(again), pd.DataFrame(X))


def test_texts_that_look_like_the_end_of_a_line_stay_whole() -> None:
    dataset = make_mixed_dataset(with_texts=True)
    X = dataset.X_train.to_numpy()[:2].copy()
    X[0, -1] = '"},{"\n%b'
    first, _ = map(json.loads, lines([logged(X, dataset.contract)]).splitlines())
    assert first["note"] == '"},{"\n%b'


# The guard.


def test_answered_rows_are_logged_with_the_id_of_their_answer(tmp_path: Path) -> None:
    guard = make_guard(FakeModel())
    guard.request_log = RequestLog(RequestLogSettings(path=str(tmp_path)))
    before = counts()
    answered = post(guard)
    post(guard, b"{}")
    post(guard, headers={"x-request-id": "visit-17", "x-api-key": "SECRET"})
    guard.request_log.close()

    ids = [line["request_id"] for line in written(tmp_path)]
    assert ids == [answered.headers["x-request-id"], "visit-17"]
    assert counts() == (before[0] + 2, before[1])
    assert "SECRET" not in "".join(one.read_text() for one in tmp_path.iterdir())


def test_sample_goes_by_the_id_alone(tmp_path: Path) -> None:
    logs = [RequestLog(RequestLogSettings(path=str(tmp_path), sample=0.2)) for _ in range(2)]
    ids = [telemetry.new_request_id() for _ in range(5000)]
    samples = [{one for one in ids if log.request(one) is not None} for log in logs]
    for log in logs:
        log.close()
    assert samples[0] == samples[1]
    assert 850 < len(samples[0]) < 1150


# Files.


def test_file_is_hidden_until_it_is_closed_by_size_and_the_oldest_are_deleted(
    tmp_path: Path,
) -> None:
    settings = RequestLogSettings(path=str(tmp_path), max_bytes=2 * len(LINE), keep=2)
    log = RequestLog(settings)
    for _ in range(7):
        log.add(LINE, 1)
        wait_until_written(log)
    assert len(written(tmp_path)) == 4
    (growing,) = tmp_path.glob(".requests-*")
    assert growing.read_bytes() == LINE
    assert growing.stat().st_mode & 0o077 == 0
    log.close()
    assert len(written(tmp_path)) == 3
    assert not list(tmp_path.glob(".*"))


def test_file_is_closed_by_age_though_no_more_requests_come(tmp_path: Path) -> None:
    log = RequestLog(RequestLogSettings(path=str(tmp_path), max_seconds=0.1))
    log.add(LINE, 1)
    until = time.monotonic() + 20
    while not written(tmp_path) and time.monotonic() < until:
        time.sleep(0.01)
    assert len(written(tmp_path)) == 1
    log.close()


def test_file_of_a_killed_process_is_closed_at_its_last_whole_line(tmp_path: Path) -> None:
    (tmp_path / ".requests-1-1.jsonl").write_bytes(LINE + b'{"a": ')
    (tmp_path / ".requests-2-1.jsonl").write_bytes(b'{"a"')
    living = tmp_path / ".requests-3-1.jsonl"
    living.write_bytes(LINE)
    with living.open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        RequestLog(RequestLogSettings(path=str(tmp_path))).close()

    assert [one.name for one in tmp_path.iterdir() if one.name[0] != "."] == ["requests-1-1.jsonl"]
    assert written(tmp_path) == [{"a": 1}]
    assert living.read_bytes() == LINE


def test_rows_are_lost_and_counted_while_the_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    monkeypatch.setattr(telemetry, "log", lambda event, **_: events.append(event))
    log = RequestLog(RequestLogSettings(path=str(tmp_path)))
    written_before, lost_before = counts()
    write = os.write

    def full(file: int, content: bytes) -> int:
        if len(content) == len(LINE):
            return write(file, content[:4])
        raise OSError(errno.ENOSPC, "No space left on device")

    log.add(LINE, 1)
    wait_until_written(log)
    monkeypatch.setattr(log_files.os, "write", full)
    for _ in range(2):
        log.add(LINE, 1)
        wait_until_written(log)
    monkeypatch.setattr(log_files.os, "write", write)
    log.add(LINE, 1)
    log.close()

    assert written(tmp_path) == [{"a": 1}] * 2
    assert counts() == (written_before + 2, lost_before + 2)
    assert events == ["request_log_failed", "request_log_mended"]


def test_rows_are_lost_and_counted_while_too_many_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background_log, "WRITE_BEHIND", 60.0)
    monkeypatch.setattr(RequestLog, "most_waiting", 5)
    log = RequestLog(RequestLogSettings(path=str(tmp_path)))
    _, lost_before = counts()
    for _ in range(3):
        log.add(LINE * 2, 2)
    log.close()
    assert len(written(tmp_path)) == 4
    assert counts()[1] == lost_before + 2


def test_folder_that_is_deleted_is_made_anew(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    log = RequestLog(RequestLogSettings(path=str(folder)))
    for one in folder.iterdir():
        one.unlink()
    folder.rmdir()
    log.add(LINE, 1)
    log.close()
    assert written(folder) == [{"a": 1}]


def test_log_that_cannot_be_written_is_refused_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"serve\.log\.path is '.*/file', a folder that cannot"):
        request_log.check(RequestLogSettings(path=str(tmp_path / "file")), CONTRACT)
    with pytest.raises(ConfigError, match=r"has 'Glucos', which is no column .* mean 'Glucose'"):
        request_log.check(RequestLogSettings(columns=("Glucos",)), CONTRACT)


def test_request_is_answered_without_a_log_as_with_one(tmp_path: Path) -> None:
    guard = make_guard(FakeModel())
    without = post(guard, GOOD)
    guard.request_log = RequestLog(RequestLogSettings(path=str(tmp_path)))
    assert post(guard, GOOD).body == without.body
    guard.request_log.close()
