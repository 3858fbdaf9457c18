"""Predict: a model's answers for all rows of a source, however many, a batch at a time."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import pyarrow as pa

from pipeline.errors import ContractError, nearest
from pipeline.evaluation.checked_rows import RowReader
from pipeline.inference.predictor import Params, Predictor
from pipeline.schema.faults import Fault

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
        self._reader = RowReader(predictor, names)
        self._version = version
        self.keep = list(names) if keep is None else list(keep)
        _check_kept(names, self.keep)
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
        X, is_valid, faults = self._reader.read(table)
        columns = self._reader.predictor.answers(X[is_valid], Params())
        kept = table.select(self.keep).filter(pa.array(is_valid))
        for field, values in zip(self._fields, columns.values(), strict=True):
            kept = kept.append_column(field, pa.array(values, field.type))
        version = pa.repeat(pa.scalar(self._version), kept.num_rows)
        answers = kept.append_column(self._version_name, version)
        return Batch(answers, [fault.moved(start) for fault in faults], int((~is_valid).sum()))


def _check_kept(names: Sequence[str], kept: Iterable[str]) -> None:
    """Raises ContractError for one that the source lacks, or has twice."""
    for name in kept:
        if name not in names:
            hint = nearest(name, names) or f"; it has {', '.join(names)}"
            raise ContractError(f"--keep has {name!r}, which is no column of the source{hint}")
        if list(names).count(name) > 1:
            raise ContractError(
                f"the source has the column {name!r} twice; rename one of them, or name other "
                "columns with --keep"
            )
