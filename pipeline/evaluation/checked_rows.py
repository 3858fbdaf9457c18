"""Rows of any source, held one by one against the contract of a model that is to answer them."""

import os
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from pipeline.datasets.formats import as_frame
from pipeline.datasets.kinds import TABLE_KINDS
from pipeline.errors import ContractError, ModelError
from pipeline.inference.predictor import TOO_LARGE, Params, Predictor
from pipeline.schema.contract import Contract
from pipeline.schema.faults import Fault
from pipeline.schema.matrix import Matrix
from pipeline.schema.rules import check_rows

T = TypeVar("T")
B = TypeVar("B", bound=Sized)  # a table, or a matrix
OTHER_CLASS = -1  # of a row without a label, or with one that the model does not know


class CheckedRows(NamedTuple):
    """A batch as a matrix (rows x columns), which rows the model answers, and why not the others.

    Faults are in the order of the rows, which count from 1 within the batch.
    """

    X: Matrix
    is_valid: NDArray[np.bool_]
    faults: list[Fault]


class RowReader:
    """Reads batches of a source whose columns have these names, for a model."""

    def __init__(self, predictor: Predictor, names: Sequence[str]) -> None:
        """Raises ContractError for a column that is there twice."""
        self.predictor = predictor
        self._features = [name for name in predictor.contract.columns if name in names]
        twice = [name for name in self._features if list(names).count(name) > 1]
        if twice:
            raise ContractError(f"the source has the column {twice[0]!r} twice; rename one of them")

    def read(self, table: pa.Table) -> CheckedRows:
        """The rows of a batch. Raises ContractError for a column that is missing."""
        X, faults = check_rows(self.predictor.rules, self._cells(table), table.num_rows)
        is_valid = np.ones(len(X), dtype=bool)
        is_valid[[fault.row - 1 for fault in faults]] = False
        faults += self._too_large(X, is_valid)
        return CheckedRows(X, is_valid, sorted(faults))

    def _cells(self, table: pa.Table) -> "dict[str, pd.Series[Any]]":
        """The features' cells as cells of their columns' kinds."""
        frame = as_frame(table.select(self._features))
        columns = self.predictor.contract.columns
        return {
            name: TABLE_KINDS[columns[name].kind].read(frame[name], columns[name])
            for name in self._features
        }

    def _too_large(self, X: Matrix, is_valid: NDArray[np.bool_]) -> list[Fault]:
        """Takes rows out whose numbers are so large that they have no finite answer."""
        largest = self.predictor.is_large(X)
        suspects = np.flatnonzero(is_valid & largest.any(axis=1))
        if not len(suspects) or self._has_answers(X[suspects]):
            return []
        faults = []
        for row in suspects:
            if not self._has_answers(X[[row]]):
                is_valid[row] = False
                place = int(largest[row].argmax())
                name = list(self.predictor.contract.columns)[place]
                faults.append(Fault(int(row) + 1, name, TOO_LARGE, f"{X[row, place]:g}", "finite"))
        return faults

    def _has_answers(self, X: Matrix) -> bool:
        try:
            self.predictor.answers(X, Params())
        except (ContractError, ModelError):
            return False
        return True


def in_order(function: Callable[[B, int], T], batches: Iterable[B]) -> Iterator[T]:
    """What the function makes of each batch and its first row's place, on all cores, in order.

    There are never more than two batches per core in memory. Libraries have one thread per batch:
    with more, each waits for those of other batches, which takes long on a busy machine.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    limit = partial(threadpool_limits, 1)  # OpenMP's is of the thread that sets it
    with limit(), ThreadPoolExecutor(cores or 1, initializer=limit) as pool:
        under_way: deque[Future[T]] = deque()
        start = 0
        for batch in batches:
            under_way.append(pool.submit(function, batch, start))
            start += len(batch)
            if len(under_way) > 2 * (cores or 1):
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()


def truth_of(contract: Contract, table: pa.Table, target: str | None) -> NDArray[Any]:
    """The places of the rows' classes; -1 where there is none, or another than the model's.

    Where amounts are predicted, these; NaN where there is none.
    """
    if not contract.classes:
        cells = None if target is None else as_frame(table.select([target]))[target]
        none = pd.Series(np.nan, range(table.num_rows))
        return pd.to_numeric(none if cells is None else cells, errors="coerce").to_numpy(float)
    if target is None:
        return np.full(table.num_rows, OTHER_CLASS, dtype=np.intp)
    places = {str(label).lower(): place for place, label in enumerate(contract.classes)}
    labels = as_frame(table.select([target]))[target]
    if labels.dtype == object:  # in which 1 and True are one value
        labels = labels.map(_written, na_action="ignore")
    codes, different = pd.factorize(labels)
    classes = [places.get(_written(label), OTHER_CLASS) for label in different.tolist()]
    return np.array([*classes, OTHER_CLASS], dtype=np.intp)[codes]  # -1, the last, is a missing one


def has_truth(contract: Contract, truth: NDArray[Any]) -> NDArray[np.bool_]:
    """Which of the rows have a true target that counts, by what `truth_of` gives."""
    labelled: NDArray[np.bool_] = truth != OTHER_CLASS if contract.classes else np.isfinite(truth)
    return labelled


def other_labels(
    contract: Contract, table: pa.Table, target: str | None, truth: NDArray[Any]
) -> Counter[str]:
    """How many labels are none of the model's, under the first of them; none without a target."""
    if target is None:
        return Counter()
    labels = table[target].filter(pa.array(~has_truth(contract, truth)))
    labels = labels.filter(pc.invert(pc.is_null(labels, nan_is_null=True)))
    return Counter({_written(labels[0].as_py()): len(labels)}) if len(labels) else Counter()


def sentence_about(contract: Contract, others: Counter[str]) -> str:
    """What the labels of `other_labels` are, for people; empty where there are none."""
    if not others:
        return ""
    are = "classes of the model" if contract.classes else "numbers"
    return (
        f"{others.total()} labels are no {are}, such as {next(iter(others))[:60]!r}: not counted."
    )


def _written(label: Any) -> str:
    """As a class is written in a file: 1.0 as 1, True as true."""
    is_whole = isinstance(label, float) and label.is_integer()
    return str(int(label) if is_whole else label).strip().lower()
