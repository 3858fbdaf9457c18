"""A model in a folder, as the server loads it, tries it out and lets it go."""

import asyncio
import errno
import gzip
import json
import os
import shutil
import signal
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from pipeline.errors import ModelError
from pipeline.inference import manifest, model_folder
from pipeline.inference.mlflow_flavor import ServedModel
from pipeline.results import Version
from pipeline.server.content_coding import Codings
from pipeline.server.http_error import HTTPError
from pipeline.server.loaded_model import EXAMPLE, EXAMPLE_ANSWER, LoadedModel
from pipeline.server.log_lines import LoggedRequest
from pipeline.server.request_json import CSV, JSON, PARQUET
from pipeline.server.response import QUICK_BYTES, QUICK_EXPLAINED, QUICK_ROWS, Response
from tests.support import model_folders as folders
from tests.support.builders import make_dataset
from tests.support.pima import PATIENT, VALUES, csv, text


@pytest.fixture
def folder(pima_folder, tmp_path):
    """A copy to be changed."""
    return shutil.copytree(pima_folder, tmp_path / "model")


@pytest.fixture
def load(monkeypatch, tmp_path):
    """Serves a folder until the test ends, from a copy in a folder of the test's own."""
    copies = tmp_path / "copies"
    copies.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(copies))
    models = []

    def load(folder):
        models.append(folders.serve(folder))
        return models[-1]

    load.copies = copies
    yield load
    for model in models:
        model.close()


def request(rows, **params):
    return text({"dataframe_records": [PATIENT] * rows, "params": params}).encode()


def split(rows):
    return text({"dataframe_split": {"columns": list(PATIENT), "data": [VALUES] * rows}}).encode()


LARGE = request(QUICK_ROWS + 1)  # the worker process answers it


def predictions(response):
    return json.loads(response.body)["predictions"]


# Loaded.


def test_model_is_served_from_a_copy_of_just_its_files(folder, load):
    (folder / "registered_model_meta").write_text("model_name: visits")
    model = load(folder)
    files = [path for path in model.folder.rglob("*") if path.is_file()]
    names = {path.relative_to(model.folder).as_posix() for path in files}
    assert names == set(model.version.manifest)
    assert model.folder.parent == load.copies
    shutil.rmtree(folder)
    assert model.answer_at_once(request(1), JSON) is not None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: (folder / "model.pkl").write_bytes(b"no pickle"), "model.pkl was changed"),
        (lambda folder: (folder / "added.py").touch(), "added.py was added"),
        (lambda folder: (folder / "served.json").unlink(), "served.json is missing"),
    ],
)
def test_model_that_is_not_what_was_promoted_is_refused_and_leaves_no_copy(
    folder, load, change, message
):
    version = Version("visits", "7", "r1", {}, manifest.of(folder))
    change(folder)
    with pytest.raises(ModelError, match=f"files are not what was logged: {message}"):
        LoadedModel(version, folder, 10)
    assert list(load.copies.iterdir()) == []


def test_model_of_another_environment_is_refused_and_leaves_no_copy(folder, load, monkeypatch):
    monkeypatch.setattr(model_folder, "version", lambda name: "0.1")
    with pytest.raises(ModelError, match="and this is scikit-learn 0"):
        load(folder)
    assert list(load.copies.iterdir()) == []


def test_model_that_does_not_load_is_refused_whatever_is_raised(folder, load, monkeypatch):
    def fails(*_, **__):
        raise RecursionError

    monkeypatch.setattr(model_folder, "load", fails)

    with pytest.raises(ModelError, match="visits version 7 does not load: RecursionError"):
        load(folder)

    assert list(load.copies.iterdir()) == []


def test_model_without_a_graph_is_loaded_without_unpickling(folder, load):
    (folder / model_folder.GRAPH).unlink()
    (folder / model_folder.PICKLE).write_bytes(b"no pickle")
    model = load(folder)
    assert not model.predictor.is_compiled
    assert model.answer_at_once(request(1), JSON) is None


# Answers at once, or by the worker process.


@pytest.mark.parametrize(
    ("body", "is_quick"),
    [
        (request(1), True),
        (request(QUICK_EXPLAINED, explain=True), True),
        (request(QUICK_EXPLAINED + 1, explain=True), False),
        (split(QUICK_ROWS), True),
        (split(QUICK_ROWS + 1), False),
        (request(1) + b" " * QUICK_BYTES, False),
    ],
)
def test_only_what_takes_no_time_is_answered_at_once(pima, body, is_quick):
    assert (pima.answer_at_once(body, JSON) is not None) is is_quick


def test_what_takes_its_time_is_handed_on_and_counted_meanwhile(pima, monkeypatch):
    calls = []

    async def answer(body, kind, seconds, codings, _):
        calls.append((body, kind, seconds, codings, pima.in_flight))
        return Response(b"{}", 3)

    monkeypatch.setattr(pima.worker, "answer", answer)
    body = request(QUICK_EXPLAINED + 1, explain=True)

    codings = Codings(None, True)
    assert asyncio.run(pima.answer(body, JSON, 4.0, codings)) == Response(b"{}", 3)
    assert calls == [(body, JSON, 4.0, codings, 1)]
    assert pima.in_flight == 0


def test_answer_is_the_same_as_mlflows_own_door_gives(pima):
    frame = folders.pima().X_test
    params = {"threshold": 0.3}
    expected = ServedModel(pima.predictor).predict(frame, params)
    rows = json.loads(frame.to_json(orient="records", double_precision=15))
    response = pima.answer_at_once(text({"inputs": rows, "params": params}).encode(), JSON)
    assert response.rows == len(frame)
    pd.testing.assert_frame_equal(pd.DataFrame(predictions(response)), expected, rtol=1e-12)


def test_csv_is_answered_at_once_too(pima):
    response = pima.answer_at_once(csv(",".join(map(str, VALUES))), CSV)
    assert predictions(response) == predictions(pima.answer_at_once(request(1), JSON))


def test_past_two_classes_each_has_its_probability(three):
    rows = [{"height": height, "noise": 0, "flag": 1} for height in (1, 2)]
    for row in predictions(three.answer_at_once(text({"inputs": rows}).encode(), JSON)):
        names = [f"probability_{name}" for name in "abc"]
        assert list(row) == ["label", "probability", *names]
        each = [row[name] for name in names]
        assert sum(each) == pytest.approx(1)
        assert row["label"] == "abc"[int(np.argmax(each))]


# Tried out on its example.


def warm_up(model):
    asyncio.run(model.warm_up())
    return model.folder.exists()


def test_model_that_answers_its_example_as_it_did_in_training_is_warm(model):
    assert warm_up(model)


@pytest.mark.parametrize("gaps", [1, 8])
def test_example_may_have_gaps(tmp_path, load, gaps):
    """There may be no complete row in the whole table."""
    dataset = folders.pima()
    example = dataset.X_train.dropna().head(3).copy()
    example.iloc[:, :gaps] = np.nan
    assert warm_up(load(folders.save(tmp_path / "model", dataset, example=example)))


@pytest.mark.parametrize("scale", [1e-300, 1e300])
def test_example_keeps_its_numbers_to_the_last_digit(tmp_path, load, scale):
    """pandas writes ten decimals: of a column of dwarfs, nothing would be left."""
    dataset = make_dataset()
    X_train = dataset.X_train.assign(height=dataset.X_train["height"] * scale)
    folder = folders.save(
        tmp_path / "model", replace(dataset, X_train=X_train), "hist_gradient_boosting"
    )
    assert warm_up(load(folder))


def change_answer(folder, **cells):
    path = folder / EXAMPLE_ANSWER
    answer = json.loads(path.read_text())
    before = dict(answer["predictions"][1])
    answer["predictions"][1].update(cells)
    path.write_text(json.dumps(answer))
    return before


@pytest.mark.parametrize("difference", [1e-7, -1e-7])
def test_another_machine_may_round_otherwise(folder, load, difference):
    before = change_answer(folder)["probability"]
    change_answer(folder, probability=before + difference)
    assert warm_up(load(folder))


@pytest.mark.parametrize(
    "cells",
    [{"probability": 0.123}, {"probability": None}, {"label": 7}, {"label": True}, {"more": 1}],
)
def test_model_that_answers_its_example_otherwise_is_refused_and_closed(folder, load, cells):
    change_answer(folder, **cells)
    with pytest.raises(ModelError, match="visits version 7 answers its own example otherwise than"):
        warm_up(load(folder))
    assert list(load.copies.iterdir()) == []


def test_model_that_refuses_its_example_is_refused_with_the_reason(folder, load):
    (folder / EXAMPLE).write_text(text({"inputs": [{**PATIENT, "Age": 7}]}))
    message = "visits version 7 refuses its own example: row 1, Age: must be at least 18"
    with pytest.raises(ModelError, match=message):
        warm_up(load(folder))


def test_model_that_does_not_answer_in_time_is_refused_with_the_remedy(folder, load, monkeypatch):
    async def late(*_: object) -> None:
        raise HTTPError(504, "answer_seconds", "late; send fewer rows")

    model = load(folder)
    monkeypatch.setattr(model, "answer", late)
    with pytest.raises(ModelError, match="120 seconds; start it again when this machine is less"):
        warm_up(model)


def test_model_without_the_answer_to_its_example_is_refused_with_the_remedy(folder, load):
    (folder / EXAMPLE_ANSWER).unlink()
    with pytest.raises(ModelError, match=f"has no {EXAMPLE_ANSWER}; train and promote it again"):
        warm_up(load(folder))


# Let go.


def test_model_that_goes_takes_its_copy_with_it(folder, load):
    model = load(folder)
    model.close()
    model.close()
    assert list(load.copies.iterdir()) == []


def test_model_goes_when_the_last_request_that_it_took_has_its_answer(folder, load):
    async def run():
        model = load(folder)
        model.in_flight = 1
        going = asyncio.create_task(model.retire(30))
        await asyncio.sleep(0.15)
        was_there = model.folder.exists()
        model.in_flight = 0
        await going
        return was_there, model.folder.exists()

    assert asyncio.run(run()) == (True, False)


def test_model_does_not_wait_for_ever(folder, load):
    model = load(folder)
    model.in_flight = 1
    asyncio.run(model.retire(0.05))
    assert not model.folder.exists()


# The worker process.


def test_model_that_was_not_compiled_is_answered_by_the_worker_process(tmp_path, load):
    """As the compiled one does, also in what it refuses."""
    dataset = make_dataset()
    models = [
        load(folders.save(tmp_path / name, dataset, is_compiled=is_compiled))
        for name, is_compiled in (("here", True), ("worker", False))
    ]
    body = b'{"inputs": [{"height": 1, "noise": 0, "flag": 1}], "params": {"version": true}}'
    wrong = b'{"inputs": [{"height": 1, "noise": 0, "flag": 2}]}'

    async def run(model):
        with pytest.raises(HTTPError) as caught:
            await model.answer(wrong, JSON, 60)
        await model.warm_up()
        return caught.value, await model.answer(body, JSON, 60)

    errors, responses = zip(*(asyncio.run(run(model)) for model in models), strict=True)

    assert errors[0].args == errors[1].args
    assert errors[0].message == "row 1, flag: must be at most 1"
    (here,), (worker,) = map(predictions, responses)
    assert here == pytest.approx(worker, abs=1e-12)
    assert responses[1].rows == 1


def test_worker_process_makes_the_lines_of_the_request_log_where_they_are_asked_for(folder, load):
    model = load(folder)

    async def run():
        without = await model.answer(LARGE, JSON, 60)
        logged = LoggedRequest("r1", 1.5e9, None)
        return without, await model.answer(LARGE, JSON, 60, logged=logged)

    without, response = asyncio.run(run())

    assert without == response._replace(logged=None)
    logged = [json.loads(line) for line in response.logged.splitlines()]
    assert [line["row"] for line in logged] == list(range(1, response.rows + 1))
    answers = [
        {"label": a["predicted_label"], "probability": a["predicted_probability"]} for a in logged
    ]
    assert answers == predictions(response)


def test_worker_process_unpacks_large_bodies_and_packs_large_answers(folder, load):
    model, limit = load(folder), len(LARGE)

    async def run():
        plain = await model.answer(LARGE, JSON, 60)
        packed = await model.answer(gzip.compress(LARGE), JSON, 60, Codings(limit, True))
        with pytest.raises(HTTPError) as bomb:
            await model.answer(gzip.compress(LARGE), JSON, 60, Codings(limit - 1))
        return plain, packed, bomb.value

    plain, packed, bomb = asyncio.run(run())

    assert packed.is_gzip
    assert (gzip.decompress(packed.body), packed.rows) == (plain.body, plain.rows)
    assert (bomb.status, bomb.rule) == (413, "body_bytes")


def test_texts_are_answered_and_explained_by_the_worker_process_and_wrong_ones_named(mixed):
    row = dict.fromkeys(mixed.predictor.contract.columns) | {"note": "Größe: it never\nwas 日本"}
    frame = pd.DataFrame([row])
    asked = [
        (json.dumps({"dataframe_records": [row], "params": {"explain": True}}).encode(), JSON),
        (frame.to_csv(index=False).encode(), CSV),
        (frame.to_parquet(), PARQUET),
        (json.dumps({"inputs": [row | {"note": "x" * 1001}, row | {"note": 5}]}).encode(), JSON),
    ]

    async def answers():
        return await asyncio.gather(
            *(mixed.answer(*one, 60) for one in asked), return_exceptions=True
        )

    *answered, refused = asyncio.run(answers())

    (explained,), *others = map(predictions, answered)
    assert explained["contributions"]["note"] > 0
    assert others == [[{name: explained[name] for name in ("label", "probability")}]] * 2
    assert refused.message.splitlines() == [
        f"row {number}, note: must be a text of at most 1000 characters" for number in (1, 2)
    ]


def test_worker_process_is_started_anew_when_it_died_and_its_files_were_deleted(folder, load):
    model = load(folder)

    async def run():
        first = await model.answer(LARGE, JSON, 60)
        os.kill(model.worker._process.pid, signal.SIGKILL)
        model.worker._process.join()
        shutil.rmtree(load.copies)
        shutil.rmtree(folder)
        second = await model.answer(LARGE, JSON, 60)
        model.check_health()
        return first, second

    first, second = asyncio.run(run())

    assert first == second
    assert first.rows == QUICK_ROWS + 1


def test_worker_process_that_cannot_start_makes_the_server_unhealthy_until_it_can(
    folder, load, monkeypatch, log_lines
):
    model = load(folder)

    def no_room():
        raise OSError(errno.ENOSPC, "No space left on device")

    async def run():
        monkeypatch.setattr(model.worker, "_folder", no_room)
        with pytest.raises(HTTPError) as of_request:
            await model.answer(LARGE, JSON, 60)
        with pytest.raises(HTTPError) as of_health:
            model.check_health()
        monkeypatch.setattr(model.worker, "_folder", model.copy.whole)
        async with asyncio.timeout(60):  # nobody asks meanwhile
            while model.worker.failure is not None:
                await asyncio.sleep(0.05)
        model.check_health()
        return of_request.value, of_health.value, await model.answer(LARGE, JSON, 60)

    *errors, response = asyncio.run(run())

    assert [(error.status, error.rule, error.message) for error in errors] == [
        (503, "batch", "the process for this request does not start; try again later"),
        (503, "batch", "not every request can be answered now; try again"),  # anyone may ask
    ]
    assert response.rows == QUICK_ROWS + 1
    failed, mended = log_lines()
    assert (failed["event"], mended["event"]) == ("batch_failed", "batch_mended")
    assert "No space left" in failed["message"]


def test_worker_process_that_is_slow_to_start_is_not_ended_by_requests_that_time_out(
    folder, load, monkeypatch
):
    model = load(folder)
    starts = []

    def slow():
        starts.append(time.monotonic())
        time.sleep(0.5)
        return model.copy.whole()

    monkeypatch.setattr(model.worker, "_folder", slow)

    async def run():
        for _ in range(2):
            with pytest.raises(HTTPError, match="504"):
                await model.answer(LARGE, JSON, 0.1)
        return await model.answer(LARGE, JSON, 60)

    assert asyncio.run(run()).rows == QUICK_ROWS + 1
    assert len(starts) == 1
