"""Translates what takes codes of categories: encoders, and splits of trees by sets of levels.

A column of codes has few values. So whatever an encoder makes of it is a table with a row for
each of them, which the fitted encoder itself fills: the translation looks up, it does not compute.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from onnx import TensorProto

from pipeline.export.onnx_builder import Graph
from pipeline.schema.coded import OTHER
from pipeline.schema.matrix import Matrix

if TYPE_CHECKING:
    from sklearn.preprocessing import OneHotEncoder, TargetEncoder

MOST_PRODUCTS = 4096  # rows of a table that is looked up by a matrix product; longer ones by index


def one_hot(graph: Graph, encoder: OneHotEncoder, X: str) -> str:
    """A column per level, with rare levels in one."""
    return _look_up(graph, encoder, X, encoder._n_features_outs)


def by_target(graph: Graph, encoder: TargetEncoder, X: str) -> str:
    """The mean of the target, or of each of more classes."""
    columns = len(encoder.categories_)
    return _look_up(graph, encoder, X, [len(encoder.encodings_) // columns] * columns)


def codes(categories: Sequence[NDArray[Any]]) -> NDArray[np.float64]:
    """All codes that may occur: that of other values, those of levels, and NaN for a missing one.

    `categories` are the values that an encoder has met in each column.
    """
    highest = max((float(np.nanmax(c, initial=OTHER)) for c in categories), default=OTHER)
    return np.array([*np.arange(OTHER, highest + 1), np.nan])


def places(graph: Graph, X: str, count: int) -> str:
    """The place of each cell among `count` codes, as integers; a code past them is an other."""
    last = float(count - 2)  # the code of NaN's place
    bounded = graph(
        "Where", graph("GreaterOrEqual", X, graph.constant(last)), graph.constant(OTHER), X
    )
    filled = graph("Where", graph("IsNaN", X), graph.constant(last), bounded)
    return graph("Cast", graph("Sub", filled, graph.constant(OTHER)), to=TensorProto.INT64)


def indicators(graph: Graph, X: str, columns: int, count: int) -> str:
    """Rows x (columns * count): 1 where a column has a code, else 0."""
    wide = graph("Unsqueeze", places(graph, X, count), graph.constant([2], np.int64))
    is_code = graph("Equal", wide, graph.constant(np.arange(count), np.int64))
    flat = graph("Reshape", is_code, graph.constant([-1, columns * count], np.int64))
    return graph("Cast", flat, to=TensorProto.DOUBLE)


def _look_up(graph: Graph, encoder: Any, X: str, widths: Sequence[int]) -> str:
    values = codes(encoder.categories_)
    tables = np.split(_transform(encoder, values), np.cumsum(widths)[:-1], axis=1)
    if len(tables) * len(values) <= MOST_PRODUCTS:
        ones = indicators(graph, X, len(tables), len(values))
        return graph("MatMul", ones, graph.constant(_block_diagonal(tables)))
    index = places(graph, X, len(values))
    parts = []
    for place, table in enumerate(tables):
        of_column = graph("Gather", index, graph.constant(place, np.int64), axis=1)
        parts.append(graph("Gather", graph.constant(table), of_column, axis=0))
    return graph("Concat", *parts, axis=1)


def _transform(encoder: Any, values: NDArray[np.float64]) -> Matrix:
    """What the encoder makes of each code, in all its columns at once."""
    rows = np.repeat(values[:, None], encoder.n_features_in_, axis=1)
    names = getattr(encoder, "feature_names_in_", None)
    table: Matrix = encoder.transform(rows if names is None else pd.DataFrame(rows, columns=names))
    return np.asarray(table, dtype=np.float64)


def _block_diagonal(tables: Sequence[Matrix]) -> Matrix:
    from scipy.linalg import block_diag

    joined: Matrix = block_diag(*tables)
    return joined


class LevelSets:
    """The sets of levels by which trees split, each as a column of zeros and ones of its own.

    `categories` holds, for each column of codes, which stand first, the codes that were met.
    """

    def __init__(self, categories: Sequence[NDArray[Any]], columns: int) -> None:
        self.columns = columns
        self._categories = [np.asarray(c, dtype=np.float64) for c in categories]
        self._codes = codes(self._categories)
        self._sets: dict[tuple[int, bytes], int] = {}
        self._tables: list[tuple[int, NDArray[np.float64]]] = []

    def column(self, feature: int, left: NDArray[np.uint32], missing_left: bool) -> int:
        """The place of the column that is 0 for rows that go left and 1 for those that go right.

        `left` are the bits of the levels that go left; what was not met goes where gaps go.
        """
        goes_right = np.full(len(self._codes), 0.0 if missing_left else 1.0)
        for place, code in enumerate(self._categories[feature]):
            if not np.isnan(code):
                is_left = left[place // 32] >> np.uint32(place % 32) & np.uint32(1)
                goes_right[int(code - OTHER)] = 0.0 if is_left else 1.0
        key = (feature, goes_right.tobytes())
        if key not in self._sets:
            self._sets[key] = len(self._tables)
            self._tables.append((feature, goes_right))
        return self.columns + self._sets[key]

    def added_to(self, graph: Graph, X: str) -> str:
        """The columns of X and those of the sets."""
        if not self._tables:
            return X
        count, few = len(self._codes), len(self._categories)
        matrix = np.zeros((few * count, len(self._tables)))
        for place, (feature, goes_right) in enumerate(self._tables):
            matrix[feature * count : (feature + 1) * count, place] = goes_right
        of_codes = graph("Gather", X, graph.constant(np.arange(few), np.int64), axis=1)
        ones = indicators(graph, of_codes, few, count)
        return graph("Concat", X, graph("MatMul", ones, graph.constant(matrix)), axis=1)
