from math import inf, nan

import numpy as np
import pandas as pd
import pytest

from pipeline.datasets.row_hash import identities
from pipeline.errors import ContractError
from pipeline.evaluation import metrics
from pipeline.schema.columns import Column
from pipeline.schema.contract import Contract
from tests.support.builders import make_dataset

COLUMNS = {
    "Age": Column(range=(0, 120)),
    "Insulin": Column(missing=0),
    "height": Column(optional=True),
}
LABELS = {
    "int": ((0, 1), [0, 1, 0, 1, 0]),
    "bool": ((False, True), [False, True, False, True, False]),
    "str": (("no", "yes"), ["no", "yes", "no", "yes", "no"]),
}


def contract(columns=None, classes=(0, 1)) -> Contract:
    columns = COLUMNS if columns is None else columns
    return Contract(columns=columns, target="ill", classes=classes, positive=classes[1])


def table(rows: int = 5) -> pd.DataFrame:
    """Rows that differ."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame({name: rng.uniform(1, 100, rows) for name in COLUMNS})
    X.loc[X.index == 2, "height"] = nan
    return X


def labels(rows: int = 5) -> pd.Series:
    return pd.Series(np.arange(rows) % 2, name="ill")


def of(X: pd.DataFrame, y=None, known: Contract | None = None) -> list[int]:
    y = labels(len(X)) if y is None else y
    found = identities(known or contract(), X, y)
    assert found.dtype == np.uint64
    assert found.shape == (len(X),)
    return found.tolist()


def of_one(**cells: float) -> int:
    """Of a row with some of its cells changed, and its label."""
    label = cells.pop("ill", 0)
    row = {"Age": 30.0, "Insulin": 5.0, "height": 170.0, **cells}
    return of(pd.DataFrame([row]), pd.Series([label]))[0]


def test_rows_that_differ_have_identities_that_differ():
    assert len(set(of(table(1000)))) == 1000


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
    assert of_one(**changes) != of_one()


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
    assert of_one(**one) == of_one(**other)


def test_order_of_the_tables_columns_does_not_count():
    X = table()
    assert of(X[["height", "Age", "Insulin"]]) == of(X)


def test_order_of_the_contracts_columns_does_not_count():
    turned = contract({name: COLUMNS[name] for name in ("height", "Insulin", "Age")})
    assert of(table(), known=turned) == of(table())


def test_columns_that_the_contract_does_not_have_do_not_count():
    X = table()
    more = X.assign(added=1.0, note="a text")[["added", "height", "note", "Age", "Insulin"]]
    assert of(more) == of(X)


def test_column_that_may_be_left_out_is_as_one_of_gaps():
    X = table()
    assert of(X.drop(columns="height")) == of(X.assign(height=nan))
    assert of(X.drop(columns="height")) != of(X)


def test_index_does_not_count():
    X, y = table(), labels()
    assert of(X.set_axis([9, 3, 7, 1, 1]), y) == of(X, y.set_axis(list("abcde"))) == of(X, y)


@pytest.mark.parametrize(
    "cells", [[30, 40, 50, 60, 70], [30.0, "gap", 50.0, 60.0, 70.0]], ids=["integers", "objects"]
)
def test_type_of_the_cells_does_not_count(cells):
    numbers = [nan if cell == "gap" else float(cell) for cell in cells]
    given = pd.Series([None if cell == "gap" else cell for cell in cells])
    X = table()
    assert of(X.assign(Age=given)) == of(X.assign(Age=numbers))
    assert of(X.assign(Age=given.astype(object))) == of(X.assign(Age=numbers))


def test_rows_in_another_order_have_their_identities_in_that_order():
    X, y = table(50), labels(50)
    order = np.random.default_rng(1).permutation(50)
    assert of(X.iloc[order], y.iloc[order]) == np.array(of(X, y), dtype=object)[order].tolist()


def test_rows_that_are_added_leave_the_others_as_they_were():
    X, y = table(50), labels(50)
    assert of(X, y)[:20] == of(X.iloc[:20], y.iloc[:20])


# Rows that are alike.


def alike(count: int) -> tuple[pd.DataFrame, pd.Series]:
    return pd.concat([table(1)] * count, ignore_index=True), pd.Series([1] * count)


def test_rows_that_are_alike_are_told_apart_by_their_count():
    found = of(*alike(4))
    assert len(set(found)) == 4
    assert of(*alike(3)) == found[:3]
    assert of(*alike(6))[:4] == found


def test_rows_that_are_alike_but_for_the_label_are_counted_apart():
    X, _ = alike(4)
    first, second, third, fourth = of(X, pd.Series([0, 1, 1, 0]))
    assert [first, fourth] == of(X[:2], pd.Series([0, 0]))
    assert [second, third] == of(X[:2], pd.Series([1, 1]))


def test_rows_that_mean_the_same_are_counted_together():
    X = table(1)
    X = pd.concat([X.assign(Insulin=0.0), X.assign(Insulin=nan), X.assign(Insulin=-0.0)])
    y = pd.Series([0, 0, 0])
    assert len(set(of(X, y))) == 3
    assert of(X, y) == of(X.assign(Insulin=nan), y)


def test_table_that_grew_holds_the_rows_that_it_held_however_it_is_sorted():
    X, y = table(30), labels(30)
    X, y = pd.concat([X, X[:10]]), pd.concat([y, y[:10]])  # ten are there twice
    grown_X, grown_y = pd.concat([X[5:15], X]), pd.concat([y[5:15], y])
    order = np.random.default_rng(2).permutation(50)
    grown = of(grown_X.iloc[order], grown_y.iloc[order])
    assert set(of(X, y)) < set(grown)
    assert len(set(grown)) == 50


def test_row_that_was_taken_out_is_there_no_more():
    X, y = table(10), labels(10)
    left = X.index != 4
    assert set(of(X, y)) - set(of(X[left], y[left])) == {of(X, y)[4]}


# Labels.


@pytest.mark.parametrize(("classes", "values"), LABELS.values(), ids=LABELS.keys())
@pytest.mark.parametrize("dtype", [object, "category", None])
def test_type_in_which_pandas_holds_the_labels_does_not_count(classes, values, dtype):
    known, X = contract(classes=classes), table()
    plain = of(X, pd.Series(values), known)
    assert of(X, pd.Series(values, dtype=dtype), known) == plain
    assert of(X, pd.Series(np.array(values)), known) == plain


@pytest.mark.parametrize(
    ("classes", "values", "dtype"),
    [(*LABELS["int"], "int8"), (*LABELS["int"], "Int64"), (*LABELS["bool"], "boolean")],
)
def test_width_of_the_labels_and_their_gaps_do_not_count(classes, values, dtype):
    known, X = contract(classes=classes), table()
    assert of(X, pd.Series(values, dtype=dtype), known) == of(X, pd.Series(values), known)


@pytest.mark.parametrize(("classes", "values"), LABELS.values(), ids=LABELS.keys())
def test_labels_of_every_type_tell_rows_apart(classes, values):
    X, _ = alike(2)
    one, other = of(X, pd.Series(values[:2]), contract(classes=classes))
    again, _ = of(X, pd.Series([values[0]] * 2), contract(classes=classes))
    assert one == again
    assert one != other


# Edges.


def test_no_rows_have_no_identities():
    assert of(table(5)[:0].astype(float), labels(0)) == []


def test_contract_of_one_column_is_enough():
    known = contract({"Age": Column()})
    assert len(set(of(table(20), known=known))) == 20


def test_names_of_the_columns_may_be_anything():
    names = ["a b", "", "größe", "od280/od315", "0", "10", "9"]
    X = pd.DataFrame(np.arange(21.0).reshape(3, 7), columns=names)
    known = contract({name: Column() for name in names})
    turned = contract({name: Column() for name in reversed(names)})
    assert of(X, known=known) == of(X[names[::-1]], known=turned)


@pytest.mark.parametrize("cell", [121.0, -1.0, inf, "a text"])
def test_row_that_breaks_the_contract_is_refused(cell):
    X = table().astype(object)
    X.loc[3, "Age"] = cell
    with pytest.raises(ContractError, match="row 4, Age"):
        of(X)


def test_table_that_lacks_a_column_is_refused():
    with pytest.raises(ContractError, match="column 'Insulin' is missing"):
        of(table().drop(columns="Insulin"))


def test_table_is_left_as_it_was():
    X, y = table(), labels()
    X.loc[1, "Insulin"] = 0.0
    before_X, before_y = X.copy(), y.copy()
    of(X, y)
    pd.testing.assert_frame_equal(X, before_X)
    pd.testing.assert_series_equal(y, before_y)


@pytest.mark.parametrize(
    ("kind", "pinned"),
    [
        ("int", [17267593051584616814, 17385591817594135475, 10636022790616453247]),
        ("bool", [3266257316462578345, 17007860260545082084, 2037361866482061245]),
        ("str", [4366162853381716246, 1770600698402769435, 10937936294362484095]),
    ],
)
def test_identities_are_the_same_in_every_process_and_with_either_pandas(kind, pinned):
    """They are kept with the model: other numbers would make its training rows unseen."""
    X = pd.DataFrame({"Age": [30.0, 30, 41.5], "Insulin": [0.0, nan, 7], "height": [1.0, 1, 2]})
    classes, (no, yes, *_) = LABELS[kind]
    assert of(X, pd.Series([no, no, yes]), contract(classes=classes)) == pinned


@pytest.mark.parametrize(
    ("names", "positive"), [((0, 1), 1), (("no", "yes"), "no"), ((False, True), True)]
)
def test_training_rows_of_a_data_set_are_found_again_and_no_others(names, positive):
    dataset = make_dataset(names, positive)
    own = identities(dataset.contract, dataset.X, dataset.y)
    trained = own[dataset.X.index.isin(dataset.X_train.index)]
    seen = np.isin(own, trained)
    assert dataset.X.index[seen].tolist() == sorted(dataset.X_train.index)
    assert len(metrics.of_rows(dataset.contract, dataset.y[~seen], np.eye(2), None).truth) == 36
