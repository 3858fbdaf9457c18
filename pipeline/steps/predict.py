"""Predict: a model's answers for all rows of a source, however many, a batch at a time."""

import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.datasets.formats import as_frame
from pipeline.datasets.kinds import TABLE_KINDS
from pipeline.errors import ContractError, ModelError, nearest
from pipeline.inference.predictor import TOO_LARGE, Params, Predictor
from pipeline.schema.faults import Fault
from pipeline.schema.matrix import Matrix
from pipeline.schema.rules import check_rows

VERSION = "model_version"
PREFIX = "predicted_"  # of an answer's name that a column of the source has
ARROW_TYPES = {
    "boolean": pa.bool_(),
    "long": pa.int64(),
    "double": pa.float64(),
    "string": pa.string(),
}


class Batch(NamedTuple):
    """The answers for the valid rows of a batch, and what is wrong with the others."""

    answers: pa.Table  # columns of the source, then those of the answers; one row per valid row
    faults: list[Fault]  # by row, which counts from 1 in the whole source
    rejected: int  # rows


class Scorer:
    """Answers batches of a source's rows with a model."""

    def __init__(
        self, predictor: Predictor, version: str, names: Sequence[str], keep: Sequence[str] | None
    ) -> None:
        """`names` are the source's columns; `keep` those in the answers, None for all.

        Raises ContractError for columns that are missing, or there twice.
        """
        self._predictor = predictor
        self._version = version
        self._features = [name for name in predictor.contract.columns if name in names]
        self.keep = list(names) if keep is None else list(keep)
        _check_columns(names, [*self._features, *self.keep])
        self._fields = [
            pa.field(self._free(answer.name), ARROW_TYPES[answer.mlflow_type])
            for answer in predictor.target.columns
        ]
        self._version_name = self._free(VERSION)

    def _free(self, name: str) -> str:
        return PREFIX + name if name in self.keep else name

    @property
    def renamed(self) -> list[str]:
        """The answers that have another name, as a column of the source has theirs."""
        names = [*(field.name for field in self._fields), self._version_name]
        return [name for name in names if name.startswith(PREFIX)]

    def score(self, table: pa.Table, start: int) -> Batch:
        """The answers for a batch whose first row is the source's row `start`, from 0 on.

        Raises ContractError for a column that is missing, ModelError.
        """
        X, faults = check_rows(self._predictor.rules, self._cells(table))
        is_valid = np.ones(len(X), dtype=bool)
        is_valid[[fault.row - 1 for fault in faults]] = False
        faults += self._too_large(X, is_valid)
        columns = self._predictor.answers(X[is_valid], Params())
        kept = table.select(self.keep).filter(pa.array(is_valid))
        for field, values in zip(self._fields, columns.values(), strict=True):
            kept = kept.append_column(field, pa.array(values, field.type))
        version = pa.repeat(pa.scalar(self._version), kept.num_rows)
        faults = sorted(fault.moved(start) for fault in faults)
        answers = kept.append_column(self._version_name, version)
        return Batch(answers, faults, len(X) - int(is_valid.sum()))

    def _cells(self, table: pa.Table) -> pd.DataFrame:
        """The features' cells as cells of their columns' kinds."""
        frame = as_frame(table.select(self._features))
        columns = self._predictor.contract.columns
        return pd.DataFrame(
            {
                name: TABLE_KINDS[columns[name].kind].read(frame[name], columns[name])
                for name in self._features
            }
        )

    def _too_large(self, X: Matrix, is_valid: NDArray[np.bool_]) -> list[Fault]:
        """Takes rows out whose numbers are so large that they have no finite answer."""
        predictor = self._predictor
        largest = predictor.is_large(X)
        suspects = np.flatnonzero(is_valid & largest.any(axis=1))
        if not len(suspects) or _has_answers(predictor, X[suspects]):
            return []
        faults = []
        for row in suspects:
            if not _has_answers(predictor, X[[row]]):
                is_valid[row] = False
                name = list(predictor.contract.columns)[int(largest[row].argmax())]
                value = f"{X[row, largest[row].argmax()]:g}"
                faults.append(Fault(int(row) + 1, name, TOO_LARGE, value, "finite"))
        return faults


def _has_answers(predictor: Predictor, X: Matrix) -> bool:
    try:
        predictor.answers(X, Params())
    except (ContractError, ModelError):
        return False
    return True


def _check_columns(names: Sequence[str], needed: Iterable[str]) -> None:
    """Raises ContractError for one that the source lacks, or has twice."""
    for name in needed:
        if name not in names:
            hint = nearest(name, names) or f"; it has {', '.join(names)}"
            raise ContractError(f"--keep has {name!r}, which is no column of the source{hint}")
        if list(names).count(name) > 1:
            raise ContractError(
                f"the source has the column {name!r} twice; rename one of them, or name other "
                "columns with --keep"
            )


def score_all(
    scorer: Scorer, batches: Iterable[pa.Table], done: set[int]
) -> Iterator[tuple[int, Batch]]:
    """Each batch with its place among all, in order, on all cores; those that are done left out.

    There are never more than two batches per core in memory.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    with ThreadPoolExecutor(cores or 1) as pool:
        under_way: deque[tuple[int, Future[Batch]]] = deque()
        start = 0
        for place, table in enumerate(batches):
            if place not in done:
                under_way.append((place, pool.submit(partial(scorer.score, table, start))))
            start += table.num_rows
            if len(under_way) > 2 * (cores or 1):
                yield _result(under_way)
        while under_way:
            yield _result(under_way)


def _result(under_way: deque[tuple[int, Future[Batch]]]) -> tuple[int, Batch]:
    place, future = under_way.popleft()
    return place, future.result()
