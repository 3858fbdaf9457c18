"""Starts the production door."""

import asyncio
import logging
import os
import signal
import socket
import tempfile
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.main import main as uvicorn_command
from uvicorn.supervisors import Multiprocess

from pipeline.config import Config, Serve
from pipeline.errors import ConfigError, ModelError
from pipeline.server import keys as api_keys
from pipeline.server import seen
from pipeline.server.connections import raise_limit
from pipeline.server.guard import is_loopback
from pipeline.server.keys import Keys
from pipeline.server.loop import Loop
from pipeline.server.served import Served

FROM_UVICORN = (
    *("ssl_keyfile", "ssl_certfile", "ssl_keyfile_password", "ssl_version", "ssl_cert_reqs"),
    *("ssl_ca_certs", "ssl_ciphers", "backlog", "timeout_keep_alive", "root_path"),
    "timeout_worker_healthcheck",
)
PROTOCOL = "pipeline.server.protocol:GuardedProtocol"


def serve(config: Config) -> None:
    """Serves the champion until told to stop. Raises ConfigError, RegistryError, ModelError."""
    options = _uvicorn_options()
    seen.log_records()
    keys = api_keys.load(config.serve.keys)
    _check_exposure(config.serve, bool(keys), options)
    _check_port(config.serve)
    raise_limit()
    # One row at a time, threads cost more than they bring.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    # uvicorn ends in order on SIGTERM, then raises it again for others: there are none.
    signal.signal(signal.SIGTERM, lambda *_: None)
    with suppress(KeyboardInterrupt):  # and so is Ctrl-C
        if config.serve.workers == 1:
            _serve_here(config, keys, options)
        else:
            _serve_with_workers(config, keys, options)


def _serve_here(config: Config, keys: Keys, options: dict[str, Any]) -> None:
    from pipeline.server.application import Application, load

    application = Application(config, keys, _warmed_up(load(config)))
    uvicorn.Server(uvicorn.Config(application, **_settings(config.serve, options))).run()


def _serve_with_workers(config: Config, keys: Keys, options: dict[str, Any]) -> None:
    from pipeline.server.application import in_a_worker, load

    _warmed_up(load(config)).close()  # one clear line here, instead of one per worker
    logging.getLogger("uvicorn.error").setLevel(logging.INFO)  # tells of workers that die
    with tempfile.TemporaryDirectory(prefix="workers-") as folder:
        os.environ[seen.SHARED] = folder
        settings = _settings(config.serve, options) | {"workers": config.serve.workers}
        application = partial(in_a_worker, config, keys, Path(folder) / "good_version")
        uvicorn_config = uvicorn.Config(application, factory=True, **settings)
        listener = uvicorn_config.bind_socket()
        supervisor = Multiprocess(uvicorn_config, sockets=[listener])
        supervisor.run()
        if any(worker.exitcode == STARTUP_FAILURE for worker in supervisor.processes):
            raise ModelError("a worker could not load the model; its line above says why")


def _warmed_up(served: Served) -> Served:
    try:
        asyncio.run(served.warm_up())
    except BaseException:
        served.close()
        raise
    return served


def _settings(serve: Serve, options: dict[str, Any]) -> dict[str, Any]:
    return {
        **options,
        "host": serve.host,
        "port": serve.port,
        "loop": partial(Loop, serve.limits.receive_seconds),
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


def _uvicorn_options() -> dict[str, Any]:
    """Uvicorn's own, from its own variables: UVICORN_SSL_CERTFILE, ..., as at the plain door."""
    import click

    try:
        context = uvicorn_command.make_context(
            "uvicorn", ["application"], auto_envvar_prefix="UVICORN"
        )
    except click.ClickException as error:
        raise ConfigError(f"a variable UVICORN_... is wrong: {error.message}") from None
    return {name: context.params[name] for name in FROM_UVICORN}


def _check_exposure(serve: Serve, has_keys: bool, options: dict[str, Any]) -> None:
    asks_certificates = options["ssl_certfile"] and options["ssl_cert_reqs"] == 2
    if not (is_loopback(serve.host) or has_keys or asks_certificates or serve.insecure):
        raise ConfigError(
            f"serve.host is {serve.host!r}, which other machines can reach, and anyone could ask; "
            "set serve.keys, or ask for client certificates (UVICORN_SSL_CERT_REQS=2), "
            "or say --insecure"
        )


def _check_port(serve: Serve) -> None:
    """Before seconds go into loading the model."""
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
