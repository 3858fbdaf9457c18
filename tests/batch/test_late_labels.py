"""Labels that came later than their rows."""

from pathlib import Path

import pyarrow as pa
import pytest

from pipeline.batch.late_labels import LateLabels
from pipeline.errors import ContractError, PipelineError
from tests.support.tables import make_data, source_of

LOG = [
    pa.table({"id": [1, 2], "row": [1, 1], "x": [0.5, None], "y": ["old", "old"]}),
    pa.table({"id": [2, None], "row": [2, 1], "x": [0.7, 0.1], "y": ["old", "old"]}),
]


def labels(content: bytes, key: str) -> LateLabels:
    return LateLabels(source_of(make_data(target="y"), content), key, "y")


@pytest.mark.parametrize(
    ("content", "key", "joined"),
    [
        (b"id,y\n2,b\n1,a\n9,c\n,d\n", "id", ["a", "b", "b", None]),
        (b"id,row,y\n2,2,b\n1,1,a\n2,1,\n", "id, row", ["a", None, "b", None]),
        (b"id,y\n7,a\n", "id", [None] * 4),
        (b'{"id": 1, "y": "a"}\n{"id": 2.0, "y": null}\n', "id", ["a", None, None, None]),
    ],
)
def test_rows_get_the_label_of_their_key_in_place_of_the_column_that_was_there(
    content: bytes, key: str, joined: list[str | None]
) -> None:
    late = labels(content, key)

    tables = list(late.join(iter(LOG)))

    assert [cell for table in tables for cell in table["y"].to_pylist()] == joined
    assert [table.drop_columns("y") for table in tables] == [one.drop_columns("y") for one in LOG]
    assert late.joined == sum(label is not None for label in joined)


@pytest.mark.parametrize(
    ("content", "key", "message"),
    [
        (b"id,y\n1,a\n", "", "--labels asks for --key"),
        (b"id,y\n1,a\n", "iD", "--labels has no column 'iD', did you mean 'id'"),
        (b"id,z\n1,a\n", "id", "--labels has no column 'y'"),
        (b"id,y\n1,a\n2,b\n1,a\n", "id", "--labels has the key '1' twice"),
    ],
)
def test_labels_that_cannot_be_joined_are_refused(content: bytes, key: str, message: str) -> None:
    with pytest.raises(PipelineError, match=message):
        labels(content, key)


def test_rows_without_the_key_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="data 'log' has no column 'id'"):
        labels(b"id,y\n1,a\n", "id").check(["x", "row"], "data 'log'")
