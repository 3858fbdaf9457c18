import hashlib

import numpy as np
import pandas as pd
import pytest

from pipeline.config.sections import Config
from pipeline.errors import ConfigError, ContractError, SourceError
from pipeline.results import Dataset
from pipeline.steps.ingest import ingest
from tests.support.builders import make_config, make_table
from tests.support.tables import as_parquet, source_of


def as_csv(table: pd.DataFrame) -> bytes:
    return table.to_csv(index=False).encode()


def ingest_bytes(config: Config, content: bytes) -> Dataset:
    return ingest(config, source_of(config.data, content))


@pytest.mark.parametrize("write", [as_csv, as_parquet])
@pytest.mark.parametrize(
    ("labels", "positive"),
    [((0, 1), 1), (("no", "yes"), "no"), ((False, True), True), (("a", "b", "c"), None)],
)
def test_ingest_reads_the_table_that_was_written(write, labels, positive):
    table = make_table(labels)
    dataset = ingest_bytes(make_config(positive=positive), write(table))
    pd.testing.assert_frame_equal(dataset.X, table.drop(columns="label"))
    assert dataset.y.tolist() == table["label"].tolist()
    assert dataset.contract.classes == labels
    assert dataset.contract.positive == positive


def test_ingest_names_the_data_set_and_tells_its_digest():
    content = as_csv(make_table())
    dataset = ingest_bytes(make_config(), content)
    assert dataset.name == "people"
    assert dataset.digest == hashlib.sha256(content).hexdigest()


def test_ingest_splits_into_two_parts_that_share_no_row():
    dataset = ingest_bytes(make_config(split={"test_size": 0.25}), as_csv(make_table()))
    assert (len(dataset.X_train), len(dataset.X_test)) == (90, 30)
    assert (len(dataset.y_train), len(dataset.y_test)) == (90, 30)
    assert set(dataset.X_train.index).isdisjoint(dataset.X_test.index)
    assert dataset.X_train.index.equals(dataset.y_train.index)
    assert dataset.X_test.index.equals(dataset.y_test.index)
    assert dataset.y_test.mean() == dataset.y_train.mean() == 0.5


def test_ingest_splits_the_same_for_the_same_seed_and_otherwise_for_another():
    def rows_of_test(seed: int) -> Dataset:
        return ingest_bytes(make_config(split={"seed": seed}), as_csv(make_table()))

    first, again, other = (rows_of_test(seed) for seed in (1, 1, 2))
    assert first.X_test.index.tolist() == again.X_test.index.tolist()
    assert first.split_digest == again.split_digest
    assert first.X_test.index.tolist() != other.X_test.index.tolist()
    assert first.split_digest != other.split_digest


def test_ingest_gives_doubles_with_nan_for_the_mark():
    table = make_table().assign(flag=lambda t: t["flag"].astype(int))
    columns = make_config().data.columns
    marked = {**columns, "flag": columns["flag"].model_copy(update={"missing": 0.0})}
    X = ingest_bytes(make_config(columns=marked), as_csv(table)).X
    assert (X.dtypes == np.float64).all()
    assert X["flag"].isna().tolist() == (table["flag"] == 0).tolist()


@pytest.mark.parametrize(
    ("content", "error", "match"),
    [
        (b"", SourceError, "empty"),
        (b"<!doctype html><html></html>", SourceError, "HTML"),
        (b"PAR1nonsense", SourceError, "Parquet"),
        (b"height,gap\n1,2\n", ContractError, "label"),
        (as_csv(make_table().drop(columns="noise")), ContractError, "'noise' is missing"),
        (as_csv(make_table().assign(more=1)), ContractError, "'more' is not known"),
        (as_csv(make_table().assign(flag=2)), ContractError, "row 1, flag: must be at most 1"),
        (as_csv(make_table(("no", "yes"))), ConfigError, "data.positive is 1"),
        (as_csv(make_table(rows=8)), ContractError, "6 are needed"),
    ],
)
def test_ingest_refuses_what_it_cannot_trust(content, error, match):
    with pytest.raises(error, match=match):
        ingest_bytes(make_config(), content)
