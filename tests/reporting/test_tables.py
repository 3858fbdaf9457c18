import pandas as pd
import pytest

from pipeline.reporting.tables import labelled, numbered


@pytest.fixture
def table() -> pd.DataFrame:
    return pd.DataFrame({"row": [1.5, 2.5], "b": [3, 4]}, index=[7, 2])


def test_labelled_has_the_index_as_its_first_column_whatever_the_others_are_called(table):
    labels = labelled(table, "row")
    assert labels.columns.tolist() == ["row", "row", "b"]
    assert labels.to_numpy().tolist() == [[7, 1.5, 3], [2, 2.5, 4]]


def test_numbered_counts_rows_from_one_and_keeps_the_index(table):
    labels = numbered(table)
    assert labels.columns.tolist() == ["row", "row", "b"]
    assert labels.to_numpy().tolist() == [[8, 1.5, 3], [3, 2.5, 4]]
    assert labels.index.tolist() == [7, 2]


@pytest.mark.parametrize("show", [numbered, lambda table: labelled(table, "b")])
def test_given_table_stays_as_it_is(table, show):
    before = table.copy()
    show(table)
    pd.testing.assert_frame_equal(table, before)
