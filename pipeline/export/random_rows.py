"""Random rows that keep a contract, on which a compiled model must answer as its original."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

from pipeline.schema.columns import Column
from pipeline.schema.contract import Contract
from pipeline.schema.kinds import kind_of
from pipeline.schema.matrix import Matrix, Vector

ROWS = 10_000
MISSING = 0.1  # share of the cells
SEED = 0

RandomCells = Callable[[np.random.Generator, Column, Vector], Vector]


def random_rows(contract: Contract, X_train: Matrix) -> Matrix:
    """Rows x columns: by turns values of the training part, each column shuffled, and any at all.

    A tenth of the cells is missing.
    """
    rng = np.random.default_rng(SEED)
    rows = np.empty((ROWS, X_train.shape[1]))
    for place, column in enumerate(contract.columns.values()):
        values = X_train[:, place]
        rows[:, place] = RANDOM_CELLS[column.kind](rng, column, values)
        rows[::2, place] = rng.choice(values, len(rows[::2]))
    rows[rng.random(rows.shape) < MISSING] = np.nan
    return rows


def _random_numbers(rng: np.random.Generator, column: Column, values: Vector) -> Vector:
    """Numbers within the range of the values and, where the column lets them, as far beyond it."""
    smallest, largest = np.nanmin(values), np.nanmax(values)
    beyond = largest - smallest + 1
    low, high = kind_of(column).bounds(column)
    return rng.uniform(max(low, smallest - beyond), min(high, largest + beyond), ROWS)


def _random_codes(rng: np.random.Generator, column: Column, values: Vector) -> Vector:
    """Any of the codes, the one for others included."""
    low, high = kind_of(column).bounds(column)
    return rng.integers(int(low), int(high) + 1, ROWS).astype(np.float64)


def _random_whole_numbers(rng: np.random.Generator, column: Column, values: Vector) -> Vector:
    """As numbers, but whole."""
    return np.round(_random_numbers(rng, column, values))


RANDOM_CELLS: Mapping[str, RandomCells] = MappingProxyType(
    {
        "number": _random_numbers,
        "integer": _random_whole_numbers,
        "boolean": _random_codes,
        "category": _random_codes,
        "ordinal": _random_codes,
        "date": _random_numbers,
    }
)
