"""The ASGI application: MLflow's scoring application behind the guard, following the champion."""

import asyncio
import gc
import multiprocessing
import os
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from mlflow.models import Model
from mlflow.pyfunc import PyFuncModel, scoring_server
from starlette.types import Receive, Scope, Send

from pipeline import model_files, registry
from pipeline.config import Config
from pipeline.errors import PipelineError
from pipeline.server import pages, seen
from pipeline.server.guard import Guard
from pipeline.server.keys import Keys
from pipeline.server.served import Served
from pipeline.serving import ServedModel

TRY_AGAIN = 60.0  # seconds until a version that was refused is tried once more


class Application:
    """Answers HTTP and uvicorn's lifespan events."""

    def __init__(
        self, config: Config, keys: Keys, served: Served | None = None, good: Path | None = None
    ) -> None:
        """Without `served` it loads the champion when it starts, or else what `good` names.

        `good` is a file in which workers keep the last version that proved right: a worker that
        takes the place of another must not fall for a champion that the others refuse.
        """
        self.config = config
        self.keys = keys
        self.good = good
        self._first = served
        self._background: set[asyncio.Task[Any]] = set()

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """An ASGI application; uvicorn is told to take no websockets."""
        return (self._live if scope["type"] == "lifespan" else self.guard)(scope, receive, send)

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        try:
            served = self._first or await self._start()
        except PipelineError:
            await send({"type": "lifespan.startup.failed", "message": ""})
            return
        serve = self.config.serve
        self.guard = Guard(serve, self.keys, served, scoring_application(served, serve.docs))
        scope["state"]["guard"] = self.guard
        _freeze()
        _end_with_parent()
        seen.write_behind(asyncio.get_running_loop())
        self._show(served, "ready", host=serve.host, port=serve.port)
        if serve.follow is not None and serve.version is None:
            self._spawn(self._follow(serve.follow))
        await send({"type": "lifespan.startup.complete"})
        await receive()
        for task in self._background:
            task.cancel()
        self.guard.served.close()
        seen.write_behind(None)
        await send({"type": "lifespan.shutdown.complete"})

    async def _start(self) -> Served:
        """The champion, or else the last version that was good. Raises PipelineError."""
        try:
            return await _load_warm(self.config)
        except PipelineError as error:
            seen.log("model_refused", message=str(error))
            if self.good is None or not self.good.exists():
                raise
            return await _load_warm(self.config, self.good.read_text())

    async def _follow(self, seconds: float) -> None:
        """Looks at the alias again and again, and brings a new champion in."""
        refused: dict[str, float] = {}
        is_reached = True
        name = self.config.registry.model
        while True:
            await asyncio.sleep(seconds)
            try:
                version = await asyncio.to_thread(registry.champion_version, name)
            except Exception as error:  # whatever a registry raises: the champion that is stays
                if is_reached:
                    seen.log("registry_lost", message=f"{type(error).__name__}")
                is_reached = False
                continue
            is_reached = True
            if version is None or version == self.guard.served.version.version:
                continue
            if time.monotonic() - refused.get(version, -TRY_AGAIN) < TRY_AGAIN:
                continue
            try:
                self._bring_in(await _load_warm(self.config))
            except Exception as error:
                refused[version] = time.monotonic()
                stays = self.guard.served.version.version
                told = str(error) if isinstance(error, PipelineError) else type(error).__name__
                seen.log("model_refused", version=version, stays=stays, message=told)

    def _bring_in(self, served: Served) -> None:
        application = scoring_application(served, self.config.serve.docs)
        old = self.guard.served
        self.guard.served, self.guard.application = served, application
        _freeze()
        self._show(served, "champion_changed")
        self._spawn(old.retire(self.config.serve.limits.answer_seconds))

    def _show(self, served: Served, event: str, **fields: Any) -> None:
        version = served.version
        seen.model.labels(version.name).set(int(version.version))
        if self.good is not None:
            self.good.write_text(version.version)
        compiled = served.scorer.is_compiled
        known = {"model": version.name, "version": version.version, "compiled": compiled}
        seen.log(event, **known, **fields)

    def _spawn(self, coroutine: Any) -> None:
        task = asyncio.create_task(coroutine)
        self._background.add(task)
        task.add_done_callback(self._background.discard)


def load(config: Config, number: str | None = None) -> Served:
    """The version of that number, or of `serve.version`, or the champion; verified.

    Raises RegistryError, ModelError.
    """
    version, address = registry.promoted(config.registry.model, number or config.serve.version)
    with model_files.at(address) as folder:
        return Served(version, folder, config.serve.limits.rows)


async def _load_warm(config: Config, number: str | None = None) -> Served:
    served = await asyncio.to_thread(load, config, number)
    try:
        await served.warm_up()
    except BaseException:
        served.close()
        raise
    return served


def in_a_worker(config: Config, keys: Keys, good: Path) -> Application:
    """The application of one of several workers, which each load the model themselves."""
    seen.log_records()
    return Application(config, keys, good=good)


def scoring_application(served: Served, docs: bool) -> FastAPI:
    """MLflow's own, over the same model, with the pages of this server."""
    model = PyFuncModel(Model.load(str(served.folder)), ServedModel(served.scorer))
    application: FastAPI = scoring_server.init(model)
    pages.add(application, served, docs)
    return application


def _freeze() -> None:
    """What was loaded stays: out of the collector's sight, it no longer delays answers."""
    gc.collect()
    gc.freeze()


def _end_with_parent() -> None:
    """A worker whose parent was killed ends as if it had been told to, and frees the port."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        loop = asyncio.get_running_loop()
        stop: Callable[[], None] = lambda: _stop(loop, parent.sentinel)  # noqa: E731
        loop.add_reader(parent.sentinel, stop)


def _stop(loop: asyncio.AbstractEventLoop, sentinel: int) -> None:
    loop.remove_reader(sentinel)
    os.kill(os.getpid(), signal.SIGTERM)
