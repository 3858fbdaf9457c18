"""Answers for the rows of a source, with what is wrong with the others."""

from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from pipeline.errors import ContractError
from pipeline.evaluation.checked_rows import in_order
from pipeline.inference.predictor import TOO_LARGE, Params, Predictor, Trained
from pipeline.schema.rules import to_matrix
from pipeline.steps.predict import Batch, Scorer
from tests.support.mixed import KINDS, make_mixed_dataset, make_mixed_table
from tests.support.tables import as_parquet, make_data, source_of

TABLE = make_mixed_table()  # what the contract was learnt of
ROWS = TABLE.assign(id=[str(place) for place in range(len(TABLE))])


def make_predictor(classes: int) -> Predictor:
    """Its probabilities follow from the row alone, and are not finite for large numbers."""
    dataset = make_mixed_dataset(classes)
    weights = np.arange(1.0, len(KINDS) + 1)

    def predict(X: Any) -> Any:
        odds = np.nan_to_num(X) @ weights
        odds[np.abs(np.nan_to_num(X)).max(axis=1) > 1e5] = np.nan
        shares = np.column_stack([odds * (place + 1) % 7 + 1 for place in range(classes)])
        return shares / shares.sum(axis=1, keepdims=True)

    trained = Trained.on(dataset.contract, dataset.X_train.to_numpy(), None)
    return Predictor(dataset.contract, predict, trained)


PREDICTORS = {classes: make_predictor(classes) for classes in (2, 3)}


def scored(scorer: Scorer, table: pa.Table, start: int) -> Batch:
    checked = scorer.check(table, start)
    return scorer.batch(checked, scorer.answers(checked.X))


def score(
    content: bytes, classes: int = 2, rows: int = 70, keep: list[str] | None = None
) -> list[Batch]:
    batches = list(source_of(make_data(target="label"), content).batches(rows))
    scorer = Scorer(PREDICTORS[classes], "7", batches[0].column_names, keep)
    return list(in_order(partial(scored, scorer), batches))


def as_csv(table: pd.DataFrame) -> bytes:
    return table.to_csv(index=False).encode()


def answers(batches: list[Any]) -> pd.DataFrame:
    return pa.concat_tables([batch.answers for batch in batches]).to_pandas()


def test_rows_with_texts_are_answered_but_for_those_that_break_a_rule() -> None:
    dataset = make_mixed_dataset(with_texts=True)
    trained = Trained.on(dataset.contract, dataset.X_train.to_numpy(), None)
    place = list(dataset.contract.columns).index("note")

    def predict(X: Any) -> Any:
        share = np.array(
            [isinstance(text, str) and text.endswith("arrived") for text in X[:, place]]
        )
        return np.column_stack([1 - share, share])

    predictor = Predictor(dataset.contract, predict, trained)
    rows = TABLE.assign(note=["it never arrived", "x" * 1001, "", *TABLE["note"][3:]])
    rows.loc[4, "number"] = "201"
    (table,) = source_of(make_data(target="label"), as_csv(rows)).batches(len(rows))

    batch = scored(Scorer(predictor, "7", table.column_names, ["note"]), table, 0)

    assert batch.answers["probability"].to_pylist()[:2] == [1, 0]
    assert [(fault.row, fault.column) for fault in batch.faults] == [(2, "note"), (5, "number")]


@pytest.mark.parametrize("write", [as_csv, as_parquet])
@pytest.mark.parametrize("classes", [2, 3])
def test_rows_are_answered_in_order_as_a_request_for_them_all(write: Any, classes: int) -> None:
    predictor = PREDICTORS[classes]
    frame = make_mixed_dataset(classes).cells_of(make_mixed_dataset(classes).X)
    expected = predictor.answers(to_matrix(predictor.rules, frame[list(KINDS)]), Params())

    scored = answers(score(write(ROWS), classes))

    assert scored["id"].tolist() == ROWS["id"].tolist()
    assert scored["model_version"].unique().tolist() == ["7"]
    assert {
        name: scored[f"predicted_{name}" if name in ROWS else name].tolist() for name in expected
    } == {
        name: pytest.approx(values) if name != "label" else values
        for name, values in expected.items()
    }


def test_answer_of_a_name_that_the_source_has_is_renamed() -> None:
    once = answers(score(as_csv(ROWS)))
    assert {"label", "predicted_label", "probability"} <= set(once)
    assert {"predicted_label", "predicted_predicted_label"} <= set(answers(score(as_csv(once))))
    assert set(answers(score(as_csv(ROWS), keep=["id"]))) == {
        *("id", "label", "probability", "model_version")
    }


@pytest.mark.parametrize("write", [as_csv, as_parquet])
def test_invalid_rows_are_named_and_the_others_are_answered(write: Any) -> None:
    wrong = ROWS.copy()
    for row, name, cell in [(3, "number", "high"), (100, "number", "500"), (100, "visits", "1.5")]:
        wrong.loc[row, name] = cell
    wrong.loc[[170, 171], "shop"] = "nowhere"

    batches = score(write(wrong))

    faults = [(fault.row, fault.column) for batch in batches for fault in batch.faults]
    assert faults == [(4, "number"), (101, "number"), (101, "visits"), (171, "shop"), (172, "shop")]
    assert sum(batch.rejected for batch in batches) == 4
    others = ROWS.drop(index=[3, 100, 170, 171])
    assert answers(batches)["id"].tolist() == others["id"].tolist()


def test_more_invalid_rows_than_a_message_names_are_all_rejected() -> None:
    batches = score(as_csv(ROWS.assign(number="high", visits="-1")))

    assert sum(len(batch.faults) for batch in batches) == 2 * len(ROWS)
    assert answers(batches).empty
    assert answers(batches)["probability"].dtype == float


def test_row_without_a_finite_answer_is_rejected_alone() -> None:
    predictor = PREDICTORS[2]
    X = pa.table({name: [None, None] for name in KINDS}).to_pandas()
    X = X.assign(since=["2000-01-01", "2260-01-01"])  # 1e5 days since 1970
    scorer = Scorer(predictor, "7", list(X), [])

    batch = scored(scorer, pa.Table.from_pandas(X, preserve_index=False), 10)

    assert [(fault.row, fault.column, fault.rule) for fault in batch.faults] == [
        (12, "since", TOO_LARGE)
    ]
    assert batch.answers.num_rows == 1


@pytest.mark.parametrize(
    ("table", "keep", "named"),
    [
        (ROWS.drop(columns="number"), None, "column 'number' is missing"),
        (ROWS, ["idd"], "--keep has 'idd'.*did you mean 'id'"),
        (ROWS.rename(columns={"id": "number"}), None, "column 'number' twice"),
    ],
)
def test_columns_that_are_missing_or_there_twice_are_refused(
    table: pd.DataFrame, keep: Any, named: str
) -> None:
    with pytest.raises(ContractError, match=named):
        score(as_csv(table), keep=keep)
