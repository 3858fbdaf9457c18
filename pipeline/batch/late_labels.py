"""Labels that came later than their rows, joined to them by a key."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa

from pipeline.batch.common import source_of
from pipeline.config.sections import Config
from pipeline.datasets import labels as label_texts
from pipeline.datasets.formats import as_frame
from pipeline.errors import ConfigError, ContractError, nearest
from pipeline.verbs import Options

if TYPE_CHECKING:
    from pipeline.datasets.sources import Source

SEPARATOR = "\x1f"  # between the cells of a key of several columns


class LateLabels:
    """A table of labels in memory, by the keys of the rows that they belong to."""

    def __init__(self, source: "Source", key: str, target: str) -> None:
        """Raises ConfigError for labels without a key; ContractError, SourceError."""
        self._key = [name.strip() for name in key.split(",") if name.strip()]
        if not self._key:
            raise ConfigError(
                "--labels asks for --key, the column or columns that name a row in both tables, "
                "such as --key request_id"
            )
        self.target = target
        table = source.read()
        self.check(list(table.columns), "--labels", [*self._key, target])
        labelled = table.dropna(subset=[*self._key, target])
        self._labels = pd.Series(labelled[target].array, index=_keys(labelled, self._key))
        twice = self._labels.index[self._labels.index.duplicated()]
        if len(twice):
            raise ContractError(
                f"--labels has the key {twice[0].replace(SEPARATOR, ', ')!r} twice; each row must "
                "have one label: take one out, or name more columns with --key"
            )
        self.joined = 0  # rows that have got a label

    def check(self, names: Sequence[str], table: str, asked: Sequence[str] | None = None) -> None:
        """Raises ContractError for a column of the key that the table lacks."""
        for name in self._key if asked is None else asked:
            if name not in names:
                raise ContractError(
                    f"{table} has no column {name!r}{nearest(name, names)}; it must have "
                    "those of --key, and the labels the target (or --target) too"
                )

    def join(self, batches: Iterator[pa.Table]) -> Iterator[pa.Table]:
        """The batches with the labels as their target; null where there is none."""
        for table in batches:
            keys = _keys(as_frame(table.select(self._key)), self._key)
            labels = self._labels.reindex(keys)
            self.joined += int(labels.notna().sum())
            rest = table.select([name for name in table.column_names if name != self.target])
            yield rest.append_column(self.target, pa.array(labels.array, from_pandas=True))


def _keys(table: pd.DataFrame, key: Sequence[str]) -> "pd.Index[Any]":
    """The keys as texts, so that 1 of a log is `1` of a CSV file; missing where a cell is."""
    keys, *others = (label_texts.as_texts(table[name]).astype("object") for name in key)
    for other in others:
        keys = keys + SEPARATOR + other
    index: pd.Index[Any] = pd.Index(keys)
    return index


def labels_of(
    config: Config, options: Options, names: list[str], target: str
) -> tuple[LateLabels | None, str | None]:
    """Labels of another source, None without; and the column that labels are in, None for none.

    `names` are the columns of the rows, `target` is the model's. Raises ConfigError for a key
    without labels, and ContractError.
    """
    if not options.labels:
        if options.key:
            raise ConfigError(f"--key is {options.key!r}, but there are no --labels to join by it")
        return None, _target_among(names, options.target, target)
    source = source_of(config.data, options.labels, None)
    late = LateLabels(source, options.key, options.target or target)
    late.check(names, f"data {options.data!r}")
    return late, late.target


def _target_among(names: list[str], asked: str, target: str) -> str | None:
    """The column of labels, None without one. Raises ContractError for one that is not there."""
    if asked and asked not in names:
        raise ContractError(
            f"--target is {asked!r}, which is no column of the source{nearest(asked, names)}"
        )
    return asked or (target if target in names else None)
