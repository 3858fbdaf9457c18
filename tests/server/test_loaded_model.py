"""A model in a folder, as the server takes it in, tries it out and lets it go."""

import asyncio
import errno
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
from pipeline.results import Version
from pipeline.server import telemetry
from pipeline.server.http_error import HTTPError
from pipeline.server.loaded_model import EXAMPLE, EXAMPLE_ANSWER, LoadedModel
from pipeline.server.response import QUICK_BYTES, QUICK_EXPLAINED, QUICK_ROWS, Response
from tests.support import model_folders as folders
from tests.support.builders import make_dataset
from tests.support.pima import PATIENT, VALUES, csv, text

JSON, CSV = "application/json", "text/csv"


@pytest.fixture
def folder(pima_folder, tmp_path):
    """A copy to be changed."""
    return shutil.copytree(pima_folder, tmp_path / "model")


@pytest.fixture
def take_in(monkeypatch, tmp_path):
    """Serves a folder until the test ends, from a copy in a folder of the test's own."""
    copies = tmp_path / "copies"
    copies.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(copies))
    taken = []

    def take_in(folder):
        taken.append(folders.serve(folder))
        return taken[-1]

    take_in.copies = copies
    yield take_in
    for served in taken:
        served.close()


def request(rows, **params):
    return text({"dataframe_records": [PATIENT] * rows, "params": params}).encode()


# Taken in.


def test_model_is_served_from_a_copy_of_just_its_files(folder, take_in):
    (folder / "registered_model_meta").write_text("model_name: visits")

    served = take_in(folder)

    copied = [path for path in served.folder.rglob("*") if path.is_file()]
    assert {path.relative_to(served.folder).as_posix() for path in copied} == set(
        served.version.manifest
    )
    assert served.folder.parent == take_in.copies
    shutil.rmtree(folder)
    assert served.answer_at_once(request(1), JSON) is not None


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda folder: (folder / "model.pkl").write_bytes(b"no pickle"), "model.pkl was changed"),
        (lambda folder: (folder / "added.py").touch(), "added.py was added"),
        (lambda folder: (folder / "served.json").unlink(), "served.json is missing"),
    ],
)
def test_model_that_is_not_what_was_promoted_is_refused_and_leaves_no_copy(
    folder, take_in, change, told
):
    version = Version("visits", "7", "r1", {}, manifest.of(folder))
    change(folder)

    with pytest.raises(ModelError, match=f"the model's files are not what was logged: {told}"):
        LoadedModel(version, folder, 10)

    assert list(take_in.copies.iterdir()) == []


def test_model_of_another_environment_is_refused_and_leaves_no_copy(folder, take_in, monkeypatch):
    monkeypatch.setattr(model_folder, "version", lambda name: "0.1")

    with pytest.raises(ModelError, match="and this is scikit-learn 0"):
        take_in(folder)

    assert list(take_in.copies.iterdir()) == []


def test_model_without_a_graph_is_taken_in_without_unpickling(folder, take_in):
    (folder / model_folder.GRAPH).unlink()
    (folder / model_folder.PICKLE).write_bytes(b"no pickle")

    served = take_in(folder)

    assert not served.predictor.is_compiled
    assert served.answer_at_once(request(1), JSON) is None


# Answers at once, or beside.


@pytest.mark.parametrize(
    ("body", "is_quick"),
    [
        (request(1), True),
        (request(QUICK_EXPLAINED, explain=True), True),
        (request(QUICK_EXPLAINED + 1, explain=True), False),
        (
            text({"dataframe_split": {"columns": list(PATIENT), "data": [VALUES] * QUICK_ROWS}}),
            True,
        ),
        (
            text(
                {"dataframe_split": {"columns": list(PATIENT), "data": [VALUES] * (QUICK_ROWS + 1)}}
            ),
            False,
        ),
        (request(1) + b" " * QUICK_BYTES, False),
    ],
)
def test_only_what_takes_no_time_is_answered_at_once(pima, body, is_quick):
    found = pima.answer_at_once(body if isinstance(body, bytes) else body.encode(), JSON)

    assert (found is not None) is is_quick


def test_what_takes_its_time_is_handed_on_and_counted_meanwhile(pima, monkeypatch):
    calls = []

    async def beside(body, kind, seconds):
        calls.append((body, kind, seconds, pima.in_flight))
        return Response(b"{}", 3)

    monkeypatch.setattr(pima.worker, "answer", beside)
    body = request(QUICK_EXPLAINED + 1, explain=True)

    assert asyncio.run(pima.answer(body, JSON, 4.0)) == Response(b"{}", 3)
    assert calls == [(body, JSON, 4.0, 1)]
    assert pima.in_flight == 0


def test_answer_is_the_same_as_mlflows_own_door_gives(pima):
    from pipeline.inference.mlflow_flavor import ServedModel

    frame = folders.pima().X_test
    plain = ServedModel(pima.predictor).predict(frame, {"version": True, "threshold": 0.3})
    body = json.dumps(
        {
            "dataframe_records": json.loads(frame.to_json(orient="records", double_precision=15)),
            "params": {"version": True, "threshold": 0.3},
        }
    )

    found = pima.answer_at_once(body.encode(), JSON)

    assert found.rows == len(frame)
    answered = pd.DataFrame(json.loads(found.body)["predictions"])
    pd.testing.assert_frame_equal(answered, plain, rtol=1e-12)


def test_csv_is_answered_at_once_too(pima):
    found = pima.answer_at_once(csv(",".join(map(str, VALUES))), CSV)

    expected = pima.answer_at_once(request(1), JSON)
    assert json.loads(found.body) == json.loads(expected.body)


def test_past_two_classes_each_has_its_probability(three):
    body = (
        b'{"inputs": [{"height": 1, "noise": 0, "flag": 1}, {"height": 2, "noise": 0, "flag": 0}]}'
    )

    found = json.loads(three.answer_at_once(body, JSON).body)["predictions"]

    assert list(found[0]) == [
        *("label", "probability", "probability_a", "probability_b", "probability_c")
    ]
    for row in found:
        each = [row[f"probability_{name}"] for name in "abc"]
        assert sum(each) == pytest.approx(1)
        assert row["label"] == "abc"[int(np.argmax(each))]


# Tried out on its example.


def test_model_that_answers_its_example_as_it_did_in_training_is_warm(pima, three):
    asyncio.run(pima.warm_up())
    asyncio.run(three.warm_up())


@pytest.mark.parametrize("gaps", [1, 8])
def test_example_may_have_gaps(tmp_path, take_in, gaps):
    """There may be no complete row in the whole table."""
    dataset = folders.pima()
    example = dataset.X_train.dropna().head(3).copy()
    example.iloc[:, :gaps] = np.nan
    served = take_in(folders.save(tmp_path / "model", dataset, example=example))

    asyncio.run(served.warm_up())


@pytest.mark.parametrize("scale", [1e-12, 1e-300, 1e300])
def test_example_keeps_its_numbers_to_the_last_digit(tmp_path, take_in, scale):
    """pandas writes ten decimals: of a column of dwarfs, nothing would be left."""
    dataset = make_dataset()
    small = replace(
        dataset, X_train=dataset.X_train.assign(height=dataset.X_train["height"] * scale)
    )
    served = take_in(folders.save(tmp_path / "model", small, "hist_gradient_boosting"))

    asyncio.run(served.warm_up())


def change(folder, **cells):
    path = folder / EXAMPLE_ANSWER
    told = json.loads(path.read_text())
    told["predictions"][1].update(cells)
    path.write_text(json.dumps(told))


@pytest.mark.parametrize("by", [1e-7, -1e-7])
def test_another_machine_may_round_otherwise(folder, take_in, by):
    before = json.loads((folder / EXAMPLE_ANSWER).read_text())["predictions"][1]["probability"]
    change(folder, probability=before + by)

    asyncio.run(take_in(folder).warm_up())


@pytest.mark.parametrize(
    "cells",
    [{"probability": 0.123}, {"probability": None}, {"label": 7}, {"label": True}, {"more": 1}],
)
def test_model_that_answers_its_example_otherwise_is_refused(folder, take_in, cells):
    change(folder, **cells)

    with pytest.raises(ModelError, match="visits version 7 answers its own example otherwise than"):
        asyncio.run(take_in(folder).warm_up())


def test_model_that_refuses_its_example_is_refused_with_the_reason(folder, take_in):
    (folder / EXAMPLE).write_text(text({"inputs": [{**PATIENT, "Age": 7}]}))

    with pytest.raises(
        ModelError,
        match="visits version 7 refuses its own example: row 1, Age: must be at least 18",
    ):
        asyncio.run(take_in(folder).warm_up())


def test_model_without_the_answer_to_its_example_is_refused_with_the_remedy(folder, take_in):
    (folder / EXAMPLE_ANSWER).unlink()

    with pytest.raises(ModelError, match=f"has no {EXAMPLE_ANSWER}; train and promote it again"):
        asyncio.run(take_in(folder).warm_up())


# Let go.


def test_model_that_goes_takes_its_copy_with_it(folder, take_in):
    served = take_in(folder)

    served.close()
    served.close()

    assert list(take_in.copies.iterdir()) == []


def test_model_goes_when_the_last_request_that_it_took_has_its_answer(folder, take_in):
    async def run():
        served = take_in(folder)
        served.in_flight = 1
        going = asyncio.create_task(served.retire(30))
        await asyncio.sleep(0.15)
        was_there = served.folder.exists()
        served.in_flight = 0
        await going
        return was_there, served.folder.exists()

    assert asyncio.run(run()) == (True, False)


def test_model_does_not_wait_for_ever(folder, take_in):
    served = take_in(folder)
    served.in_flight = 1

    asyncio.run(served.retire(0.05))

    assert not served.folder.exists()


# The process beside.


def test_model_that_was_not_compiled_answers_beside(tmp_path, take_in):
    """As the compiled one does, also in what it refuses."""
    dataset = make_dataset()
    here = take_in(folders.save(tmp_path / "here", dataset, "extra_trees"))
    beside = take_in(folders.save(tmp_path / "beside", dataset, "extra_trees", is_compiled=False))
    body = b'{"inputs": [{"height": 1, "noise": 0, "flag": 1}], "params": {"version": true}}'
    wrong = b'{"inputs": [{"height": 1, "noise": 0, "flag": 2}]}'

    async def run(served):
        with pytest.raises(HTTPError) as refused:
            await served.answer(wrong, JSON, 60)
        await served.warm_up()
        return refused.value, await served.answer(body, JSON, 60)

    refusals, answers = zip(*(asyncio.run(run(served)) for served in (here, beside)), strict=True)

    assert refusals[0] == refusals[1]
    assert refusals[0].message == "row 1, flag: must be at most 1"
    (one,), (other,) = (json.loads(answer.body)["predictions"] for answer in answers)
    assert one == pytest.approx(other, abs=1e-12)
    assert answers[1].rows == 1


@pytest.fixture
def large():
    """A request that the process beside answers."""
    return request(QUICK_ROWS + 1)


def test_process_beside_is_started_anew_when_it_died_and_its_files_were_deleted(
    folder, take_in, large
):
    served = take_in(folder)

    async def run():
        first = await served.answer(large, JSON, 60)
        os.kill(served.worker._process.pid, signal.SIGKILL)
        served.worker._process.join()
        shutil.rmtree(take_in.copies)
        shutil.rmtree(folder)
        second = await served.answer(large, JSON, 60)
        served.check_health()
        return first, second

    first, second = asyncio.run(run())

    assert first == second
    assert first.rows == QUICK_ROWS + 1


def test_process_beside_that_cannot_start_makes_the_server_unhealthy_until_it_can(
    folder, take_in, large, monkeypatch, capfd
):
    served = take_in(folder)
    whole = served.copy.whole

    def no_room():
        raise OSError(errno.ENOSPC, "No space left on device")

    async def run():
        monkeypatch.setattr(served.worker, "_folder", no_room)
        refusals = []
        for ask in (lambda: served.answer(large, JSON, 60), as_coroutine(served.check_health)):
            with pytest.raises(HTTPError) as refused:
                await ask()
            refusals.append(refused.value)
        monkeypatch.setattr(served.worker, "_folder", whole)
        async with asyncio.timeout(60):  # nobody asks meanwhile
            while served.worker.failure is not None:
                await asyncio.sleep(0.05)
        served.check_health()
        return refusals, await served.answer(large, JSON, 60)

    (first, second), answered = asyncio.run(run())

    assert (first.status, first.rule, first.message) == (
        *(503, "batch"),
        "the process for this request does not start; try again later",
    )
    assert (second.status, second.rule, second.message) == (
        *(503, "batch"),
        "not every request can be answered now; try again",  # anyone may ask
    )
    assert answered.rows == QUICK_ROWS + 1
    telemetry.flush()
    failed, mended = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert (failed["event"], mended["event"]) == ("batch_failed", "batch_mended")
    assert "No space left" in failed["message"]


def as_coroutine(function):
    async def call():
        function()

    return call


def test_process_beside_that_is_slow_to_start_is_not_ended_by_requests_that_time_out(
    folder, take_in, large, monkeypatch
):
    served = take_in(folder)
    whole, starts = served.copy.whole, []

    def slow():
        starts.append(time.monotonic())
        time.sleep(0.5)
        return whole()

    monkeypatch.setattr(served.worker, "_folder", slow)

    async def run():
        for _ in range(2):
            with pytest.raises(HTTPError, match="504"):
                await served.answer(large, JSON, 0.1)
        return await served.answer(large, JSON, 60)

    assert asyncio.run(run()).rows == QUICK_ROWS + 1
    assert len(starts) == 1


def test_model_that_does_not_load_is_refused_whatever_is_raised(folder, take_in, monkeypatch):
    def load(*_, **__):
        raise RecursionError

    monkeypatch.setattr(model_folder, "load", load)

    with pytest.raises(ModelError, match="visits version 7 does not load: RecursionError"):
        take_in(folder)

    assert list(take_in.copies.iterdir()) == []
