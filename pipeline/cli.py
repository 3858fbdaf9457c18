"""Words of a command line -> a verb, its config and options; an error -> an exit status."""

import logging
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any

from pipeline.command_line import help_page, read, read_verb
from pipeline.config.load import load
from pipeline.config.sections import Config
from pipeline.errors import ConfigError, PipelineError
from pipeline.tracking import credentials
from pipeline.verbs import VERBS, Options

HELP = ("-h", "--help")
MISTAKE = 2  # exit status of an error that the user can mend
SIGNALLED = 128  # and the signal's number: exit status of a program that it ended
REPEATING = ("mlflow.store.db.utils", "hyperopt.fmin")  # they log the errors that they raise


def main(arguments: Sequence[str]) -> int:
    """Runs one verb; returns the exit status."""
    _log_to_stdout()
    credentials.hide(os.environ)
    try:
        if arguments[:1] and arguments[0] in HELP:
            print(help_page())
            return 0
        verb = read_verb(arguments)
        if any(word in HELP for word in arguments):
            print(help_page(verb))
            return 0
        if not VERBS[verb].reads_config:
            _init(verb, arguments[1:])
            return 0
        config, options = _configured(verb, arguments[1:])
        return _run(verb, config, options)
    except PipelineError as error:
        print(f"error: {error}", file=sys.stderr)
        return MISTAKE
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from what has finished", file=sys.stderr)
        return SIGNALLED + signal.SIGINT


def _init(verb: str, words: Sequence[str]) -> None:
    from pipeline.init_config import init  # late: with pandas

    init(read(verb, words)[2])


def _log_to_stdout() -> None:
    logging.basicConfig(format="%(message)s", level=logging.WARNING, stream=sys.stdout)
    logging.getLogger("pipeline").setLevel(logging.INFO)
    for name in REPEATING:
        logging.getLogger(name).addFilter(_is_no_error)


def _is_no_error(record: logging.LogRecord) -> bool:
    return record.levelno < logging.ERROR


def _configured(verb: str, words: Sequence[str]) -> tuple[Config, Options]:
    """The config and the options of a command. A mistake is noted on a FAILED run."""
    try:
        path, overrides, options = read(verb, words)
        return load(path, overrides), options
    except ConfigError as error:
        from pipeline.tracking import runs, store_errors  # MLflow takes seconds, `--help` none

        with store_errors.tolerated():
            runs.record_failure(verb, str(error))
        raise


def _run(verb: str, config: Config, options: Options) -> int:
    """Returns the exit status."""
    signal.signal(signal.SIGTERM, _terminate)
    # Imported late: MLflow and scikit-learn take seconds, `--help` and typing errors none.
    from pipeline.api import execute

    result = execute(verb, config, options)
    return result if isinstance(result, int) else result.status


def _terminate(number: int, _: Any) -> None:
    """Leaves in order: runs are closed as KILLED, workers are ended."""
    sys.exit(SIGNALLED + number)
