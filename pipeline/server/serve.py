"""Starts the server: checks its settings, loads the model, and runs uvicorn."""

import asyncio
import os
import re
import signal
import socket
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.main import main as uvicorn_command

from pipeline import progress
from pipeline.config.sections import Config
from pipeline.config.serve import Serve
from pipeline.errors import ConfigError
from pipeline.server import (
    api_keys,
    background_call,
    request_log,
    shadow,
    telemetry,
    temporary_folder,
    tls,
)
from pipeline.server.api_keys import ApiKeys
from pipeline.server.connections import raise_limit
from pipeline.server.guard import is_loopback
from pipeline.server.loaded_model import LoadedModel
from pipeline.server.project_run import project_run
from pipeline.server.supervisor import Server, Supervisor, clean_exit
from pipeline.server.tls import Certificates, TLSTimeoutLoop

HEALTHCHECK = "timeout_worker_healthcheck"
HEALTHCHECK_SECONDS = 60  # for which a worker that was up may be silent: a machine may be busy
FROM_UVICORN = (*tls.OPTIONS, "backlog", "timeout_keep_alive", "root_path", HEALTHCHECK)
PROTOCOL = "pipeline.server.protocol:GuardedProtocol"


@temporary_folder.required()
def serve(config: Config) -> None:
    """Serves the champion until told to stop. Raises ConfigError, RegistryError, ModelError."""
    options = _uvicorn_options()
    telemetry.log_records()
    keys = api_keys.load(config.serve.keys)
    _check_exposure(config.serve, bool(keys), options)
    _check_port(config.serve)
    raise_limit()
    # One row at a time, threads cost more than they bring.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    # It ends as Ctrl-C does, also while it loads. uvicorn ends in order, then raises it again.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until there is something to read again
    stop = partial(os.kill, os.getpid(), signal.SIGTERM)
    with clean_exit(), project_run(stop), suppress(KeyboardInterrupt):
        _run(config, keys, Certificates(options), options)


def _run(
    config: Config, keys: ApiKeys, certificates: Certificates, options: dict[str, Any]
) -> None:
    from pipeline.server.app import Application, create_in_worker, shadow_beside

    certificates.check()
    model = _load(config)  # with workers, for one clear error here instead of one in each
    try:
        request_log.check(config.serve.log, model.predictor.contract)
        beside = _load_shadow(config, model)
    except BaseException:
        model.close()
        raise
    if config.serve.workers == 1:
        application = Application(config, keys, certificates, model, shadow=beside)
        Server(_uvicorn_config(application, config.serve, certificates, options)).run()
        return
    with tempfile.TemporaryDirectory(prefix="workers-") as folder:
        champion = Path(folder) / "champion.tar"
        try:
            model.copy.share(champion)
            if beside is not None:
                beside.copy.share(shadow_beside(champion))
        finally:
            for one in filter(None, (model, beside)):
                one.close()
        os.environ[telemetry.SHARED_FOLDER] = folder
        create = partial(create_in_worker, config, keys, certificates, champion)
        uvicorn_config = _uvicorn_config(create, config.serve, certificates, options)
        Supervisor(uvicorn_config, [uvicorn_config.bind_socket()]).run()


def _load(config: Config) -> LoadedModel:
    from pipeline.server.app import load

    return _warm(load, config, f"serve: loading {config.registry.model}")


def _load_shadow(config: Config, champion: LoadedModel) -> LoadedModel | None:
    """Raises ConfigError for a shadow that cannot be compared with the champion."""
    from pipeline.server.app import load_shadow

    if config.serve.shadow is None:
        return None
    what = f"serve: loading version {config.serve.shadow}, the shadow"
    model = _warm(load_shadow, config, what)
    try:
        shadow.check(config.serve, champion, model)
    except ConfigError:
        model.close()
        raise
    return model


def _warm(load: Callable[[Config], LoadedModel], config: Config, what: str) -> LoadedModel:
    """Loads and warms up; in a thread, so that a signal ends it whatever the registry does."""
    with progress.stage(what):
        model = background_call.start(load, config).result()
        asyncio.run(model.warm_up())
    return model


def _uvicorn_config(
    application: Any, serve: Serve, certificates: Certificates, options: dict[str, Any]
) -> uvicorn.Config:
    settings: dict[str, Any] = {
        **options,
        "host": serve.host,
        "port": serve.port,
        "loop": partial(TLSTimeoutLoop, serve.limits.receive_seconds),
        "http": PROTOCOL,
        "ws": "none",
        "lifespan": "on",
        "interface": "asgi3",
        "log_config": None,
        "access_log": False,
        "proxy_headers": False,
        "server_header": False,
        "timeout_graceful_shutdown": max(1, round(serve.grace)),
    }
    if certificates:
        settings["ssl_context_factory"] = certificates.context
    if serve.workers > 1:
        settings |= {"workers": serve.workers, "factory": True}
    return uvicorn.Config(application, **settings)


def _uvicorn_options() -> dict[str, Any]:
    """Reads uvicorn's own variables, UVICORN_SSL_CERTFILE, ..., as `mlflow models serve` does."""
    import click
    from click.core import ParameterSource

    try:
        context = uvicorn_command.make_context(
            "uvicorn", ["application"], auto_envvar_prefix="UVICORN"
        )
    except click.ClickException as error:
        raise ConfigError(f"a variable UVICORN_... is wrong: {error.message}") from None
    options = {name: context.params[name] for name in FROM_UVICORN}
    if context.get_parameter_source(HEALTHCHECK) is ParameterSource.DEFAULT:
        options[HEALTHCHECK] = HEALTHCHECK_SECONDS
    return options | {"root_path": _root_path(options["root_path"])}


def _root_path(path: str) -> str:
    """Returns the path without a slash at the end, so that a request's path can follow."""
    if not re.fullmatch(r"(/[\w.~-]+)*/?", path, re.ASCII):
        raise ConfigError(f"UVICORN_ROOT_PATH is {path!r}; it should be a path such as /models")
    return path.rstrip("/")


def _check_exposure(serve: Serve, has_keys: bool, options: dict[str, Any]) -> None:
    asks_certificates = options["ssl_certfile"] and options["ssl_cert_reqs"] == 2
    if not (is_loopback(serve.host) or has_keys or asks_certificates or serve.insecure):
        raise ConfigError(
            f"serve.host is {serve.host!r}, which other machines can reach, and anyone could ask; "
            "set serve.keys, or ask for client certificates (UVICORN_SSL_CERT_REQS=2), "
            "or say --insecure"
        )


def _check_port(serve: Serve) -> None:
    """Raises ConfigError before seconds go into loading the model."""
    family = socket.AF_INET6 if ":" in serve.host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((serve.host, serve.port))
        except OSError as error:
            raise ConfigError(
                f"serve.host {serve.host!r} and serve.port {serve.port} cannot be listened on: "
                f"{error.strerror or error}; choose another port with --serve.port"
            ) from None
