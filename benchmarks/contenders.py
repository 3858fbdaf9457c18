"""The servers that serve_time.py compares: how each is started."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

MANY = 10_000  # rows of a long request
MODULE = (sys.executable, "-m")
QUIET = ("--no-access-log", "--log-level", "warning")
UVICORN = (*MODULE, "uvicorn", "--loop", "uvloop", "--http", "httptools", *QUIET)
FRILLS = ("--no-proxy-headers", "--no-server-header", "--no-date-header", "--lifespan", "off")
GUNICORN = (*MODULE, "gunicorn", "--workers", "1", "--worker-class", "sync")
MLFLOW = (*MODULE, "mlflow", "models", "serve", "--env-manager", "local")
PIPELINE = (*MODULE, "pipeline", "serve", "configs/pima.yaml")


@dataclass(frozen=True)
class Champion:
    """A registered model, and what `champion.py` has left of it."""

    name: str
    folder: Path


@dataclass(frozen=True)
class Contender:
    """A server of a champion."""

    name: str
    command: Callable[[Champion, int], tuple[str, ...]]  # to listen on that port
    needs: str = "mlflow"  # a module
    answers: bool = True  # with what the model says

    @property
    def missing(self) -> bool:
        """Whether it cannot run here."""
        return find_spec(self.needs) is None


def _guarded(champion: Champion, port: int) -> tuple[str, ...]:
    return (*PIPELINE, "--serve.port", str(port), "--registry.model", champion.name)


def _logged(champion: Champion, port: int) -> tuple[str, ...]:
    return (*_guarded(champion, port), "--serve.log.path", "request-log")


def _shadowed(champion: Champion, port: int) -> tuple[str, ...]:
    """The shadow is a second version of the same model, which champion.py makes."""
    return (*_guarded(champion, port), "--serve.shadow", "2")


def _ours(champion: Champion, port: int) -> tuple[str, ...]:
    return (*MLFLOW, "--port", str(port), "--model-uri", f"models:/{champion.name}@champion")


def _sklearn(champion: Champion, port: int) -> tuple[str, ...]:
    return (*MLFLOW, "--port", str(port), "--model-uri", str(champion.folder / "sklearn"))


def _gunicorn(app: str) -> Callable[[Champion, int], tuple[str, ...]]:
    return lambda _, port: (*GUNICORN, "--bind", f"127.0.0.1:{port}", app)


def _uvicorn(app: str, *options: str) -> Callable[[Champion, int], tuple[str, ...]]:
    return lambda _, port: (*UVICORN, *options, "--port", str(port), app)


BASE = "sklearn"
CONTENDERS = {
    "guarded": Contender("guarded: python -m pipeline serve", _guarded),
    "logged": Contender("guarded, with its request log", _logged),
    "shadowed": Contender("guarded, with a shadow asked each request", _shadowed),
    "ours": Contender("plain ours: mlflow models serve", _ours),
    BASE: Contender("plain sklearn: mlflow models serve", _sklearn),
    "flask": Contender("flask, gunicorn", _gunicorn("doors.flask_app:app"), "flask"),
    "fastapi": Contender(
        "fastapi, pydantic, uvicorn", _uvicorn("doors.fastapi_app:app"), "fastapi"
    ),
    "falcon": Contender(
        "falcon, gunicorn, unpickles each time", _gunicorn("doors.falcon_app:app"), "falcon"
    ),
    "bare": Contender(
        "bare ASGI, uvicorn, a constant", _uvicorn("doors.bare_app:app", *FRILLS), "orjson", False
    ),
}
