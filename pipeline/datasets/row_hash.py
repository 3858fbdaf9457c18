"""Which rows are the same in two tables: no model is to be evaluated on its training rows."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.schema.contract import Contract
from pipeline.schema.rules import Rules, to_matrix

FILE = "training_rows.npz"  # of a training run: the hashes of the rows that it trained on
FORMAT = 1  # of the hash: to be raised when `hash_rows` changes what it gives


def hash_rows(contract: Contract, X: pd.DataFrame, y: "pd.Series[Any]") -> NDArray[np.uint64]:
    """64 bits of each row's values in a contract's columns, and of its label.

    Rows that are alike are counted: the third of a kind in one table has the hash of the third in
    another, so a table that grew holds the rows that it held before. The order of the columns
    does not count, nor do columns that the contract does not have. Raises ContractError for rows
    that break it.
    """
    names = list(contract.columns)
    rules, order = Rules(contract.columns), np.argsort(names)
    values = to_matrix(rules, X[[name for name in names if name in X]])
    numbers = rules.numbers(values)
    numbers = np.where(np.isnan(numbers), np.nan, numbers + 0.0)  # one kind of NaN, and of zero
    table = pd.DataFrame(numbers[:, order])
    for place in np.flatnonzero(rules.are_texts[order]):
        table[place] = values[:, order[place]]
    table[len(names)] = y.astype(str).to_numpy(dtype=object)
    content = pd.util.hash_pandas_object(table, index=False)
    counted = pd.DataFrame({"content": content, "count": content.groupby(content).cumcount()})
    hashes = pd.util.hash_pandas_object(counted, index=False)
    return np.asarray(hashes, dtype=np.uint64)
