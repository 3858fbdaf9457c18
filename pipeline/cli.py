"""Verbs and options; the only place that turns an error into an exit status."""

import argparse
import logging
import os
import re
import signal
import sys
from collections.abc import Sequence
from itertools import takewhile
from typing import Any

from pydantic_core import PydanticUndefined

from pipeline.config.load import load, settings
from pipeline.config.sections import MEANT, VERSION, Config
from pipeline.errors import ConfigError, PipelineError
from pipeline.options import Options
from pipeline.tracking import credentials

VERBS = {
    "run": "all steps: ingest, analyze, tune, train, evaluate, promote",
    "ingest": "get the table, check it, split it",
    "analyze": "look at the table",
    "tune": "search model families and hyperparameters",
    "train": "fit the final model",
    "evaluate": "judge it on the test part",
    "promote": "make the best model champion, if it keeps the rules of the gate",
    "rollback": "go back to an earlier champion",
    "history": "tell the line of champions",
    "compare": "hold two runs' models against each other",
    "audit": "cross-validate the whole procedure, search and all",
    "serve": "answer REST calls with the champion",
}
TUNING = ("run", "tune", "train", "evaluate", "promote", "audit")  # may need the search
DEFAULT_CONFIG = "configs/pima.yaml"
SHORT = {  # as `mlflow run . -e audit -P folds=10` hands it on
    "audit.folds": "--folds",
    "serve.workers": "--workers",
    "serve.insecure": "--insecure",
}
FLAGS = ("serve.insecure",)  # true, if nothing is said
OF_VERBS = {  # options that only these take
    "dry_run": ("promote",),
    "run": ("promote",),
    "version": ("rollback",),
    "reason": ("promote", "rollback"),
}
RUNS = 2  # that compare takes
SIGNALLED = 128  # and the signal's number: exit status of a program that it ended
_FLAG_OR_VALUE: dict[str, Any] = {"nargs": "?", "const": "true"}
REPEATING = ("mlflow.store.db.utils", "hyperopt.fmin")  # they log the errors that they raise
MISTAKE = 2  # exit status of an error that the user can mend


def main(arguments: Sequence[str]) -> int:
    """Runs one verb; returns the exit status."""
    words, runs = _take_runs(list(arguments))
    known, rest = _parser().parse_known_intermixed_args(words)
    logging.basicConfig(format="%(message)s", level=logging.WARNING, stream=sys.stdout)
    logging.getLogger("pipeline").setLevel(logging.INFO)
    for name in REPEATING:
        logging.getLogger(name).addFilter(_is_no_error)
    credentials.hide(os.environ)
    model: str | None = None
    try:
        config, options = _configured(known, rest, runs)
        model = config.registry.model
        _do(known.verb, config, options)
    except PipelineError as error:
        return _complain(error)
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from what has finished", file=sys.stderr)
        return SIGNALLED + signal.SIGINT
    except Exception as error:
        from pipeline.tracking import store_errors as store

        mistake = store.mistake(error, model)
        if mistake is None:
            raise
        return _complain(mistake)
    return 0


def _configured(
    known: argparse.Namespace, rest: Sequence[str], runs: tuple[str, ...]
) -> tuple[Config, Options]:
    """What is to be done. A mistake is noted on a FAILED run."""
    try:
        overrides = {**_given(known), **_unknown_keys(rest)}
        options = _options(known, runs)
        return load(known.config, overrides), options
    except ConfigError as error:
        from pipeline.tracking import runs as tracking
        from pipeline.tracking import store_errors as store

        with store.tolerated():
            tracking.record_failure(known.verb, str(error))
        raise


def _is_no_error(record: logging.LogRecord) -> bool:
    return record.levelno < logging.ERROR


def _terminate(number: int, _: Any) -> None:
    """Leaves in order: runs are closed as KILLED, workers are ended."""
    sys.exit(SIGNALLED + number)


def _do(verb: str, config: Config, options: Options) -> None:
    signal.signal(signal.SIGTERM, _terminate)
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")  # files of a few KiB
    # Imported late: MLflow and scikit-learn take seconds, `--help` and typing errors none.
    if verb == "serve":
        from pipeline.server.serve import serve
        from pipeline.tracking import local_store

        local_store.make()
        serve(config)
        return
    from pipeline.tuning import worker_pool as workers

    if verb in TUNING and options.run is None:
        # On the other cores, while this process imports MLflow and opens the store.
        workers.warm_up(config.tune)
    try:
        from pipeline import flow
        from pipeline.tracking import local_store

        local_store.make()
        if verb == "rollback":
            flow.rollback(config, options)
        elif verb == "history":
            flow.history(config)
        else:
            flow.run(verb, config, options)
    finally:
        workers.stop()


def _complain(error: PipelineError) -> int:
    print(f"error: {error}", file=sys.stderr)
    return MISTAKE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pipeline",
        usage="python -m pipeline VERB [CONFIG] [--fresh] [--section.key VALUE ...]\n"
        "       python -m pipeline compare [CONFIG] RUN RUN",
        description="From a table of data to a REST endpoint on MLflow.\n\n"
        + "\n".join(f"  {verb:10}{meaning}" for verb, meaning in VERBS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("verb", choices=VERBS, metavar="VERB", help="one of the above")
    parser.add_argument(
        "config",
        nargs="?",
        default=DEFAULT_CONFIG,
        metavar="CONFIG",
        help=f"a YAML file (default: {DEFAULT_CONFIG})",
    )
    flag: dict[str, Any] = {"nargs": "?", "const": True, "default": False, "type": _truth}
    parser.add_argument("--fresh", **flag, metavar="true", help="run every step, reuse none")
    parser.add_argument(
        *("--dry-run", "--dry_run"),
        **flag,
        metavar="true",
        help="promote: decide and tell, but move nothing",
    )
    parser.add_argument("--run", metavar="ID", help="promote: the model of this run, not the best")
    parser.add_argument(
        "--version", metavar="N", help="rollback: to this version, not the champion before"
    )
    parser.add_argument(
        "--reason", default="", metavar="TEXT", help="promote, rollback: why, for the record"
    )
    keys = parser.add_argument_group(
        "settings", "each overrides the key of the config; YAML values"
    )
    for key, field in settings():
        default = field.get_default(call_default_factory=True, validated_data={})
        shown = "set in the config" if default is PydanticUndefined else _yaml(default)
        keys.add_argument(
            f"--{key}",
            *([SHORT[key]] if key in SHORT else []),
            dest=key,
            **_FLAG_OR_VALUE if key in FLAGS else {},
            default=argparse.SUPPRESS,
            metavar="VALUE",
            help=f"{field.description} (default: {shown})".replace("%", "%%"),
        )
    return parser


def _options(known: argparse.Namespace, runs: tuple[str, ...]) -> Options:
    """Raises ConfigError for an option that the verb does not take, or runs that it lacks."""
    for name, verbs in OF_VERBS.items():
        if getattr(known, name) not in (None, False, "") and known.verb not in verbs:
            shown = name.replace("_", "-")
            raise ConfigError(f"--{shown} is an option of {', '.join(verbs)}, not of {known.verb}")
    if known.version is not None and not re.fullmatch(VERSION, known.version):
        raise ConfigError(f"--version is {known.version!r}; it should be {MEANT[VERSION]}")
    if known.run == "":
        raise ConfigError("--run is ''; it should be the id of a run")
    if known.verb == "compare" and len(runs) != RUNS:
        raise ConfigError("compare takes two runs: compare RUN RUN; a config comes before them")
    return Options(known.fresh, known.dry_run, known.run, known.version, known.reason, runs)


def _take_runs(arguments: Sequence[str]) -> tuple[list[str], tuple[str, ...]]:
    """The words without the runs to compare, and these: all before the options but a YAML file."""
    if arguments[:1] != ["compare"]:
        return list(arguments), ()
    words = list(takewhile(lambda word: not word.startswith("-"), arguments))
    runs = [word for word in words[1:] if not word.endswith((".yaml", ".yml"))]
    rest = [word for word in words if word not in runs]
    return [*rest, *arguments[len(words) :]], tuple(runs)


def _truth(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")
    return text.lower() == "true"


def _given(known: argparse.Namespace) -> dict[str, str]:
    return {key: value for key, value in vars(known).items() if "." in key}


def _unknown_keys(rest: Sequence[str]) -> dict[str, str]:
    """Options beyond the listed ones: a column's settings, or misspelt keys for the config."""
    found: dict[str, str] = {}
    words = list(rest)
    while words:
        word = words.pop(0)
        if not word.startswith("--"):
            raise ConfigError(f"{word!r} is not an option; write --section.key VALUE")
        key, equals, value = word.removeprefix("--").partition("=")
        if not equals:
            if not words:
                raise ConfigError(f"--{key} has no value; write --{key} VALUE")
            value = words.pop(0)
        found[key] = value
    return found


def _yaml(value: Any) -> str:
    match value:
        case None | True | False:
            return {None: "null", True: "true", False: "false"}[value]
        case tuple():
            return f"[{', '.join(value)}]"
        case _:
            return str(value)
