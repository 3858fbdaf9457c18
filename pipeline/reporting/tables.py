"""Tables for people: the index as a column, whatever the other columns are called."""

import pandas as pd


def labelled(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """The index as the first column."""
    copy = table.copy()
    copy.insert(0, name, copy.index, allow_duplicates=True)
    return copy


def numbered(rows: pd.DataFrame) -> pd.DataFrame:
    """The number of the row as the first column: from 1, as in the contract's messages."""
    return labelled(rows.set_axis(rows.index + 1), "row").set_axis(rows.index)
