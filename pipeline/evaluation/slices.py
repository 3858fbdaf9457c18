"""Groups of rows by the values of a column, whose metrics the gate looks at one by one."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.schema.columns import Column
from pipeline.schema.kinds import kind_of

Group = tuple[str, NDArray[np.bool_]]


def groups(
    name: str, column: Column, values: NDArray[np.float64], cuts: Sequence[float]
) -> Iterator[Group]:
    """Each group's name and its rows; gaps are a group if there are any.

    A cut opens a group of numbers; without cuts each value is one.
    """
    missing = np.isnan(values)
    yield from (_between(name, values, cuts) if cuts else _of_each(name, column, values))
    if missing.any():
        yield f"{name} missing", missing


def _of_each(name: str, column: Column, values: NDArray[np.float64]) -> Iterator[Group]:
    kind = kind_of(column)
    for value in np.unique(values[~np.isnan(values)]).tolist():
        yield f"{name} = {kind.written(column, value)}", values == value


def _between(column: str, values: NDArray[np.float64], cuts: Sequence[float]) -> Iterator[Group]:
    places = np.digitize(values, cuts)
    missing = np.isnan(values)
    for place in range(len(cuts) + 1):
        low = f"{cuts[place - 1]:.15g} <= " if 0 < place < len(cuts) else ""
        high = f" < {cuts[place]:.15g}" if place < len(cuts) else f" >= {cuts[-1]:.15g}"
        yield f"{low}{column}{high}", (places == place) & ~missing
