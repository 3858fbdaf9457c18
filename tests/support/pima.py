"""The Pima contract of configs/pima.yaml, a patient, and the bodies in which one may be sent."""

import io
import json
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.config.load import load
from pipeline.schema.contract import Contract

PATIENT: dict[str, Any] = {
    "Pregnancies": 6,
    "Glucose": 148,
    "BloodPressure": 72,
    "SkinThickness": 35,
    "Insulin": 94,
    "BMI": 33.6,
    "DiabetesPedigreeFunction": 0.627,
    "Age": 50,
}
NAMES, VALUES = list(PATIENT), list(PATIENT.values())
DATA = load("configs/pima.yaml", {}).data
CONTRACT = Contract(columns=DATA.columns, target="Outcome", classes=(0, 1), positive=1)
HEADER, LINE = ",".join(NAMES), ",".join(map(str, VALUES))


def text(value: Any) -> str:
    """JSON as most clients write it."""
    return json.dumps(value)


def records(*rows: str) -> str:
    """A body of rows that are JSON already, however wrong."""
    return f'{{"dataframe_records": [{", ".join(rows)}]}}'


def row(**cells: str) -> str:
    """A patient with some cells in JSON, however wrong."""
    whole = {**{name: text(value) for name, value in PATIENT.items()}, **cells}
    return "{" + ", ".join(f"{text(name)}: {cell}" for name, cell in whole.items()) + "}"


def csv(*lines: str, header: str = HEADER, end: str = "\n") -> bytes:
    """A header and lines."""
    return "".join(f"{line}{end}" for line in (header, *lines)).encode()


def line(**cells: str) -> str:
    """A patient with some cells as they are to be written."""
    return ",".join(str(value) for value in {**PATIENT, **cells}.values())


def parquet(table: Any = None, rows: int = 2, **columns: Any) -> bytes:
    """A patient in each row, with some columns replaced."""
    if table is None:
        table = pa.table({**{name: [value] * rows for name, value in PATIENT.items()}, **columns})
    file = io.BytesIO()
    pq.write_table(table, file)
    return file.getvalue()
