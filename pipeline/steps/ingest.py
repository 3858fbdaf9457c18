"""Ingest: from a source to a checked data set in two parts."""

from pipeline.config.sections import Config
from pipeline.datasets.dataset import build_dataset
from pipeline.datasets.sources import Source
from pipeline.results import Dataset


def ingest(config: Config, source: Source) -> Dataset:
    """Reads, checks and splits. Raises SourceError, ContractError or ConfigError."""
    return build_dataset(config, source.read(), source.digest())
