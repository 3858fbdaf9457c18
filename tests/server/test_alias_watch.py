"""The polls of the champion's alias: whatever the registry does, the server goes on."""

import asyncio
import os
import threading

import pytest
from mlflow.exceptions import MlflowException
from requests.exceptions import ConnectionError as Unreachable

from pipeline.errors import ModelError
from pipeline.server import alias_watch
from pipeline.server.alias_watch import RETRIES, TIMEOUT, AliasWatch

LOST_AND_REACHED = ["registry_lost", "registry_reached"]


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    for name in (TIMEOUT, RETRIES):
        monkeypatch.setenv(name, "1")
        monkeypatch.delenv(name)


@pytest.fixture
def registry(monkeypatch):
    """What it answers, one after the other: errors are raised."""
    answers = []

    def champion_version(name):
        assert name == "visits"
        answer = answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer() if callable(answer) else answer

    monkeypatch.setattr(alias_watch.registry, "champion_version", champion_version)
    return answers


@pytest.fixture
def release():
    """What calls that hang wait for."""
    release = threading.Event()
    yield release
    release.set()


def poll(alias, times):
    async def run():
        return [await alias.poll() for _ in range(times)]

    return asyncio.run(run())


def test_champion_is_its_version_or_none(registry, events):
    registry += ["7", None, "8"]
    assert poll(AliasWatch("visits"), 3) == ["7", None, "8"]
    assert events() == []


@pytest.mark.parametrize(
    "fault",
    [
        *(Unreachable("refused"), MlflowException("INTERNAL"), TimeoutError()),
        *(KeyError("model_version"), SystemExit(1), RecursionError(), "<html>sign in</html>"),
    ],
    ids=lambda fault: type(fault).__name__,
)
def test_whatever_a_registry_raises_or_answers_it_is_not_reached(registry, events, fault):
    registry += ["7", fault, fault, "8"]
    assert poll(AliasWatch("visits"), 4) == ["7", None, None, "8"]
    assert events() == LOST_AND_REACHED


def test_registry_that_hangs_is_given_up_and_asked_again(registry, release, events, monkeypatch):
    alias = AliasWatch("visits")
    registry += [lambda: release.wait(20)] * 2 + ["8"]
    monkeypatch.setattr(alias_watch, "POLL_SECONDS", 0.05)
    assert poll(alias, 2) == [None, None]
    monkeypatch.setattr(alias_watch, "POLL_SECONDS", 20)
    assert poll(alias, 1) == ["8"]
    assert events() == LOST_AND_REACHED


def test_polls_that_hang_do_not_pile_up(registry, release, monkeypatch):
    monkeypatch.setattr(alias_watch, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(alias_watch, "MAX_HANGING", 2)
    registry += [lambda: release.wait(20)] * 2 + ["8"]
    alias = AliasWatch("visits")

    assert poll(alias, 4) == [None] * 4
    assert registry == ["8"]
    release.set()
    while any(not future.done() for future in alias._hanging):
        pass
    monkeypatch.setattr(alias_watch, "POLL_SECONDS", 20)
    assert poll(alias, 1) == ["8"]


def test_poll_is_short_and_not_tried_again_by_mlflow(registry):
    settings = []
    registry += [lambda: settings.append((os.environ[TIMEOUT], os.environ[RETRIES]))]
    poll(AliasWatch("visits"), 1)
    assert settings == [("5", "0")]


@pytest.mark.parametrize(("given", "used"), [(None, "30"), ("120", "120"), ("2", "2")])
def test_fetching_a_version_may_take_as_long_as_the_user_says(monkeypatch, given, used):
    if given is not None:
        monkeypatch.setenv(TIMEOUT, given)
    alias = AliasWatch("visits")
    timeout = asyncio.run(alias.fetch(lambda: os.environ[TIMEOUT]))
    assert (timeout, os.environ[TIMEOUT]) == (used, "5")


def test_version_that_cannot_be_fetched_is_logged_once_until_it_can(registry, events):
    registry += ["8"] * 3
    alias = AliasWatch("visits")

    def fails():
        raise Unreachable("refused")

    async def run():
        fetched = []
        for function in (fails, fails, lambda: "model"):
            await alias.poll()
            fetched.append(await alias.fetch(function))
        return fetched

    assert asyncio.run(run()) == [None, None, "model"]
    assert events() == LOST_AND_REACHED


def test_fault_of_a_fetched_model_is_not_one_of_the_registry(events):
    def fails():
        raise ModelError("model.pkl was changed")

    with pytest.raises(ModelError, match=r"model\.pkl was changed"):
        asyncio.run(AliasWatch("visits").fetch(fails))
    assert events() == []
