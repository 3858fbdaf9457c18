"""What pushed each row's answer up or down: Shapley values against a reference row.

With the value of a coalition being the log-odds, or the amount, of a row that has the coalition's
columns from the row asked for and the others from the reference row (baseline Shapley,
Sundararajan and Najmi 2020). They add up to the row's value less the reference's. For a model that
is linear in it they are its terms: coefficient times distance from the reference.
"""

from collections.abc import Callable
from functools import cache
from math import factorial

import numpy as np
from numpy.typing import NDArray

from pipeline.schema.matrix import Matrix

Value = Callable[[Matrix], NDArray[np.float64]]
MOST_EXACT = 10  # columns: 1,024 coalitions
PAIRS = 64  # of orders, each with its reverse (Mitchell et al. 2022), past that
SEED = 0


def contributions(value: Value, row: NDArray[np.float64], reference: Matrix) -> Matrix:
    """One number per column: exact up to ten columns, past that estimated from 128 orders.

    The estimate is exact too where columns do not interact.
    """
    if len(row) <= MOST_EXACT:
        members, factors = _coalitions(len(row))
        exact: Matrix = factors @ value(np.where(members, row, reference))
        return exact
    return _estimated(value, row, reference)


@cache
def _coalitions(columns: int) -> tuple[NDArray[np.bool_], Matrix]:
    """All coalitions (2^k x k), and the factors (k x 2^k) of their values in Shapley's formula."""
    codes = np.arange(2**columns)
    members = (codes[:, None] >> np.arange(columns)) & 1 == 1
    sizes = members.sum(axis=1)
    share = np.array(
        [factorial(s) * factorial(columns - s - 1) for s in range(columns)], dtype=float
    ) / factorial(columns)
    joined = np.where(members, share[np.maximum(sizes - 1, 0)][:, None], 0.0)
    left = np.where(members, 0.0, share[np.minimum(sizes, columns - 1)][:, None])
    return members, (joined - left).T


def _estimated(value: Value, row: NDArray[np.float64], reference: Matrix) -> Matrix:
    columns = len(row)
    rng = np.random.default_rng(SEED)
    half = [rng.permutation(columns) for _ in range(PAIRS)]
    orders = np.array([*half, *(order[::-1] for order in half)])
    place = np.argsort(orders, axis=1)
    steps = np.arange(columns + 1)
    joined = place[:, None, :] < steps[None, :, None]  # orders x steps x columns
    values = value(np.where(joined, row, reference).reshape(-1, columns)).reshape(len(orders), -1)
    gains = np.diff(values, axis=1)  # of the column that joins at each step
    means: Matrix = np.take_along_axis(gains, place, axis=1).mean(axis=0)
    return means
