import numpy as np
import pytest

from pipeline.export.random_rows import MISSING, ROWS, random_rows
from pipeline.schema.columns import NumberColumn
from pipeline.schema.contract import Contract
from pipeline.schema.rules import Rules


def make_contract(**columns: NumberColumn) -> Contract:
    return Contract(columns=columns, target="y", classes=(0, 1), positive=1)


@pytest.mark.parametrize(
    ("column", "values"),
    [
        (NumberColumn(), [-3.0, 5.0]),
        (NumberColumn(range=(0, 1)), [0.0, 1.0]),
        (NumberColumn(range=(0, 1)), [0.4, 0.6]),
        (NumberColumn(range=(18, None)), [20.0, 70.0]),
        (NumberColumn(range=(None, 0.1)), [-0.3, 0.1]),
        (NumberColumn(range=(7, 7)), [7.0, 7.0]),
        (NumberColumn(range=(1, 1500), missing=0), [2.0, np.nan, 900.0]),
        (NumberColumn(range=(-5, 5), missing=0), [-5.0, np.nan, 5.0]),
        (NumberColumn(range=(0, 1e-300)), [0.0, 1e-300]),
        (NumberColumn(range=(1e300, 1e307)), [1e300, 1e307]),
    ],
)
def test_random_rows_keep_the_contract(column, values):
    contract = make_contract(x=column, other=NumberColumn())
    X_train = np.column_stack([values, np.arange(len(values))]).astype(float)

    rows = random_rows(contract, X_train)

    np.testing.assert_array_equal(Rules(contract.columns).apply(rows), rows)
    assert len(rows) == ROWS
    assert np.isnan(rows).mean(axis=0) == pytest.approx([MISSING, MISSING], abs=0.25)


def test_random_rows_go_beyond_the_training_part_as_far_as_the_contract_lets_them():
    contract = make_contract(free=NumberColumn(), bound=NumberColumn(range=(0, 3)))

    free, bound = random_rows(contract, np.array([[1.0, 1.0], [2.0, 2.0]])).T

    assert np.nanmin(free) < 0
    assert np.nanmax(free) > 3
    assert np.nanmin(bound) == pytest.approx(0, abs=0.01)
    assert np.nanmax(bound) == pytest.approx(3, abs=0.01)
    assert np.isin(free[::2], [1.0, 2.0]).mean() == pytest.approx(0.9, abs=0.02)


def test_random_rows_are_the_same_every_time():
    contract = make_contract(x=NumberColumn(), y=NumberColumn())
    X_train = np.random.default_rng(0).normal(size=(20, 2))

    np.testing.assert_array_equal(random_rows(contract, X_train), random_rows(contract, X_train))
