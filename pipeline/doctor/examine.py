"""`doctor`: all checks, one after the other, and what they say."""

import json
import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import replace

from mlflow.exceptions import MlflowException

from pipeline import closing
from pipeline.command_line import PROGRAM
from pipeline.config.sections import Config
from pipeline.doctor import machine, registered, store
from pipeline.doctor.finding import MENDED, WRONG, Finding, wrong
from pipeline.errors import PipelineError
from pipeline.tracking import store_errors
from pipeline.verbs import Options

UNWELL = 1  # exit status where something is wrong
CHECKS: tuple[Callable[[Config], Iterator[Finding]], ...] = (
    machine.libraries,
    machine.pickles,
    machine.temporary_files,
    machine.port,
    machine.keys,
    store.tracking,
)
OF_STORE = (  # they need a store that answers
    store.artifacts,
    store.left_running,
    store.files,
    registered.versions,
    registered.champion,
    registered.log_and_alias,
)
PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}


def doctor(config: Config, options: Options) -> int:
    """Prints a finding a line, or all as JSON; with `options.fix` mends what can lose nothing.

    Returns the exit status: 0 where all is in order, or is now, else 1.
    """
    for name, value in PATIENCE.items():
        os.environ.setdefault(name, value)
    if options.json:
        logging.getLogger("pipeline").setLevel(logging.ERROR)  # nothing else on this stream
    findings = []
    for one in examine(config):
        finding = _complete(_mended(one) if options.fix else one, options)
        findings.append(finding)
        if not options.json:
            print(finding.lines, flush=True)
    if options.json:
        print(json.dumps([finding.fields for finding in findings], indent=1))
    return UNWELL if any(finding.status == WRONG for finding in findings) else 0


def examine(config: Config) -> Iterator[Finding]:
    """What all checks find. Those of the store come last, and only where it answers."""
    answers = True
    for check in CHECKS:
        for finding in _tried(check, config):
            answers &= finding.subject != store.SUBJECT or finding.status != WRONG
            yield finding
    if answers and store.exists():
        for check in OF_STORE:
            yield from _tried(check, config)


def _tried(check: Callable[[Config], Iterator[Finding]], config: Config) -> Iterator[Finding]:
    """The findings of a check; that it could not go on is one."""
    subject = store.SUBJECT if check is store.tracking else check.__name__.replace("_", " ")
    try:
        yield from check(config)
    except PipelineError as error:
        yield wrong(subject, str(error))
    except Exception as error:
        mistake = store_errors.mistake(error)
        if mistake is None and not isinstance(error, (MlflowException, OSError)):
            raise
        yield wrong(subject, f"cannot be checked: {mistake or error}")


def _complete(finding: Finding, options: Options) -> Finding:
    """With the config and the settings of this command in a command of this project."""
    program, is_own, words = finding.command.partition(f"{PROGRAM} ")
    if program or not is_own:
        return finding
    return replace(finding, command=closing.command(words.split()[0], options, *words.split()[1:]))


def _mended(finding: Finding) -> Finding:
    if finding.fix is None:
        return finding
    try:
        finding.fix()
    except (PipelineError, MlflowException, OSError) as error:
        return replace(finding, message=f"{finding.message}; mending it failed: {error}")
    return replace(finding, status=MENDED)
