"""The source of new rows, and the model that is to look at them."""

import re
from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING

import pyarrow as pa
from mlflow.entities.model_registry import ModelVersion

from pipeline.config.sections import Config, Data
from pipeline.datasets.formats import as_frame
from pipeline.datasets.sources import DATABASES, Source, open_source, scheme, stem
from pipeline.datasets.table_source import TableSource
from pipeline.errors import ConfigError, ContractError
from pipeline.evaluation import profile
from pipeline.evaluation.profile import Profile
from pipeline.inference.model_folder import PROFILE
from pipeline.promotion.stored_model import StoredModel
from pipeline.tracking import registry, runs

if TYPE_CHECKING:
    import pandas as pd

BEYOND = 4  # exit status of `monitor` where something is beyond the bounds
BATCH = 50_000  # rows at a time, at most
CELLS = 1_000_000  # at a time, at most, but for LEAST rows
LEAST = 1000
TYPED = 1000  # rows from which MLflow takes the types of the columns
MODEL = re.compile(r"models:/([^/@]+)(?:/(\d+)|@([\w-]+))")


def source_of(data: Data, name: str, table: "pd.DataFrame | None") -> Source:
    """The source of that name, read as the config says of its own; or else the table."""
    query = data.query if scheme(name) in DATABASES else None
    settings = data.model_copy(update={"source": name, "sha256": None, "query": query})
    return open_source(settings) if table is None else TableSource(settings, table)


def version_at(config: Config, address: str) -> ModelVersion:
    """The version at an address such as `models:/name/3`; the champion if none is given."""
    match = MODEL.fullmatch(address)
    if address and match is None:
        raise ConfigError(
            f"--model is {address!r}; it must be models:/NAME/VERSION or models:/NAME@ALIAS"
        )
    name = match[1] if match else config.registry.model
    number, alias = (match[2], match[3]) if match else (None, None)
    return registry.version(name, number, alias or registry.CHAMPION)


def begin(source: Source, name: str) -> tuple[pa.Table, Iterator[pa.Table]]:
    """The first batch, and all of them. Raises ContractError for a source without rows."""
    batches = _of_few_cells(source.batches(BATCH))
    first = next(batches, None)
    if first is None:
        raise ContractError(f"data {name!r} has no rows, only a header")
    return first, chain([first], batches)


def _of_few_cells(batches: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """Those of tables with many columns in several: each is copied a few times on its way."""
    for table in batches:
        rows = max(CELLS // max(table.num_columns, 1), LEAST)
        yield from (table.slice(start, rows) for start in range(0, table.num_rows, rows))


def profile_of(model: StoredModel) -> Profile | None:
    """How the rows of a model's training are spread; None where it was trained without."""
    path = model.folder / PROFILE
    return profile.read(path.read_text("utf-8")) if path.exists() else None


def title(version: ModelVersion) -> str:
    """The version by its name, for people."""
    return f"{version.name} version {version.version}"


def tags(version: ModelVersion, model: StoredModel, digest: str, outcome: str) -> dict[str, str]:
    """Those of a run in which a version answered rows of that digest."""
    return {
        "data_digest": digest,
        "model_version": str(version.version),
        "model_id": model.model_id,
        runs.NAME: f"{version.name} v{version.version} {outcome}",
    }


def log_input(first: pa.Table, rows: int, name: str, digest: str, context: str) -> None:
    """The rows as an input of the active run, whose types the first of them tell."""
    typed = as_frame(first.slice(0, TYPED))
    runs.log_dataset(runs.Input(typed, rows, name, stem(name), digest), context)
