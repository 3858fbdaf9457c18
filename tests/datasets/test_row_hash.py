from math import inf, nan

import numpy as np
import pandas as pd
import pytest

from pipeline.datasets.row_hash import hash_rows
from pipeline.errors import ContractError
from pipeline.evaluation import metrics
from pipeline.schema.columns import NumberColumn, TextColumn
from pipeline.schema.contract import Contract
from tests.support.builders import make_dataset

COLUMNS = {
    "Age": NumberColumn(range=(0, 120)),
    "Insulin": NumberColumn(missing=0),
    "height": NumberColumn(optional=True),
}
NOTES = {"said": TextColumn(), "Age": NumberColumn()}
LABELS = {
    "int": ((0, 1), [0, 1, 0, 1, 0]),
    "bool": ((False, True), [False, True, False, True, False]),
    "str": (("no", "yes"), ["no", "yes", "no", "yes", "no"]),
}


def make_contract(columns=None, classes=(0, 1)) -> Contract:
    columns = COLUMNS if columns is None else columns
    return Contract(columns=columns, target="ill", classes=classes, positive=classes[1])


def make_rows(rows: int = 5) -> pd.DataFrame:
    """Rows that differ."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame({name: rng.uniform(1, 100, rows) for name in COLUMNS})
    X.loc[X.index == 2, "height"] = nan
    return X


def make_labels(rows: int = 5) -> pd.Series:
    return pd.Series(np.arange(rows) % 2, name="ill")


def hashes(X: pd.DataFrame, y=None, contract: Contract | None = None) -> list[int]:
    y = make_labels(len(X)) if y is None else y
    hashed = hash_rows(contract or make_contract(), X, y)
    assert (hashed.dtype, hashed.shape) == (np.uint64, (len(X),))
    return hashed.tolist()


def hash_of(**cells: float) -> int:
    """Of a row with some of its cells changed, and its label."""
    label = cells.pop("ill", 0)
    row = {"Age": 30.0, "Insulin": 5.0, "height": 170.0, **cells}
    return hashes(pd.DataFrame([row]), pd.Series([label]))[0]


def test_rows_that_differ_have_hashes_that_differ():
    assert len(set(hashes(make_rows(1000)))) == 1000


@pytest.mark.parametrize(
    "changes",
    [
        {"Age": np.nextafter(30.0, 31)},
        {"Age": nan},
        {"Insulin": 6.0},
        {"height": 171.0},
        {"height": nan},
        {"height": -170.0},
        {"ill": 1},
        {"Age": 5.0, "Insulin": 30.0},
    ],
    ids=str,
)
def test_any_other_value_or_label_makes_another_row(changes):
    assert hash_of(**changes) != hash_of()


def test_texts_of_a_row_count_but_not_the_blanks_around_them():
    said = ["well", " well\n", "Well", "", None]
    X = pd.DataFrame({"Age": 30.0, "said": said})
    labels = pd.Series([0, 1, 0, 0, 1])

    hashes = hash_rows(make_contract(NOTES), X, labels)
    other = hash_rows(make_contract(NOTES), X.assign(Age=-0.0), labels)

    alike = hash_rows(
        make_contract(NOTES), X.assign(said=["well", "well", "Well", None, ""]), labels
    )
    assert hashes.tolist() == alike.tolist()
    assert len({*hashes, *other}) == 10


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"Age": 0.0}, {"Age": -0.0}),
        ({"Insulin": 0.0}, {"Insulin": nan}),
        ({"Insulin": -0.0}, {"Insulin": nan}),
        ({"height": nan}, {"height": -nan}),
        ({"height": nan}, {"height": np.array(0x7FF8000000000001).view(np.float64).item()}),
    ],
    ids=["zeros", "a mark and a gap", "a mark's other zero", "signs of NaN", "kinds of NaN"],
)
def test_values_that_mean_the_same_make_the_same_row(one, other):
    """pandas 3 hashes equal numbers alike by itself, the pandas 2 of Spark's lock does not."""
    assert hash_of(**one) == hash_of(**other)


REVERSED = make_contract({name: COLUMNS[name] for name in reversed(COLUMNS)})
INTEGERS = [30, 40, 50, 60, 70]


@pytest.mark.parametrize(
    ("X", "same", "contract"),
    [
        (make_rows(), make_rows()[["height", "Age", "Insulin"]], None),
        (make_rows(), make_rows(), REVERSED),
        (make_rows(), make_rows().assign(more=1.0, note="a text"), None),
        (make_rows().assign(height=nan), make_rows().drop(columns="height"), None),
        (make_rows(), make_rows().set_axis([9, 3, 7, 1, 1]), None),
        (make_rows().assign(Age=[*map(float, INTEGERS)]), make_rows().assign(Age=INTEGERS), None),
        (
            make_rows().assign(Age=[30.0, nan, 50, 60, 70]),
            make_rows().assign(Age=pd.Series([30, None, 50, 60, 70], dtype=object)),
            None,
        ),
    ],
    ids=[
        "order of the table's columns",
        "order of the contract's columns",
        "columns that the contract does not have",
        "an optional column of gaps",
        "index",
        "integers",
        "objects",
    ],
)
def test_what_is_no_value_of_the_contract_does_not_count(X, same, contract):
    assert hashes(same, contract=contract) == hashes(X)


def test_rows_in_another_order_have_their_hashes_in_that_order():
    X, y = make_rows(50), make_labels(50)
    order = np.random.default_rng(1).permutation(50)
    assert hashes(X.iloc[order], y.iloc[order]) == [hashes(X, y)[place] for place in order]


# Rows that are alike.


def alike(count: int) -> tuple[pd.DataFrame, pd.Series]:
    return pd.concat([make_rows(1)] * count, ignore_index=True), pd.Series([1] * count)


def test_rows_that_are_alike_differ_by_their_count():
    four = hashes(*alike(4))
    assert len(set(four)) == 4
    assert hashes(*alike(3)) == four[:3]
    assert hashes(*alike(6))[:4] == four


def test_rows_that_are_alike_but_for_the_label_are_counted_apart():
    X, _ = alike(4)
    first, second, third, fourth = hashes(X, pd.Series([0, 1, 1, 0]))
    assert [first, fourth] == hashes(X[:2], pd.Series([0, 0]))
    assert [second, third] == hashes(X[:2], pd.Series([1, 1]))


def test_rows_that_mean_the_same_are_counted_together():
    X = make_rows(1)
    X = pd.concat([X.assign(Insulin=0.0), X.assign(Insulin=nan), X.assign(Insulin=-0.0)])
    y = pd.Series([0, 0, 0])
    assert len(set(hashes(X, y))) == 3
    assert hashes(X, y) == hashes(X.assign(Insulin=nan), y)


def test_table_that_grew_holds_the_rows_that_it_held_however_it_is_sorted():
    X, y = make_rows(30), make_labels(30)
    X, y = pd.concat([X, X[:10]]), pd.concat([y, y[:10]])  # ten are there twice
    grown_X, grown_y = pd.concat([X[5:15], X]), pd.concat([y[5:15], y])
    order = np.random.default_rng(2).permutation(50)
    grown = hashes(grown_X.iloc[order], grown_y.iloc[order])
    assert set(hashes(X, y)) < set(grown)
    assert len(set(grown)) == 50


def test_row_that_was_taken_out_is_there_no_more():
    X, y = make_rows(10), make_labels(10)
    left = X.index != 4
    assert set(hashes(X, y)) - set(hashes(X[left], y[left])) == {hashes(X, y)[4]}


# Labels.


@pytest.mark.parametrize(
    ("classes", "values", "dtype"),
    [
        *((*labels, dtype) for labels in LABELS.values() for dtype in (object, "category")),
        (*LABELS["int"], "int8"),
        (*LABELS["int"], "Int64"),
        (*LABELS["bool"], "boolean"),
    ],
)
def test_type_in_which_pandas_holds_the_labels_does_not_count(classes, values, dtype):
    contract, X = make_contract(classes=classes), make_rows()
    expected = hashes(X, pd.Series(values), contract)
    assert hashes(X, pd.Series(values, dtype=dtype), contract) == expected


@pytest.mark.parametrize(("classes", "values"), LABELS.values(), ids=LABELS.keys())
def test_labels_of_every_type_count(classes, values):
    X, _ = alike(2)
    one, other = hashes(X, pd.Series(values[:2]), make_contract(classes=classes))
    again, _ = hashes(X, pd.Series([values[0]] * 2), make_contract(classes=classes))
    assert one == again
    assert one != other


# Edges.


def test_no_rows_have_no_hashes():
    assert hashes(make_rows(5)[:0].astype(float), make_labels(0)) == []


def test_names_of_the_columns_may_be_anything():
    names = ["a b", "", "größe", "od280/od315", "0", "10", "9"]
    X = pd.DataFrame(np.arange(21.0).reshape(3, 7), columns=names)
    contract = make_contract({name: NumberColumn() for name in names})
    reordered = make_contract({name: NumberColumn() for name in reversed(names)})
    assert hashes(X, contract=contract) == hashes(X[names[::-1]], contract=reordered)


@pytest.mark.parametrize("cell", [121.0, -1.0, inf, "a text"])
def test_row_that_breaks_the_contract_is_refused(cell):
    X = make_rows().astype(object)
    X.loc[3, "Age"] = cell
    with pytest.raises(ContractError, match="row 4, Age"):
        hashes(X)


def test_table_that_lacks_a_column_is_refused():
    with pytest.raises(ContractError, match="column 'Insulin' is missing"):
        hashes(make_rows().drop(columns="Insulin"))


def test_table_is_left_as_it_was():
    X, y = make_rows(), make_labels()
    X.loc[1, "Insulin"] = 0.0
    before_X, before_y = X.copy(), y.copy()
    hashes(X, y)
    pd.testing.assert_frame_equal(X, before_X)
    pd.testing.assert_series_equal(y, before_y)


@pytest.mark.parametrize(
    ("labels", "pinned"),
    [
        ("int", [17267593051584616814, 17385591817594135475, 10636022790616453247]),
        ("bool", [3266257316462578345, 17007860260545082084, 2037361866482061245]),
        ("str", [4366162853381716246, 1770600698402769435, 10937936294362484095]),
    ],
)
def test_hashes_are_the_same_in_every_process_and_with_either_pandas(labels, pinned):
    """They stay with the model: others would make its training rows count as new."""
    X = pd.DataFrame({"Age": [30.0, 30, 41.5], "Insulin": [0.0, nan, 7], "height": [1.0, 1, 2]})
    classes, (no, yes, *_) = LABELS[labels]
    assert hashes(X, pd.Series([no, no, yes]), make_contract(classes=classes)) == pinned


@pytest.mark.parametrize(
    ("names", "positive"), [((0, 1), 1), (("no", "yes"), "no"), ((False, True), True)]
)
def test_training_rows_of_a_data_set_are_recognized_and_no_others(names, positive):
    dataset = make_dataset(names, positive)
    everything = hash_rows(dataset.contract, dataset.X, dataset.y)
    trained = everything[dataset.X.index.isin(dataset.X_train.index)]
    in_training = np.isin(everything, trained)
    assert dataset.X.index[in_training].tolist() == sorted(dataset.X_train.index)
    others = dataset.y[~in_training]
    assert len(metrics.of_rows(dataset.contract, others, np.eye(2), None).truth) == 36
