"""Answers for a source's rows on a Spark cluster, through MLflow's UDF; imports PySpark."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import numpy as np
import pandas as pd
import pyarrow as pa
from pyspark.errors import PySparkException
from pyspark.sql.functions import col

from pipeline.config.sections import Spark
from pipeline.datasets.answer_files import AnswerFile
from pipeline.errors import ConfigError
from pipeline.evaluation import checked_rows
from pipeline.schema.columns import Column
from pipeline.schema.contract import Contract
from pipeline.schema.kinds import kind_of
from pipeline.schema.matrix import Matrix, Vector
from pipeline.steps.predict import ARROW_TYPES, Batch, CheckedBatch, Scorer
from pipeline.tuning.spark_session import session_of

ROW, ANSWER = "row", "answer"
BATCHES = 4  # for each core of the cluster at a time: its task loads the model once for them
MOST_BATCHES = 40  # at a time: they are all in this process's memory


def in_order(
    spark: Spark, folder: Path, scorer: Scorer, batches: Iterable[pa.Table], output: AnswerFile
) -> Iterator[Batch]:
    """Each batch with the answers of the model in the folder, on Spark, in order.

    The rows are checked here, so only valid ones are sent. Raises ConfigError where Spark fails.
    """
    checked = checked_rows.in_order(scorer.check, batches)
    with session_of(spark) as session, _failing(spark):
        cores = session.sparkContext.defaultParallelism
        with _quiet():
            predict = mlflow.pyfunc.spark_udf(session, str(folder), env_manager="local")
        while group := list(islice(checked, min(BATCHES * cores, MOST_BATCHES))):
            parts = {batch.start: output.part(batch.start) for batch in group}
            new = [batch for batch in group if parts[batch.start] is None]
            if new:
                rows = _rows(scorer.predictor.contract, new)
                columns = [col(name) for name in rows.column_names if name != ROW]
                frame = session.createDataFrame(rows).coalesce(cores)
                answered = frame.select(ROW, predict(*columns).alias(ANSWER)).toArrow()
                parts |= _parts(scorer, new, answered.sort_by(ROW)[ANSWER].combine_chunks())
            for batch in new:
                output.keep(batch.start, parts[batch.start])
            yield from (scorer.batch(batch, parts[batch.start]) for batch in group)


def _parts(
    scorer: Scorer, batches: Sequence[CheckedBatch], answers: pa.StructArray
) -> dict[int, pa.Table]:
    """The answers of each batch, by its first row."""
    names = [answer.name for answer in scorer.predictor.target.columns]
    parts, place = {}, 0
    for batch in batches:
        part = answers.slice(place, len(batch.X))
        parts[batch.start] = scorer.as_table({name: part.field(name) for name in names})
        place += len(batch.X)
    return parts


def _rows(contract: Contract, batches: Sequence[CheckedBatch]) -> pa.Table:
    """The valid rows of all batches as MLflow's signature has them, with their places."""
    X: Matrix = np.concatenate([batch.X for batch in batches])
    cells = [_cells(column, X[:, at]) for at, column in enumerate(contract.columns.values())]
    names = [ROW, *(f"column_{at}" for at in range(len(cells)))]
    return pa.table([pa.array(np.arange(len(X))), *cells], names)


def _cells(column: Column, values: Vector) -> pa.Array:
    """What a request would hold for the values of a column, null where one is missing."""
    kind = kind_of(column)
    arrow_type = ARROW_TYPES[kind.mlflow_type(column)]
    if kind.plain_types:
        return pa.array(values.astype(np.float64), arrow_type, from_pandas=True)
    places, different = pd.factorize(values)
    cells = pa.array([_written(kind.cell(column, value)) for value in different], arrow_type)
    return cells.take(pa.array(places, mask=places < 0))


def _written(cell: Any) -> Any:
    """Truths as JSON writes them: the signature has texts for them."""
    return str(cell).lower() if isinstance(cell, bool) else cell


@contextmanager
def _quiet() -> Iterator[None]:
    """Silences MLflow's advice to make an environment anew in each task."""
    logger = logging.getLogger("mlflow.pyfunc")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


@contextmanager
def _failing(spark: Spark) -> Iterator[None]:
    """Raises ConfigError for what Spark raises."""
    try:
        yield
    except PySparkException as error:
        lines = [line for line in str(error).strip().splitlines() if line.strip()]
        raise ConfigError(
            f"scoring on spark.master {spark.master!r} failed: {lines[-1]}; check Spark's own "
            "messages, and that requirements-spark.txt is installed on its executors; what is "
            "scored stays beside --output, and the same command goes on from there"
        ) from error
