"""What a pickled pipeline begins with where columns are not all numbers: cells become codes.

Stock scikit-learn, pandas and the standard library only, as in `models.encoders`. It does for an
ordinary frame what `schema.kinds` does for a request; `promotion.proof` holds the two together.
"""

from collections.abc import Callable, Mapping
from itertools import groupby
from operator import methodcaller
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OrdinalEncoder

from pipeline.inference.runtimes import CELLS
from pipeline.schema.coded import OTHER, Coded
from pipeline.schema.columns import Column
from pipeline.schema.contract import Contract
from pipeline.schema.kinds import kind_of


def with_cells(model: Any, contract: Contract, cells: pd.DataFrame) -> Any:
    """The fitted model behind the encoder of its columns; itself where all are numbers."""
    if all(kind_of(column).plain_types for column in contract.columns.values()):
        return model
    encoder = ColumnTransformer(
        [
            (f"{place}", READERS[kind]([column for _, column in columns]), [n for n, _ in columns])
            for place, (kind, columns) in enumerate(_runs(contract))
        ],
        verbose_feature_names_out=False,
    )
    encoder.set_output(transform="pandas")
    return Pipeline([(CELLS, encoder.fit(cells)), ("classifier", model)])


def _runs(contract: Contract) -> list[tuple[str, list[tuple[str, Column]]]]:
    """Columns of one kind that stand side by side: so the order of all stays."""
    return [
        (kind, list(run)) for kind, run in groupby(contract.columns.items(), lambda c: c[1].kind)
    ]


def _as_doubles(_: list[Column]) -> Any:
    return _chain(methodcaller("astype", "float64"))


def _as_texts(_: list[Column]) -> Any:
    return _chain(methodcaller("astype", "str"))


def _as_codes(columns: list[Column]) -> Any:
    values = [_values(column) for column in columns]
    return OrdinalEncoder(
        categories=[np.array([*each, np.nan], dtype=object) for each in values],
        handle_unknown="use_encoded_value",
        unknown_value=int(OTHER),
    )


def _values(column: Column) -> tuple[Any, ...]:
    kind = kind_of(column)
    assert isinstance(kind, Coded)
    return kind.values(column)


def _as_days(_: list[Column]) -> Any:
    return _chain(
        methodcaller("astype", "datetime64[us]"),
        methodcaller("__sub__", pd.Timestamp(0)),
        methodcaller("__truediv__", pd.Timedelta(days=1)),
    )


def _chain(*calls: Any) -> Any:
    steps = [FunctionTransformer(call, feature_names_out="one-to-one") for call in calls]
    return make_pipeline(*steps)


READERS: Mapping[str, Callable[[list[Column]], Any]] = MappingProxyType(
    {
        "number": _as_doubles,
        "integer": _as_doubles,
        "boolean": _as_doubles,
        "category": _as_codes,
        "ordinal": _as_codes,
        "date": _as_days,
        "text": _as_texts,
    }
)
