"""Ingest: from the source's bytes to a checked data set in two parts."""

import hashlib

from pipeline.config.sections import Config
from pipeline.datasets import dataset as datasets
from pipeline.datasets import sources
from pipeline.results import Dataset


def ingest(config: Config, content: bytes) -> Dataset:
    """Reads, checks and splits. Raises SourceError, ContractError or ConfigError."""
    table = sources.read_table(content, config.data.source, config.data.target)
    return datasets.build(config, table, hashlib.sha256(content).hexdigest())
