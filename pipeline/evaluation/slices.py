"""Groups of rows by the values of a column, whose metrics the gate looks at one by one."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray


def groups(
    column: str, values: NDArray[np.float64], cuts: Sequence[float]
) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Each group's name and its rows; a cut opens a group, gaps are a group if there are any."""
    places = np.digitize(values, cuts)
    missing = np.isnan(values)
    for place in range(len(cuts) + 1):
        low = f"{cuts[place - 1]:.15g} <= " if 0 < place < len(cuts) else ""
        high = f" < {cuts[place]:.15g}" if place < len(cuts) else f" >= {cuts[-1]:.15g}"
        yield f"{low}{column}{high}", (places == place) & ~missing
    if missing.any():
        yield f"{column} missing", missing
