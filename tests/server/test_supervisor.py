"""When workers are replaced, waited for and given up: made up ones, then real ones."""

import os
import signal
import socket
import threading
import time
from functools import partial
from pathlib import Path

import pytest
import uvicorn

from pipeline.errors import ModelError
from pipeline.server import supervisor
from pipeline.server.supervisor import Supervisor


class Worker:
    """It is up after some looks and dies after some more; then it may be silent."""

    pid = None
    exitcode = 7

    def __init__(self, up=1, life=10**9, silence=0.0):
        self.looks = 0
        self.up, self.life, self.silent = up, life, silence
        self.process = self
        self.is_killed = self.is_terminated = False

    def start(self):
        pass

    def silence(self):
        self.looks += 1
        return self.silent if self.is_up else 0.0

    @property
    def is_up(self):
        return self.looks >= self.up

    def terminate(self):
        self.is_terminated = True
        self.life = 0

    def is_alive(self):
        return self.looks < self.life and not self.is_killed

    def kill(self):
        self.is_killed = True

    def join(self, timeout=None):
        pass


@pytest.fixture(autouse=True)
def _signals():
    """As they were before."""
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    handlers = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, handlers, strict=True):
        signal.signal(number, handler)


@pytest.fixture
def run(monkeypatch, events):
    """Runs with workers that come one after the other, until there are no more to come."""
    monkeypatch.setattr(supervisor, "CHECK_SECONDS", 0.005)
    monkeypatch.setattr(supervisor, "LONGEST_PAUSE", 0.01)

    def run(count, *workers):
        coming = list(workers)
        config = uvicorn.Config("none", workers=count, timeout_worker_healthcheck=60)
        running = Supervisor(config, [])

        def next_worker(*_):
            worker = coming.pop(0)
            if not coming:
                threading.Timer(0.2, running._is_stopping.set).start()
            return worker

        monkeypatch.setattr(supervisor, "Worker", next_worker)
        running.run()
        return events()

    return run


def test_worker_that_dies_is_replaced_and_the_others_stay(run):
    first, dying, second = Worker(), Worker(life=5), Worker()
    assert run(2, first, dying, second) == ["worker_died"]
    assert (first.is_terminated, second.is_terminated) == (True, True)


def test_worker_that_cannot_start_is_tried_again_as_long_as_another_is_up(run):
    failing = [Worker(up=9, life=1) for _ in range(20)]
    events = run(2, Worker(), *failing, Worker())
    assert events == ["worker_not_started"] * 20


def test_crash_loop_ends_with_the_reason(run):
    failing = [Worker(up=9, life=1) for _ in range(20)]
    with pytest.raises(ModelError, match="a worker ended 5 times before it was ready, at last"):
        run(2, *failing)


def test_failed_starts_are_counted_anew_once_a_worker_was_up(run):
    failing = [Worker(up=9, life=1) for _ in range(4)]
    events = run(1, *failing, Worker(life=5), *failing[:4], Worker())
    assert events == ["worker_not_started"] * 4 + ["worker_died"] + ["worker_not_started"] * 4


def test_worker_that_loads_for_long_is_not_ended(run):
    slow = Worker(up=10, silence=0.0)
    assert run(1, slow) == []
    assert not slow.is_killed


def test_worker_that_was_up_and_is_silent_for_too_long_is_replaced(run):
    silent, second = Worker(silence=61.0), Worker(silence=59.0)
    assert run(1, silent, second) == ["worker_silent", "worker_died"]
    assert silent.is_killed
    assert not second.is_killed


# Real ones.


async def application(scope, receive, send):
    """It lives, and answers with its process."""
    if scope["type"] == "lifespan":
        for event in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{event}.complete"})
        return
    pid = str(os.getpid()).encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": pid})


def slow_to_import():
    time.sleep(1.5)
    return application


def deaf(ready):
    """It neither hears SIGTERM nor ends."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    Path(ready).touch()
    time.sleep(600)


@pytest.fixture
def start(monkeypatch):
    """Starts a supervisor in a thread: its workers make the application by the factory."""
    monkeypatch.setattr(signal, "signal", lambda *_: signal.SIG_DFL)
    monkeypatch.setattr(supervisor, "MARGIN", 0.2)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))

        def start(factory, **settings):
            settings |= {"factory": True, "workers": 1, "log_config": None}
            config = uvicorn.Config(factory, timeout_graceful_shutdown=1, **settings)
            running = Supervisor(config, [listener])
            running.thread = threading.Thread(target=running.run)
            running.thread.start()
            running.address = listener.getsockname()
            return running

        yield start


def stop(running):
    running._is_stopping.set()
    running.thread.join(60)
    assert not running.thread.is_alive()


def wait_for(condition):
    until = time.monotonic() + 60
    while not condition() and time.monotonic() < until:
        time.sleep(0.05)


def test_real_worker_may_import_for_longer_than_it_may_be_silent(start):
    running = start(slow_to_import, timeout_worker_healthcheck=1)
    (slot,) = running.slots
    try:
        wait_for(lambda: slot.worker and slot.worker.is_up)
        with socket.create_connection(running.address, timeout=30) as client:
            client.sendall(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
            answer = client.makefile("rb").read()
        assert str(slot.worker.pid).encode() in answer
        assert slot.failed_starts == 0
    finally:
        stop(running)


def test_real_worker_that_does_not_end_is_killed_after_the_grace(start, tmp_path):
    running = start(partial(deaf, str(tmp_path / "ready")))
    wait_for((tmp_path / "ready").exists)
    process = running.slots[0].worker.process
    stop(running)
    assert process.exitcode == -signal.SIGKILL
