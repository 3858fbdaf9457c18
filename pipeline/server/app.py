"""The ASGI application: MLflow's scoring application behind the guard, following the champion."""

import asyncio
import gc
import multiprocessing
import os
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from mlflow.models import Model
from mlflow.pyfunc import PyFuncModel, scoring_server
from starlette.types import Receive, Scope, Send

from pipeline.config.sections import Config
from pipeline.errors import ModelError, PipelineError
from pipeline.inference.mlflow_flavor import ServedModel
from pipeline.server import detached, model_copy, pages
from pipeline.server import telemetry as seen
from pipeline.server.alias_watch import Alias
from pipeline.server.certificates import Certificates
from pipeline.server.guard import Guard
from pipeline.server.keys import Keys
from pipeline.server.loaded_model import Served
from pipeline.tracking import model_files, registry

TRY_AGAIN = 60.0  # seconds until a version that was refused is tried once more
LOOK_AFTER = 1.0  # seconds between two looks at files: keys, certificates, what cleaners delete


class Application:
    """Answers HTTP and uvicorn's lifespan events."""

    def __init__(
        self,
        config: Config,
        keys: Keys,
        certificates: Certificates,
        served: Served | None = None,
        champion: Path | None = None,
    ) -> None:
        """Without `served` it loads a model when it starts: what was shared, or the champion.

        `champion` is the file in which workers share the last version that proved right. A worker
        that takes the place of another needs no registry, and does not fall for a champion that
        the others refuse.
        """
        self.config = config
        self.keys = keys
        self.certificates = certificates
        self.champion = champion
        self._first = served
        self._background: set[asyncio.Task[Any]] = set()

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """An ASGI application; uvicorn is told to take no websockets."""
        return (self._live if scope["type"] == "lifespan" else self.guard)(scope, receive, send)

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        try:
            served = self._first or await self._start()
        except Exception as error:  # the registry's, too
            seen.log("not_started", message=_reason(error))
            await send({"type": "lifespan.startup.failed", "message": ""})
            return
        serve = self.config.serve
        self.guard = Guard(serve, self.keys, served, scoring_application(served, serve.docs))
        scope["state"]["guard"] = self.guard
        _freeze()
        _end_with_parent()
        self.keys.refresh()  # a worker has them as they were when the server started
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._reload)
        self._show(served, "ready", host=serve.host, port=serve.port)
        self._spawn(self._look_after())
        if serve.follow is not None and serve.version is None:
            self._spawn(self._follow(serve.follow))
        await send({"type": "lifespan.startup.complete"})
        await receive()
        for task in self._background:
            task.cancel()
        self.guard.served.close()
        await send({"type": "lifespan.shutdown.complete"})

    async def _start(self) -> Served:
        """Raises PipelineError, and whatever a registry raises."""
        if self.champion is not None and self.champion.exists():
            with suppress(ModelError, OSError):  # it was deleted meanwhile
                return await _warm(await detached.call(load_shared, self.config, self.champion))
        return await _warm(await detached.call(load, self.config))

    def _reload(self) -> None:
        self.keys.refresh(is_forced=True)
        self.certificates.refresh(is_forced=True)

    async def _look_after(self) -> None:
        """Reads keys and certificates that changed, and writes anew what was deleted."""
        while True:
            await asyncio.sleep(LOOK_AFTER)
            self.keys.refresh()
            self.certificates.refresh()
            with suppress(OSError):  # it is tried again
                seen.restore()
            if self.champion is not None and not self.champion.exists():
                await self._share(self.guard.served)

    async def _follow(self, seconds: float) -> None:
        """Looks at the alias again and again, and brings a new champion in."""
        alias = Alias(self.config.registry.model)
        refused: dict[str, float] = {}
        while True:
            await asyncio.sleep(seconds)
            version = await alias.look()
            if version is None or version == self.guard.served.version.version:
                continue
            if time.monotonic() - refused.get(version, -TRY_AGAIN) < TRY_AGAIN:
                continue
            try:
                served = await alias.fetch(load, self.config)
                if served is not None:  # otherwise the champion that is stays
                    self._bring_in(await _warm(served))
            except Exception as error:
                refused[version] = time.monotonic()
                stays = self.guard.served.version.version
                seen.log("model_refused", version=version, stays=stays, message=_reason(error))

    def _bring_in(self, served: Served) -> None:
        application = scoring_application(served, self.config.serve.docs)
        old = self.guard.served
        self.guard.served, self.guard.application = served, application
        _freeze()
        self._show(served, "champion_changed")
        self._spawn(self._share(served))
        self._spawn(old.retire(self.config.serve.limits.answer_seconds))

    async def _share(self, served: Served) -> None:
        """For workers to come."""
        if self.champion is not None:
            with suppress(OSError, ValueError):  # no room, or closed since: it is tried again
                await detached.call(served.copy.share, self.champion)

    def _show(self, served: Served, event: str, **fields: Any) -> None:
        version = served.version
        seen.model.labels(version.name).set(int(version.version))
        compiled = served.scorer.is_compiled
        known = {"model": version.name, "version": version.version, "compiled": compiled}
        seen.log(event, **known, **fields)

    def _spawn(self, coroutine: Any) -> None:
        task = asyncio.create_task(coroutine)
        self._background.add(task)
        task.add_done_callback(self._background.discard)


def load(config: Config) -> Served:
    """The version of `serve.version`, or the champion; verified.

    Raises RegistryError, ModelError, and whatever a registry raises.
    """
    version, address = registry.promoted(config.registry.model, config.serve.version)
    with model_files.at(address) as folder:
        return Served(version, folder, config.serve.limits.rows)


def load_shared(config: Config, champion: Path) -> Served:
    """What workers share. Raises ModelError, and OSError where there is nothing."""
    with model_copy.shared(champion) as (version, folder):
        return Served(version, folder, config.serve.limits.rows)


async def _warm(served: Served) -> Served:
    try:
        await served.warm_up()
    except BaseException:
        served.close()
        raise
    return served


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, PipelineError) else type(error).__name__


def in_a_worker(
    config: Config, keys: Keys, certificates: Certificates, champion: Path
) -> Application:
    """The application of one of several workers, which each load the model themselves."""
    seen.log_records()
    return Application(config, keys, certificates, champion=champion)


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
