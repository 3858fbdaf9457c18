"""What a check gives, and what it is given."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.config.write import as_set, block, scalar
from pipeline.datasets.sampling import sample
from pipeline.datasets.splits import strata
from pipeline.results import Dataset
from pipeline.schema.columns import Column, NumberColumn
from pipeline.schema.kinds import kind_of, text_columns

MOST_ROWS = 5_000  # that checks look at
LEAST = 100  # rows of a class that has them
SEED = 0
Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Finding:
    """A sentence for people, and what to set in the config: nothing where no setting helps."""

    sentence: str
    columns: Mapping[str, Column] = field(default_factory=dict)
    drop: Mapping[str, str] = field(default_factory=dict)
    split: Mapping[str, str] = field(default_factory=dict)

    @property
    def yaml(self) -> str:
        """The settings as a config has them; empty where there are none."""
        lines = []
        if self.columns or self.drop:
            lines.append("data:")
        if self.columns:
            columns = {name: as_set(column) for name, column in self.columns.items()}
            lines += ["  columns:", *block(columns, {}, "    ")]
        if self.drop:
            lines += ["  drop:", *block(self.drop, {}, "    ")]
        if self.split:
            lines += ["split:", *(f"  {key}: {scalar(name)}" for key, name in self.split.items())]
        return "\n".join(lines)


@dataclass(frozen=True)
class Sample:
    """A data set, and seeded rows of it where there are many.

    `X` holds the doubles that stand for its cells, and texts; `y` the places of the classes, or
    of tenths of amounts.
    """

    dataset: Dataset
    X: pd.DataFrame
    y: NDArray[np.intp]
    is_test: NDArray[np.bool_]

    @property
    def columns(self) -> Mapping[str, Column]:
        """The columns, with the levels that were learnt."""
        return self.dataset.contract.columns

    @property
    def measures(self) -> list[str]:
        """The columns of numbers."""
        return [n for n, column in self.columns.items() if isinstance(column, NumberColumn)]

    def values(self, name: str) -> Vector:
        """The doubles of a column, NaN where they are missing; of texts the places in `texts`."""
        return self._matrix[:, self._places[name]]

    def setting(self, name: str, **changes: Any) -> Column:
        """A column as the config has it, changed."""
        data = self.dataset.data
        columns = data.columns if data is not None and name in data.columns else self.columns
        return columns[name].model_copy(update=changes)

    def written(self, name: str, code: float) -> str:
        """A double as people write the value."""
        if np.isnan(code):
            return "nothing"
        column = self.columns[name]
        value: Any = self.texts[name][int(code)] if name in self.texts else code
        return kind_of(column).written(column, value)

    @cached_property
    def texts(self) -> Mapping[str, Sequence[str]]:
        """The different texts of each column that holds any."""
        names = text_columns(self.columns)
        return {name: self.X[name].dropna().unique().tolist() for name in names}

    @cached_property
    def _matrix(self) -> Vector:
        places = {
            name: pd.Index(texts).get_indexer(pd.Index(self.X[name])).astype(np.float64)
            for name, texts in self.texts.items()
        }
        coded = {name: np.where(codes < 0, np.nan, codes) for name, codes in places.items()}
        return self.X.assign(**coded).to_numpy(dtype=np.float64)

    @cached_property
    def _places(self) -> dict[str, int]:
        return {str(name): place for place, name in enumerate(self.X.columns)}


Check: TypeAlias = Callable[[Sample], Iterator[Finding]]


def draw(dataset: Dataset, rows: int = MOST_ROWS) -> Sample:
    """About so many rows of a data set at most, in the order of the parts, some of each class."""
    trained = len(dataset.y_train)
    y = pd.concat([dataset.y_train, dataset.y_test])
    places = sample(y, rows, SEED, least=LEAST)
    is_test = places >= trained
    train, test = places[~is_test], places[is_test] - trained
    X = pd.concat([dataset.X_train.iloc[train], dataset.X_test.iloc[test]])
    classes = list(dataset.contract.classes)
    codes = (
        pd.Categorical(y.iloc[places], categories=classes).codes if classes else strata(y)[places]
    )
    return Sample(dataset, X, np.asarray(codes, dtype=np.intp), is_test)
