"""The ASGI application: MLflow's scoring application behind the guard, following the champion."""

import asyncio
import gc
import multiprocessing
import os
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from mlflow.models import Model
from mlflow.pyfunc import PyFuncModel, scoring_server
from starlette.middleware.gzip import GZipMiddleware
from starlette.types import Receive, Scope, Send

from pipeline.config.sections import Config
from pipeline.errors import ConfigError, ModelError, PipelineError, RegistryError
from pipeline.inference.mlflow_flavor import ServedModel
from pipeline.server import background_call, cross_origin, model_copy, pages, telemetry
from pipeline.server.alias_watch import AliasWatch
from pipeline.server.api_keys import ApiKeys
from pipeline.server.content_coding import LEAST_BYTES
from pipeline.server.guard import Guard
from pipeline.server.loaded_model import LoadedModel
from pipeline.server.request_log import RequestLog
from pipeline.server.shadow import Shadow
from pipeline.server.tls import Certificates
from pipeline.tracking import model_files, registry

RETRY_SECONDS = 60.0  # until a version that was refused is tried once more
MAINTENANCE_SECONDS = 1.0  # between two looks at files: keys, certificates, what cleaners delete


@dataclass(eq=False)
class Application:
    """Answers HTTP and uvicorn's lifespan events.

    Without `model` it loads one when it starts: what was shared, or the champion. `champion` is
    the file in which workers share the last version that proved right. A worker that takes the
    place of another needs no registry, and does not fall for a champion that the others refuse.
    The shadow's file is beside it.
    """

    config: Config
    keys: ApiKeys
    certificates: Certificates
    model: LoadedModel | None = None
    champion: Path | None = None
    shadow: LoadedModel | None = None
    _tasks: set[asyncio.Task[Any]] = field(default_factory=set, init=False)

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Answers as an ASGI application; uvicorn is told to take no websockets."""
        return (self._lifespan if scope["type"] == "lifespan" else self._answer)(
            scope, receive, send
        )

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        try:
            model = self.model or await self._load(load, self.champion)
            log = self.config.serve.log
            request_log = None if log.path is None else RequestLog(log)
            shadow = await self._shadow()
        except Exception as error:  # the registry's, too
            telemetry.log("not_started", message=_reason(error))
            await send({"type": "lifespan.startup.failed", "message": ""})
            return
        serve = self.config.serve
        application = scoring_application(model, serve.docs)
        self.guard = Guard(serve, self.keys, model, application, request_log, shadow)
        self._answer = cross_origin.allow(self.guard, serve.cors)
        scope["state"]["guard"] = self.guard
        _freeze()
        _end_with_parent()
        self.keys.refresh()  # a worker has them as they were when the server started
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._reload)
        self._report(model, "ready", host=serve.host, port=serve.port)
        if shadow is not None:
            shadow.follow(model)
        self._spawn(self._maintain())
        if serve.follow is not None and serve.version is None:
            self._spawn(self._follow(serve.follow))
        await send({"type": "lifespan.startup.complete"})
        await receive()
        for task in self._tasks:
            task.cancel()
        self.guard.model.close()
        for log_of_requests in (request_log, shadow):
            if log_of_requests is not None:
                log_of_requests.close()
        await send({"type": "lifespan.shutdown.complete"})

    async def _load(
        self, load: Callable[[Config], LoadedModel], shared: Path | None
    ) -> LoadedModel:
        """Raises PipelineError, and whatever a registry raises."""
        if shared is not None and shared.exists():
            with suppress(ModelError, OSError):  # it was deleted meanwhile
                model = await background_call.call(load_shared, self.config, shared)
                await model.warm_up()
                return model
        model = await background_call.call(load, self.config)
        await model.warm_up()
        return model

    async def _shadow(self) -> Shadow | None:
        """None without one, or where a worker cannot load it: the champion answers without it.

        Raises ConfigError for a log that cannot be written to.
        """
        serve = self.config.serve
        if serve.shadow is None:
            return None
        try:
            shared = self.champion and shadow_beside(self.champion)
            model = self.shadow or await self._load(load_shadow, shared)
        except Exception as error:  # the registry's, too
            telemetry.log("shadow_failed", message=_reason(error))
            return None
        model.worker.close()  # the shadow's own process asks it
        return Shadow(serve, model)

    def _reload(self) -> None:
        self.keys.refresh(is_forced=True)
        self.certificates.refresh(is_forced=True)

    async def _maintain(self) -> None:
        """Reads keys and certificates that changed, and writes anew what was deleted."""
        while True:
            await asyncio.sleep(MAINTENANCE_SECONDS)
            self.keys.refresh()
            self.certificates.refresh()
            with suppress(OSError):  # it is tried again
                telemetry.restore()
            await self._restore_shared()

    async def _restore_shared(self) -> None:
        if self.champion is None:
            return
        files = [(self.guard.model, self.champion)]
        if self.guard.shadow is not None:
            files.append((self.guard.shadow.model, shadow_beside(self.champion)))
        for model, file in files:
            if not file.exists():
                await self._share(model, file)

    async def _follow(self, seconds: float) -> None:
        """Polls the alias, and replaces the model by a new champion."""
        alias = AliasWatch(self.config.registry.model)
        refused_at: dict[str, float] = {}
        while True:
            await asyncio.sleep(seconds)
            version = await alias.poll()
            if version is None or version == self.guard.model.version.version:
                continue
            if time.monotonic() - refused_at.get(version, -RETRY_SECONDS) < RETRY_SECONDS:
                continue
            try:
                model = await alias.fetch(load, self.config)
                if model is not None:  # otherwise the champion that is stays
                    await model.warm_up()
                    self._replace_model(model)
            except Exception as error:
                refused_at[version] = time.monotonic()
                stays = self.guard.model.version.version
                telemetry.log("model_refused", version=version, stays=stays, message=_reason(error))

    def _replace_model(self, model: LoadedModel) -> None:
        application = scoring_application(model, self.config.serve.docs)
        old = self.guard.model
        self.guard.model, self.guard.application = model, application
        _freeze()
        self._report(model, "champion_changed")
        if self.guard.shadow is not None:
            self.guard.shadow.follow(model)
        if self.champion is not None:
            self._spawn(self._share(model, self.champion))
        self._spawn(old.retire(self.config.serve.limits.answer_seconds))

    async def _share(self, model: LoadedModel, file: Path) -> None:
        """Writes the model to the file of workers to come."""
        with suppress(OSError, ValueError):  # no room, or closed since: it is tried again
            await background_call.call(model.copy.share, file)

    def _report(self, model: LoadedModel, event: str, **fields: Any) -> None:
        version, compiled = model.version, model.predictor.is_compiled
        telemetry.model_version.labels(version.name).set(int(version.version))
        telemetry.log(
            event, model=version.name, version=version.version, compiled=compiled, **fields
        )

    def _spawn(self, coroutine: Any) -> None:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def load(config: Config) -> LoadedModel:
    """Loads the version of `serve.version`, or the champion; verified.

    Raises RegistryError, ModelError, and whatever a registry raises.
    """
    return _load_version(config, config.serve.version)


def load_shadow(config: Config) -> LoadedModel:
    """Loads the version of `serve.shadow`, verified as the champion.

    Raises ConfigError, and whatever a registry raises.
    """
    try:
        return _load_version(config, config.serve.shadow)
    except (RegistryError, ModelError) as error:
        raise ConfigError(
            f"serve.shadow is {config.serve.shadow!r}: {error}; name another version, or null for "
            "none"
        ) from error


def _load_version(config: Config, number: str | None) -> LoadedModel:
    version, address = registry.promoted(config.registry.model, number)
    with model_files.at(address) as folder:
        return LoadedModel(version, folder, config.serve.limits.rows)


def shadow_beside(champion: Path) -> Path:
    """The file in which workers share the shadow, beside the champion's."""
    return champion.with_name("shadow.tar")


def load_shared(config: Config, file: Path) -> LoadedModel:
    """Loads what workers share. Raises ModelError, and OSError if there is nothing."""
    with model_copy.shared(file) as (version, folder):
        return LoadedModel(version, folder, config.serve.limits.rows)


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, PipelineError) else type(error).__name__


def create_in_worker(
    config: Config, keys: ApiKeys, certificates: Certificates, champion: Path
) -> Application:
    """Makes the application of one of several workers, which each load the model themselves."""
    telemetry.log_records()
    return Application(config, keys, certificates, champion=champion)


def scoring_application(model: LoadedModel, docs: bool) -> FastAPI:
    """Makes MLflow's application over the same model, with the pages of this server."""
    pyfunc = PyFuncModel(Model.load(str(model.folder)), ServedModel(model.predictor))
    application: FastAPI = scoring_server.init(pyfunc)
    pages.add(application, model, docs)
    application.add_middleware(GZipMiddleware, minimum_size=LEAST_BYTES)
    return application


def _freeze() -> None:
    """Keeps what was loaded out of the collector's sight: it no longer delays answers."""
    gc.collect()
    gc.freeze()


def _end_with_parent() -> None:
    """Ends a worker whose parent was killed as if it had been told to, and frees the port."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    loop, sentinel = asyncio.get_running_loop(), parent.sentinel

    def stop() -> None:
        loop.remove_reader(sentinel)
        os.kill(os.getpid(), signal.SIGTERM)

    loop.add_reader(sentinel, stop)
