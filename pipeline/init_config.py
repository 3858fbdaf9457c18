"""`init`: from a file that nobody has described to a config that runs."""

import logging
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pipeline.config.load import model_name
from pipeline.config.sections import Data
from pipeline.datasets.proposal import possible_targets, propose, with_missing_targets
from pipeline.datasets.sources import open_source
from pipeline.datasets.target import inferred_target, target_cells
from pipeline.errors import ConfigError
from pipeline.verbs import Options

log = logging.getLogger(__name__)
FOLDER = "configs"
UNKNOWN = "(not named)"  # stands for the target while the table is read


def init(options: Options) -> Path:
    """Writes the config and says what it holds and what to type next; returns its path.

    Raises ConfigError without a target, naming the columns that could be one.
    """
    data = _data(source=options.data, target=options.target or UNKNOWN)
    path = Path(options.output or f"{FOLDER}/{model_name(options.data) or 'model'}.yaml")
    if path.exists() and not options.force:
        raise ConfigError(
            f"{path} exists; --force writes over it, --output PATH.yaml writes another"
        )
    table = open_source(data).read()
    if not options.target:
        raise ConfigError(_no_target(options.data, possible_targets(table)))
    data = with_missing_targets(data, table)
    data, y, classes = inferred_target(data, target_cells(data, table))
    proposal = propose(data, table, y, classes)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(proposal.text, encoding="utf-8")
    for finding in proposal.findings:
        log.info("  %s", finding)
    log.info("%s is written: check it, then\n  python -m pipeline run %s", path, path)
    return path


def _no_target(source: str, names: list[str]) -> str:
    if not names:
        return f"no column of {source!r} has between 2 and 20 values, or numbers; name --target"
    return "\n  ".join([f"which column of {source!r} is to be predicted? --target one of", *names])


def _data(**settings: Any) -> Data:
    try:
        return Data(**settings)
    except ValidationError as error:
        raise ConfigError(str(error)) from None
