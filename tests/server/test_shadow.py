"""The shadow: what it is asked, what is written of it, and that nobody waits for it."""

import gzip
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from prometheus_client import REGISTRY

from pipeline.config.load import load
from pipeline.config.serve import RequestLogSettings, Serve
from pipeline.errors import ConfigError, ModelError, RegistryError
from pipeline.inference.model_folder import EXAMPLE
from pipeline.schema.columns import CategoryColumn, NumberColumn
from pipeline.server import app, background_log
from pipeline.server import shadow as server_shadow
from pipeline.server.loaded_model import LoadedModel
from pipeline.server.log_files import LogFiles
from pipeline.server.shadow import Shadow
from pipeline.server.shadow_process import NICENESS
from tests.support.asgi import Exchange
from tests.support.doors import eventually
from tests.support.guards import make_guard, post
from tests.support.shadows import (
    COLUMNS,
    contract_of,
    make_model,
    make_predictor,
    start_shadow,
    wait_until_done,
)

ROW = {"height": 0.4, "noise": 1.0}
COUNTS = ("rows", "labels_differ", "rows_failed", "rows_dropped", "log_rows_lost")
Start = Callable[..., Any]


class Beside:
    """A guard whose champion is version 2, and its shadow."""

    def __init__(self, monkeypatch: Any, serve: Serve, champion: Any, shadow: Any) -> None:
        self.guard = make_guard(champion)
        self.shadow, self.processes = start_shadow(monkeypatch, serve, shadow)
        self.guard.shadow = self.shadow
        self.shadow.follow(champion)
        self.folder = Path(serve.shadow_log or "")
        self.before = self._totals()

    def ask(self, *rows: dict[str, Any], **request: Any) -> Exchange:
        body = {"dataframe_records": rows or [ROW], "params": request.pop("params", {})}
        return post(self.guard, json.dumps(body).encode(), **request)

    def lines(self) -> list[dict[str, Any]]:
        """What the log holds, once all that waits is done."""
        wait_until_done(self.shadow)
        self.shadow.close()
        files = sorted(self.folder.glob("requests-*.jsonl"))
        return [json.loads(text) for one in files for text in one.read_text().splitlines()]

    def counts(self) -> dict[str, float]:
        """What was counted since the start, but for zeros."""
        now = self._totals()
        return {
            name: now[name] - self.before[name] for name in COUNTS if now[name] != self.before[name]
        }

    def _totals(self) -> dict[str, float]:
        names = {name: f"serve_shadow_{name}_total" for name in COUNTS}
        return {name: REGISTRY.get_sample_value(total) or 0.0 for name, total in names.items()}


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Start]:
    """Starts version 2 with version 7 beside it, which is shifted by 0.2."""
    started: list[Beside] = []
    monkeypatch.setattr(background_log, "WRITE_BEHIND", 0.01)

    def start(task: str = "binary", shadow: Any = None, **settings: Any) -> Beside:
        serve = Serve(**{"shadow": "7", "shadow_log": str(tmp_path / "log"), **settings})
        champion = make_model(make_predictor(task, "2"))
        other = make_model(shadow or make_predictor(task, "7", 0.2))
        started.append(Beside(monkeypatch, serve, champion, other))
        return started[-1]

    yield start
    for one in started:
        one.shadow.close()


ANSWERS: dict[str, dict[str, Any]] = {
    "binary": {
        **{"champion_label": "no", "champion_probability": 0.4},
        **{"shadow_label": "yes", "shadow_probability": 0.6},
        **{"difference": 0.2, "labels_differ": True},
    },
    "multiclass": {
        **{"champion_label": "a", "champion_probability": 0.4},
        **{"champion_probability_a": 0.4, "champion_probability_b": 0.3},
        **{"champion_probability_c": 0.3},
        **{"shadow_label": "a", "shadow_probability": 0.6},
        **{"shadow_probability_a": 0.6, "shadow_probability_b": 0.2},
        **{"shadow_probability_c": 0.2},
        **{"difference": 0.2, "labels_differ": False},
    },
    "regression": {
        **{"champion_value": 4.0, "champion_low": 2.16, "champion_high": 5.84},
        **{"shadow_value": 6.0, "shadow_low": 4.16, "shadow_high": 7.84},
        **{"difference": 2.0, "relative_difference": 2 / 3.68},
    },
}


@pytest.mark.parametrize("task", ANSWERS)
def test_answered_requests_are_asked_of_the_shadow_and_both_answers_are_logged(
    start: Start, task: str
) -> None:
    beside = start(task)
    answered = beside.ask(ROW, {**ROW, "height": 0.8}, headers={"x-request-id": "visit-1"})
    assert beside.ask({"height": 9}).status == 400

    first, second = beside.lines()

    assert first.pop("time") > 1.7e9
    about = {"request_id": "visit-1", "row": 1, "champion": "2", "shadow": "7"}
    assert first == pytest.approx({**about, **ANSWERS[task]})
    assert second["row"] == 2
    (label,) = {"champion_label", "champion_value"} & set(second)
    assert second[label] == answered.json["predictions"][1][label.removeprefix("champion_")]
    differing = {"labels_differ": 1} if task == "binary" else {}
    assert beside.counts() == {"rows": 2, **differing}


def test_histogram_holds_the_differences_in_its_buckets(start: Start) -> None:
    def at_most(bound: str) -> float:
        return REGISTRY.get_sample_value("serve_shadow_difference_bucket", {"le": bound}) or 0.0

    before = {bound: at_most(bound) for bound in ("1e-06", "0.1", "0.2", "0.3", "+Inf")}
    total = REGISTRY.get_sample_value("serve_shadow_difference_sum") or 0.0
    beside = start()
    beside.ask(ROW, {**ROW, "height": 0.85}, {**ROW, "height": 1.0})
    beside.lines()

    assert [at_most(bound) - count for bound, count in before.items()] == [1, 1, 2, 3, 3]
    assert REGISTRY.get_sample_value("serve_shadow_difference_sum") == pytest.approx(total + 0.35)


def test_shadow_is_asked_with_the_requests_own_threshold_and_without_its_reasons(
    start: Start,
) -> None:
    beside = start()
    beside.ask(params={"threshold": 0.65, "explain": True, "version": True})
    (line,) = beside.lines()
    assert (line["champion_label"], line["shadow_label"]) == ("no", "no")
    assert "shadow_base" not in line


def test_packed_requests_and_answers_are_compared_too(start: Start) -> None:
    beside = start()
    body = gzip.compress(json.dumps({"dataframe_records": [ROW] * 150}).encode())
    codings = {"content-encoding": "gzip", "accept-encoding": "gzip"}
    assert post(beside.guard, body, headers=codings).headers["content-encoding"] == "gzip"
    assert len(beside.lines()) == 150


def test_sample_is_that_of_the_request_log(start: Start) -> None:
    beside = start(shadow_sample=0.5)
    ids = [f"r{number}" for number in range(40)]
    for one in ids:
        beside.ask(headers={"x-request-id": one})
    sample = [one for one in ids if background_log.in_sample(one, 0.5)]
    assert [line["request_id"] for line in beside.lines()] == sample
    assert 0 < len(sample) < 40


def test_shadow_that_fails_is_counted_and_logged_once_and_answers_stay_the_same(
    start: Start, log_lines: Callable[[], list[Any]]
) -> None:
    narrow = contract_of("binary", columns={**COLUMNS, "height": NumberColumn(range=(0, 0.5))})
    beside = start(shadow=make_predictor("binary", "7", 0.2, narrow))
    answers = [beside.ask({**ROW, "height": height}).json for height in (0.4, 0.8, 0.9, 0.3)]

    assert [line["champion_probability"] for line in beside.lines()] == [0.4, 0.3]
    assert [one["predictions"][0]["probability"] for one in answers] == [0.4, 0.8, 0.9, 0.3]
    assert beside.counts() == {"rows": 2, "rows_failed": 2, "labels_differ": 2}
    failed = [line for line in log_lines() if line["event"] == "shadow_failed"]
    assert len(failed) == 1
    assert "it refuses what the champion answered: row 1, height" in failed[0]["message"]


def test_shadow_whose_process_ends_is_started_anew(
    start: Start, monkeypatch: pytest.MonkeyPatch, log_lines: Callable[[], list[Any]]
) -> None:
    beside = start()
    beside.ask(headers={"x-request-id": "first"})
    wait_until_done(beside.shadow)
    beside.processes[0].kill()
    beside.processes[0].join()
    beside.ask(headers={"x-request-id": "second"})
    wait_until_done(beside.shadow)
    beside.processes[1].is_held.set()
    beside.ask(headers={"x-request-id": "lost"})
    assert eventually(beside.processes[1].other.poll)
    beside.processes[1].kill()
    wait_until_done(beside.shadow)
    beside.ask(headers={"x-request-id": "last"})

    assert [line["request_id"] for line in beside.lines()] == ["first", "second", "last"]
    assert beside.counts() == {"rows": 3, "rows_failed": 1, "labels_differ": 3}
    events = [line for line in log_lines() if line["event"].startswith("shadow")]
    assert [line["event"] for line in events] == ["shadow_ready", "shadow_failed", "shadow_mended"]
    assert events[1]["message"] == "its process ended"


def test_shadow_that_is_too_slow_is_ended(start: Start, log_lines: Callable[[], list[Any]]) -> None:
    beside = start(limits={"answer_seconds": 0.05})
    beside.processes[0].is_held.set()
    beside.ask()
    wait_until_done(beside.shadow)
    beside.processes[0].is_held.clear()
    assert beside.counts() == {"rows_failed": 1}
    (failed,) = [line for line in log_lines() if line["event"] == "shadow_failed"]
    assert "does not answer within serve.limits.answer_seconds (0.05)" in failed["message"]


def test_requests_are_dropped_and_counted_while_too_many_wait(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Shadow, "most_waiting", 2500)  # two small requests
    beside = start()
    beside.processes[0].is_held.set()
    answers = [beside.ask(ROW, ROW).status for _ in range(5)]
    beside.processes[0].is_held.clear()

    assert answers == [200] * 5
    assert len(beside.lines()) == 4
    assert beside.counts() == {"rows": 4, "labels_differ": 4, "rows_dropped": 6}


def test_log_that_cannot_be_written_loses_lines_alone(
    start: Start, monkeypatch: pytest.MonkeyPatch, log_lines: Callable[[], list[Any]]
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    beside = start()
    monkeypatch.setattr(LogFiles, "write", full)
    beside.ask()
    wait_until_done(beside.shadow)
    assert beside.counts() == {"rows": 1, "labels_differ": 1, "log_rows_lost": 1}
    failed = next(line for line in log_lines() if line["event"] == "shadow_failed")
    assert failed["message"].startswith("serve.shadow_log: ")


def test_without_a_log_there_are_counts_alone(start: Start) -> None:
    beside = start(shadow_log=None)
    beside.ask()
    wait_until_done(beside.shadow)
    assert beside.counts() == {"rows": 1, "labels_differ": 1}


def test_comparison_goes_on_with_the_next_champion_if_it_can(
    start: Start, log_lines: Callable[[], list[Any]]
) -> None:
    beside = start()
    unlike = make_predictor("binary", "4", 0, contract_of("binary", target="other"))
    for predictor in (make_predictor("binary", "3"), unlike, make_predictor("binary", "7", 0.2)):
        beside.ask()
        beside.guard.model = make_model(predictor)
        beside.shadow.follow(beside.guard.model)
    beside.ask()

    assert [line["champion"] for line in beside.lines()] == ["2", "3"]
    shadow_events = [line for line in log_lines() if line["event"].startswith("shadow")]
    assert [(line["event"], line["champion"]) for line in shadow_events] == [
        ("shadow_ready", "2"),
        ("shadow_ready", "3"),
        ("shadow_paused", "4"),
        ("shadow_paused", "7"),
    ]
    assert shadow_events[2]["message"] == "it has the target 'label', and the champion 'other'"
    assert "is the champion itself" in shadow_events[3]["message"]


INCOMPARABLE: dict[str, tuple[dict[str, Any], str]] = {
    "column less": ({"columns": {"height": COLUMNS["height"]}}, "it has no column 'noise'"),
    "column more": ({"columns": {**COLUMNS, "age": COLUMNS["noise"]}}, "it has the column 'age'"),
    "kind": (
        {"columns": {**COLUMNS, "noise": CategoryColumn(levels=("x", "y"))}},
        "its column 'noise' is of the kind category, and the champion's number",
    ),
    "task": ({"classes": (), "positive": None}, "it predicts 'regression', and the champion 'bin"),
    "classes": ({"classes": ("no", "si"), "positive": "si"}, "it has the classes ['no', 'si']"),
    "positive": ({"positive": "no"}, "it has the positive class 'no', and the champion 'yes'"),
}


@pytest.mark.parametrize("case", INCOMPARABLE)
def test_version_that_answers_other_requests_is_refused_at_the_start(case: str) -> None:
    changes, message = INCOMPARABLE[case]
    champion = make_model(make_predictor("binary", "2"))
    contract = contract_of("binary", **changes)
    shadow = make_model(make_predictor("binary", "7", contract=contract))
    with pytest.raises(ConfigError) as refused:
        server_shadow.check(Serve(shadow="7", shadow_log=None), champion, shadow)
    assert str(refused.value).startswith(
        f"serve.shadow is '7', which cannot stand beside version 2: {message}"
    )


def test_version_that_has_other_ranges_and_order_of_columns_can_be_compared() -> None:
    champion = make_model(make_predictor("binary", "2"))
    columns = {name: NumberColumn() for name in reversed(COLUMNS)}
    shadow = make_model(make_predictor("binary", "7", 0, contract_of("binary", columns=columns)))
    server_shadow.check(Serve(shadow="7", shadow_log=None), champion, shadow)
    assert server_shadow._obstacle(champion, shadow) == ""


def test_folder_of_the_log_that_cannot_be_written_to_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    model = make_model(make_predictor("binary", "2"))
    serve = Serve(shadow="7", shadow_log=str(tmp_path / "file"))
    with pytest.raises(ConfigError, match=r"serve\.shadow_log is '.*/file', a folder that cannot"):
        server_shadow.check(serve, model, model)


def test_shadow_is_named_by_its_number_and_logs_into_a_folder_of_its_own(tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    text = Path("configs/pima.yaml").read_text("utf-8")
    config.write_text(f"{text}serve: {{shadow: 7, version: 3}}\n")
    serve = load(str(config), {}).serve
    assert (serve.shadow, serve.version, serve.shadow_sample) == ("7", "3", 1.0)
    with pytest.raises(ConfigError, match=r"shadow_log and log.path are both 'x'.* name two fold"):
        load(str(config), {"serve.shadow_log": "x", "serve.log.path": "x"})
    assert Serve(shadow_log="x", log=RequestLogSettings(path="x")).shadow is None


@pytest.mark.parametrize("error", [RegistryError("it has 1, 2"), ModelError("model.pkl changed")])
def test_version_that_cannot_be_loaded_is_refused_with_the_setting(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def promoted(*_: object) -> None:
        raise error

    monkeypatch.setattr(app.registry, "promoted", promoted)
    config = load("configs/pima.yaml", {"serve.shadow": "9"})
    with pytest.raises(ConfigError, match=f"serve.shadow is '9': {error}; name another version"):
        app.load_shadow(config)


def test_version_is_asked_in_a_process_of_its_own(
    pima: LoadedModel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It is the least urgent, and gone at the end."""
    monkeypatch.setattr(pima, "close", lambda: None)  # others go on with it
    champion = make_model(pima.predictor)
    champion.version = SimpleNamespace(name="visits", version="2")
    shadow = Shadow(Serve(shadow="7", shadow_log=str(tmp_path)), pima)
    try:
        guard = make_guard(champion)
        guard.shadow = shadow
        shadow.follow(champion)
        assert post(guard, (pima.folder / EXAMPLE).read_bytes()).status == 200
        wait_until_done(shadow)
        process = shadow._process
        assert process is not None
        assert psutil.Process(process.pid).nice() == min(19, os.nice(0) + NICENESS)
    finally:
        shadow.close()

    assert not process.is_alive()
    (file,) = tmp_path.glob("requests-*.jsonl")
    lines = [json.loads(text) for text in file.read_text().splitlines()]
    assert [line["difference"] for line in lines] == pytest.approx([0] * len(lines), abs=1e-9)
