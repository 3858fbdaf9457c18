"""Simple random samples of a stream of rows, of which nobody knows how long it is."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.schema.matrix import Matrix, Vector

MOST_HELD = 3  # times as many rows as a sample has, before those are left out that are in none


class DrawnRows(NamedTuple):
    """The rows of a sample of all rows, and of one of those with labels, in their order."""

    X: Matrix
    truth: NDArray[Any]
    is_of_all: NDArray[np.bool_]
    is_of_labelled: NDArray[np.bool_]


class RowSample:
    """A sample of all rows, and one of those with labels, of at most so many rows each.

    Every row gets a random key, and those with the smallest keys are the sample (Fan, Muller and
    Rezucha 1962). The keys are seeded: the same rows give the same sample.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._rng = np.random.default_rng(0)
        self._limits = [1.0, 1.0]  # of the keys: of all rows, and of those with labels
        self._parts: list[tuple[Vector, Matrix, NDArray[Any], NDArray[np.bool_]]] = []

    def add(self, X: Matrix, truth: NDArray[Any], is_labelled: NDArray[np.bool_]) -> None:
        """Rows that follow those of before; all arrays have an entry for each."""
        part = (self._rng.random(len(X)), X, truth, is_labelled)
        self._parts.append(self._within_limits(part))
        if sum(len(keys) for keys, *_ in self._parts) > MOST_HELD * self._most:
            self._lower_limits()

    def drawn(self) -> DrawnRows:
        """The rows of either sample."""
        self._lower_limits()
        ((keys, X, truth, is_labelled),) = self._parts
        of_all, of_labelled = self._limits
        return DrawnRows(X, truth, keys < of_all, is_labelled & (keys < of_labelled))

    def _within_limits(self, part: Any) -> Any:
        keys, *_, is_labelled = part
        of_all, of_labelled = self._limits
        is_drawn = (keys < of_all) | (is_labelled & (keys < of_labelled))
        return part if is_drawn.all() else tuple(each[is_drawn] for each in part)

    def _lower_limits(self) -> None:
        """So that either sample has no more rows than it may have."""
        keys, X, truth, is_labelled = map(np.concatenate, zip(*self._parts, strict=True))
        for place, candidates in enumerate((keys, keys[is_labelled])):
            if len(candidates) > self._most:
                self._limits[place] = float(np.partition(candidates, self._most)[self._most])
        self._parts = [self._within_limits((keys, X, truth, is_labelled))]
