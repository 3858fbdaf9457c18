"""Starts the production door."""

import asyncio
import os
import re
import signal
import socket
import tempfile
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.main import main as uvicorn_command

from pipeline.config.sections import Config, Serve
from pipeline.errors import ConfigError
from pipeline.server import detached, temporary
from pipeline.server import keys as api_keys
from pipeline.server import telemetry as seen
from pipeline.server.certificates import Certificates
from pipeline.server.connections import raise_limit
from pipeline.server.guard import is_loopback
from pipeline.server.keys import Keys
from pipeline.server.loaded_model import Served
from pipeline.server.loop import Loop
from pipeline.server.project_run import project_run
from pipeline.server.supervisor import Server, Supervisor, leaving

HEALTHCHECK = "timeout_worker_healthcheck"
HEALTHCHECK_SECONDS = 60  # for which a worker that was up may be silent: a machine may be busy
FROM_UVICORN = (
    *("ssl_keyfile", "ssl_certfile", "ssl_keyfile_password", "ssl_version", "ssl_cert_reqs"),
    *("ssl_ca_certs", "ssl_ciphers", "backlog", "timeout_keep_alive", "root_path"),
    HEALTHCHECK,
)
PROTOCOL = "pipeline.server.protocol:GuardedProtocol"


@temporary.needed()
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
    # It ends as Ctrl-C does, also while it loads. uvicorn ends in order, then raises it again.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until there is something to read again
    certificates = Certificates(options)
    with leaving(), project_run(_stop), suppress(KeyboardInterrupt):
        if config.serve.workers == 1:
            _serve_here(config, keys, certificates, options)
        else:
            _serve_with_workers(config, keys, certificates, options)


def _stop() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def _serve_here(
    config: Config, keys: Keys, certificates: Certificates, options: dict[str, Any]
) -> None:
    from pipeline.server.app import Application

    certificates.check()
    application = Application(config, keys, certificates, _load(config))
    Server(_uvicorn_config(application, config.serve, certificates, options)).run()


def _serve_with_workers(
    config: Config, keys: Keys, certificates: Certificates, options: dict[str, Any]
) -> None:
    from pipeline.server.app import in_a_worker

    certificates.check()
    served = _load(config)  # one clear line here, instead of one per worker
    with tempfile.TemporaryDirectory(prefix="workers-") as folder:
        champion = Path(folder) / "champion.tar"
        try:
            served.copy.share(champion)
        finally:
            served.close()
        os.environ[seen.SHARED] = folder
        application = partial(in_a_worker, config, keys, certificates, champion)
        uvicorn_config = _uvicorn_config(application, config.serve, certificates, options)
        Supervisor(uvicorn_config, [uvicorn_config.bind_socket()]).run()


def _load(config: Config) -> Served:
    """The model, warmed up; in a thread, so that a signal ends it whatever the registry does."""
    from pipeline.server.app import load

    served = detached.start(load, config).result()
    try:
        asyncio.run(served.warm_up())
    except BaseException:
        served.close()
        raise
    return served


def _uvicorn_config(
    application: Any, serve: Serve, certificates: Certificates, options: dict[str, Any]
) -> uvicorn.Config:
    settings = _settings(serve, options)
    if certificates:
        settings["ssl_context_factory"] = certificates.context
    if serve.workers > 1:
        settings |= {"workers": serve.workers, "factory": True}
    return uvicorn.Config(application, **settings)


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
    """Without a slash at the end, so that a request's path can follow."""
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
