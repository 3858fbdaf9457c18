"""Predict: a model's answers for all rows of a source, however many, a batch at a time."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd
import pyarrow as pa

from pipeline.errors import ContractError, nearest
from pipeline.evaluation import drift
from pipeline.evaluation.checked_rows import RowReader
from pipeline.evaluation.profile import Counts, Profile, count_answers
from pipeline.inference.predictor import Predictor
from pipeline.reporting import drift_figures
from pipeline.results import Report
from pipeline.schema.faults import Fault
from pipeline.schema.matrix import Matrix

VERSION = "model_version"
PREFIX = "predicted_"  # of an answer's name that a column of the source has
ARROW_TYPES = {
    "boolean": pa.bool_(),
    "long": pa.int64(),
    "double": pa.float64(),
    "string": pa.string(),
}


class CheckedBatch(NamedTuple):
    """The valid rows of a batch, and what is wrong with the others."""

    start: int  # place of the batch's first row in the source, from 0 on
    X: Matrix  # rows x columns
    passthrough: pa.Table  # their columns of the source that stand beside the answers
    faults: list[Fault]  # by row, which counts from 1 in the whole source
    rejected: int  # rows


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
        self.predictor = predictor
        self._reader = RowReader(predictor, names)
        self._version = version
        self.keep = list(names) if keep is None else list(keep)
        _check_passthrough(names, self.keep)
        self._fields = [
            pa.field(self._free(answer.name), ARROW_TYPES[answer.mlflow_type])
            for answer in predictor.target.columns
        ]
        self._version_name = self._free(VERSION)

    def _free(self, name: str) -> str:
        while name in self.keep:  # twice where answers are scored once more
            name = PREFIX + name
        return name

    @property
    def renamed(self) -> list[str]:
        """The answers that have another name, as a column of the source has theirs."""
        names = [*(field.name for field in self._fields), self._version_name]
        return [name for name in names if name.startswith(PREFIX)]

    def check(self, table: pa.Table, start: int) -> CheckedBatch:
        """The valid rows of a batch. Raises ContractError for a column that is missing."""
        X, is_valid, faults = self._reader.read(table)
        passthrough, rejected = table.select(self.keep), int((~is_valid).sum())
        if rejected:
            X, passthrough = X[is_valid], passthrough.filter(pa.array(is_valid))
        return CheckedBatch(
            start, X, passthrough, [fault.moved(start) for fault in faults], rejected
        )

    def answers(self, X: Matrix) -> pa.Table:
        """The columns of answers for valid rows. Raises ModelError."""
        return self.as_table(self.predictor.target.arrays(self.predictor.outputs(X)))

    def as_table(self, answers: Mapping[str, Any]) -> pa.Table:
        """Columns of answers in their order, as they stand in the file."""
        columns = [
            pa.array(values, field.type)
            for field, values in zip(self._fields, answers.values(), strict=True)
        ]
        return pa.table(columns, pa.schema(self._fields))

    def batch(self, checked: CheckedBatch, answers: pa.Table) -> Batch:
        """The rows of a batch with the answers beside them."""
        table, faults, rejected = checked.passthrough, checked.faults, checked.rejected
        for field, values in zip(self._fields, answers.columns, strict=True):
            table = table.append_column(field, values)
        version = pa.repeat(pa.scalar(self._version), table.num_rows)
        return Batch(table.append_column(self._version_name, version), faults, rejected)

    def count(self, profile: Profile, table: pa.Table) -> dict[str, Counts]:
        """How many answers of a batch each bin of a profile has, by the answers' names."""
        names = [answer.name for answer in self.predictor.target.columns]
        fields = dict(zip(names, self._fields, strict=True))
        answers = {name: table[fields[name].name] for name in profile.answer_bins}
        return count_answers(self.predictor.contract, profile.answer_bins, answers)


def report(profile: Profile, counts: Mapping[str, Counts]) -> Report:
    """How the answers are spread, beside those for rows that the model was not fitted to."""
    drifts = drift.compare(profile.answers, counts)
    table = pd.concat(
        pd.DataFrame(
            {
                "answer": one.name,
                "bin": [*one.now.bins.names, "missing"],
                "rows_before": one.before.counts,
                "rows": one.now.counts,
            }
        )
        for one in drifts
    )
    return Report(
        metrics={"psi_largest": max(one.psi for one in drifts)},
        artifacts={"answers.csv": table, "answers.png": drift_figures.drift(drifts, "test part")},
    )


def _check_passthrough(names: Sequence[str], passthrough: Iterable[str]) -> None:
    """Raises ContractError for one that the source lacks, or has twice."""
    for name in passthrough:
        if name not in names:
            hint = nearest(name, names) or f"; it has {', '.join(names)}"
            raise ContractError(f"--keep has {name!r}, which is no column of the source{hint}")
        if list(names).count(name) > 1:
            raise ContractError(
                f"the source has the column {name!r} twice; rename one of them, or name other "
                "columns with --keep"
            )
