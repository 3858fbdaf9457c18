"""What runs a verb, for the command line and for a notebook.

It imports next to nothing: MLflow and scikit-learn take seconds, and workers start beside that.
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.command_line import check_options, given_words, read_verb
from pipeline.config.load import load
from pipeline.config.sections import Config
from pipeline.errors import ConfigError, PipelineError
from pipeline.tracking import credentials
from pipeline.tuning import worker_pool
from pipeline.verbs import DEFAULT_CONFIG, VERBS, Options, searches

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.flow import Result

FRAME = "data frame"
OF_A_FRAME = {"data.source": FRAME, "data.sha256": "null", "data.query": "null"}
PROGRESS_BAR = "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"


def run(
    config: str | Path = DEFAULT_CONFIG,
    overrides: Mapping[str, Any] | None = None,
    verb: str = "run",
    data: "pd.DataFrame | str | Path | None" = None,
    **options: Any,
) -> "Result":
    """Runs a verb as `python -m pipeline VERB CONFIG` does, and returns what it has left.

    `overrides` are settings by key, `{"tune.max_evals": 20}`; texts are read as YAML. `data` is a
    table that stands for what `data.source` names, its index does not count; for `predict` that to
    score, or where it is. `options` are the verb's: `fresh=True`, `output=PATH`, and for `compare`
    `runs=(ID, ID)`. Where a run is active in this thread, the command's is a child of it, in its
    experiment. A script that calls it should do so under `if __name__ == "__main__":`, as its
    workers import the script.

    Raises PipelineError: ConfigError, SourceError, ... with the message of the command line.
    """
    read_verb([verb])
    if not VERBS[verb].opens_run:
        raise ConfigError(f"{verb} leaves no run; start it in a shell: python -m pipeline {verb}")
    texts = {key: _yaml(value) for key, value in (overrides or {}).items()}
    frame = None if isinstance(data, (str, Path)) else data
    if "data" in VERBS[verb].options:
        options["data"] = FRAME if frame is not None else str(data or "")
    elif frame is None and data is not None:
        raise ConfigError("data must be a data frame; name a file with {'data.source': PATH}")
    elif frame is not None:
        texts |= OF_A_FRAME
        if verb in COMMANDS:
            raise ConfigError(f"{verb} reads no data; leave `data` out")
    given = given_words(str(config), texts)
    checked = check_options(verb, {**options, "given": given})
    result = execute(verb, load(str(config), texts), checked, frame)
    assert not isinstance(result, int)  # of a verb that opens a run
    return result


def execute(
    verb: str, config: Config, options: Options, data: "pd.DataFrame | None" = None
) -> "Result | int":
    """Runs a verb, on `data` if given, not on what the config names.

    Returns what it has left in MLflow, or the exit status of a verb that opens no run. Raises
    PipelineError for what the user can mend, a store's errors included.
    """
    if searches(verb, options):
        worker_pool.warm_up(config.tune)
    try:
        with _variables():
            from pipeline.tracking import local_store

            if VERBS[verb].makes_store:
                local_store.make()
            return COMMANDS.get(verb, _steps)(verb, config, options, data)
    except PipelineError:
        raise
    except Exception as error:
        from pipeline.tracking import store_errors

        mistake = store_errors.mistake(error, config.registry.model)
        if mistake is None:
            raise
        raise mistake from error
    finally:
        worker_pool.end()


@contextmanager
def _variables() -> Iterator[None]:
    """Meanwhile MLflow shows neither the password of its server nor bars for files of a few KiB."""
    names = (PROGRESS_BAR, credentials.ADDRESS, credentials.USER, credentials.PASSWORD)
    before = {name: os.environ.get(name) for name in names}
    credentials.hide(os.environ)
    os.environ.setdefault(PROGRESS_BAR, "false")
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def _yaml(value: Any) -> str:
    """A setting as a command has it: JSON is YAML, and a text stays as it is."""
    return value if isinstance(value, str) else json.dumps(value, default=_plain)


def _plain(value: Any) -> Any:
    """A path, or a number of NumPy's."""
    return value.item() if hasattr(value, "item") else str(value)


def _steps(
    verb: str, config: Config, options: Options, data: "pd.DataFrame | None" = None
) -> "Result":
    from pipeline import flow

    return flow.run(verb, config, options, data)


def _predict(
    _: str, config: Config, options: Options, data: "pd.DataFrame | None" = None
) -> "Result":
    from pipeline.batch.predict import predict

    return predict(config, options, data)


def _monitor(
    _: str, config: Config, options: Options, data: "pd.DataFrame | None" = None
) -> "Result":
    from pipeline.batch.monitor import monitor

    return monitor(config, options, data)


def _rollback(_: str, config: Config, options: Options, *__: Any) -> "Result":
    from pipeline import flow

    return flow.rollback(config, options)


def _history(_: str, config: Config, *__: Any) -> int:
    from pipeline import flow

    flow.history(config)
    return 0


def _doctor(_: str, config: Config, options: Options, *__: Any) -> int:
    from pipeline.doctor.examine import doctor

    return doctor(config, options)


def _serve(_: str, config: Config, *__: Any) -> int:
    from pipeline.server.serve import serve

    serve(config)
    return 0


COMMANDS: dict[str, Callable[..., "Result | int"]] = {  # those without steps
    "predict": _predict,
    "monitor": _monitor,
    "rollback": _rollback,
    "history": _history,
    "doctor": _doctor,
    "serve": _serve,
}
