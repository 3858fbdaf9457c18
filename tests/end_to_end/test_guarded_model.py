"""The production door never serves the wrong model, and follows the champion."""

import json
import os
import shutil
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from pipeline.inference import manifest
from tests.support.doors import (
    PATIENT,
    Door,
    children,
    end_of_door,
    eventually,
    free_port,
    open_door,
)

NAME = "followed"
Change = Callable[[Path], object]


class Registry:
    """A registered model of the tests' own, in the project's store."""

    def __init__(self, project: Path, folder: Path) -> None:
        self.folder = folder
        self.client = MlflowClient(f"sqlite:///{project}/mlflow.db")
        champion = self.client.get_model_version_by_alias("pima-diabetes", "champion")
        self.client.create_registered_model(NAME)
        model = champion.source.removeprefix("models:/")
        self.files = next(project.glob(f"mlruns/*/models/{model}/artifacts"))

    def add(self, before: Change | None = None, after: Change | None = None) -> str:
        """A version that is changed before or after its manifest is written."""
        copy = self.folder / str(time.time_ns())
        shutil.copytree(self.files, copy, ignore=shutil.ignore_patterns(*manifest.IGNORED))
        if before:
            before(copy)
        tags = manifest.to_tags(manifest.of(copy))
        if after:
            after(copy)
        version = self.client.create_model_version(NAME, source=str(copy), tags=tags)
        return str(version.version)

    def promote(self, version: str) -> None:
        self.client.set_registered_model_alias(NAME, "champion", version)


@pytest.fixture(scope="module")
def registry(main_job: object, project: Path, tmp_path_factory: pytest.TempPathFactory) -> Registry:
    return Registry(project, tmp_path_factory.mktemp("versions"))


@pytest.fixture(scope="module")
def followed(registry: Registry, project: Path) -> Iterator[Door]:
    registry.promote(registry.add())
    with open_door(project, f"--registry.model={NAME}", "--serve.follow=0.2") as door:
        yield door


def flip_a_bit(name: str) -> Change:
    def flip(folder: Path) -> None:
        content = bytearray((folder / name).read_bytes())
        content[len(content) // 2] ^= 1
        (folder / name).write_bytes(content)

    return flip


def link(folder: Path) -> None:
    (folder / "contract.json").rename(folder.parent / f"{folder.name}.json")
    (folder / "contract.json").symlink_to(folder.parent / f"{folder.name}.json")


def another_example(folder: Path) -> None:
    path = folder / "answer_example.json"
    answers = json.loads(path.read_text())
    answers["predictions"][0]["probability"] += 1e-4
    path.write_text(json.dumps(answers))


def other_versions(folder: Path) -> None:
    path = folder / "served.json"
    served = json.loads(path.read_text())
    served["trained_with"]["scikit-learn"] = "1.2.3"
    path.write_text(json.dumps(served))


REFUSED: dict[str, tuple[Change | None, Change | None, str]] = {
    "changed pickle": (None, flip_a_bit("model.pkl"), "model.pkl was changed"),
    "changed graph": (None, flip_a_bit("compiled.onnx"), "compiled.onnx was changed"),
    "added file": (None, lambda folder: (folder / "os.py").touch(), "os.py was added"),
    "missing file": (
        None,
        lambda folder: (folder / "MLmodel.bak").touch(),
        "MLmodel.bak was added",
    ),
    "link": (None, link, "contract.json is no plain file"),
    "other answers": (another_example, None, "answers its own example otherwise"),
    "other scikit-learn": (other_versions, None, "trained with scikit-learn 1.2.3"),
}
REFUSED["missing file"] = (
    None,
    lambda folder: (folder / "conda.yaml").unlink(),
    "conda.yaml is missing",
)


@pytest.mark.parametrize("case", REFUSED)
def test_version_that_is_not_right_is_refused_and_the_old_one_stays(
    followed: Door, registry: Registry, case: str
) -> None:
    before, after, words = REFUSED[case]
    version = registry.add(before, after)
    stays = followed.get("/model").json["version"]
    registry.promote(version)
    line = followed.wait_for("model_refused", version=version)
    assert words in line["message"]
    assert followed.predict()["label"] == 1
    assert followed.get("/ping").headers["x-model-version"] == stays


def test_champion_is_followed_without_a_failed_request(followed: Door, registry: Registry) -> None:
    answers: Counter[tuple[int, str]] = Counter()
    until = threading.Event()

    def ask() -> None:
        while not until.is_set():
            reply = followed.post({"inputs": [PATIENT]})
            answers[reply.status, reply.headers["x-model-version"]] += 1

    askers = [threading.Thread(target=ask) for _ in range(4)]
    for asker in askers:
        asker.start()
    versions = [registry.add() for _ in range(3)]
    for version in versions:
        registry.promote(version)
        followed.wait_for("champion_changed", version=version)
    time.sleep(0.2)
    until.set()
    for asker in askers:
        asker.join()
    assert {status for status, _ in answers} == {200}
    assert {version for _, version in answers} >= set(versions[1:])
    assert followed.get("/model").json["version"] == versions[-1]


def test_large_request_ends_with_the_model_that_it_began_with(
    followed: Door, registry: Registry
) -> None:
    first = registry.add()
    registry.promote(first)
    followed.wait_for("champion_changed", version=first)
    replies = []
    rows = {"inputs": {name: [value] * 90_000 for name, value in PATIENT.items()}}
    sender = threading.Thread(target=lambda: replies.append(followed.post(rows)))
    sender.start()
    second = registry.add()
    registry.promote(second)
    sender.join()
    followed.wait_for("champion_changed", version=second)
    assert replies[0].status == 200
    assert len(replies[0].json["predictions"]) == 90_000
    assert replies[0].headers["x-model-version"] in (first, second)


def test_worker_that_is_replaced_does_not_fall_for_a_champion_that_is_refused(
    registry: Registry, project: Path
) -> None:
    good = registry.add()
    registry.promote(good)
    options = [f"--registry.model={NAME}", "--serve.follow=0.2", "--workers=2"]
    with open_door(project, *options) as door:
        assert eventually(lambda: len(events(door, "ready")) == 2)
        bad = registry.add(after=flip_a_bit("model.pkl"))
        registry.promote(bad)
        assert eventually(lambda: len(events(door, "model_refused")) == 2)
        os.kill(children(door.process.pid)[0], signal.SIGKILL)
        assert eventually(lambda: len(events(door, "ready")) == 3)
        assert {line["version"] for line in events(door, "ready")} == {good}
        assert door.get("/model").json["version"] == good
    registry.promote(good)


def events(door: Door, name: str) -> list[dict[str, Any]]:
    return [line for line in door.lines() if line["event"] == name]


def test_version_that_was_asked_for_answers_whoever_is_champion(
    registry: Registry, project: Path
) -> None:
    asked, champion = registry.add(), registry.add()
    registry.promote(champion)
    options = (f"--registry.model={NAME}", f"--serve.version={asked}", "--serve.follow=0.1")
    with open_door(project, *options) as door:
        registry.promote(registry.add())
        time.sleep(1)  # ten looks, if it looked
        assert door.get("/model").json["version"] == asked


def test_server_does_not_start_with_a_model_that_was_changed(
    registry: Registry, project: Path
) -> None:
    name = "changed"
    registry.client.create_registered_model(name)
    version = registry.add(after=flip_a_bit("model.pkl"))
    original = registry.client.get_model_version(NAME, version)
    copied = registry.client.create_model_version(name, source=original.source, tags=original.tags)
    registry.client.set_registered_model_alias(name, "champion", copied.version)
    done = end_of_door(project, free_port(), f"--registry.model={name}", "--workers", "2")
    assert done.returncode == 2
    assert done.stderr.count("error: ") == 1
    assert "model.pkl was changed" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_plain_door_refuses_it_too_before_it_is_unpickled(
    registry: Registry, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = registry.add(after=flip_a_bit("model.pkl"))
    before = mlflow.get_tracking_uri()
    monkeypatch.chdir(project)
    mlflow.set_tracking_uri(f"sqlite:///{project}/mlflow.db")
    try:
        with pytest.raises(MlflowException, match=r"model\.pkl was changed"):
            mlflow.pyfunc.load_model(f"models:/{NAME}/{version}")
    finally:
        mlflow.set_tracking_uri(before)
