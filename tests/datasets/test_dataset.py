import dataclasses
import hashlib
import io

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal
from sklearn.model_selection import train_test_split

from pipeline.config.load import load
from pipeline.config.sections import Config, Data, Registry, Split
from pipeline.config.tune import Tune
from pipeline.datasets.dataset import build_dataset
from pipeline.datasets.formats import read_table
from pipeline.datasets.sources import open_source
from pipeline.errors import ConfigError, ContractError
from pipeline.schema.columns import Column

EACH = 20  # rows of a class


def make_config(positive=1, columns=("x",), target="y", split=None, folds=2):
    return Config(
        data=Data(
            source="folder/people.csv",
            target=target,
            positive=positive,
            columns={name: Column(range=(0, 1000)) for name in columns},
        ),
        split=Split(**(split or {})),
        tune=Tune(folds=folds),
        registry=Registry(model="m"),
    )


def make_csv(labels, extra_rows="", header="x,y"):
    """Each label in turn beside a running number."""
    rows = [f"{place},{label}\n" for place, label in enumerate([*labels] * EACH)]
    return f"{header}\n{''.join(rows)}{extra_rows}"


def build(text, **settings):
    config = make_config(**settings)
    return build_dataset(
        config, read_table(text.encode(), "people.csv", config.data.target), "d1gest"
    )


def refusal(text, error=ContractError, **settings):
    """The message with which a table is refused."""
    with pytest.raises(error) as refused:
        build(text, **settings)
    return str(refused.value)


# The split.


def test_build_puts_each_row_in_one_part():
    dataset = build(make_csv([0, 1]))

    assert (len(dataset.X_train), len(dataset.X_test)) == (28, 12)
    assert dataset.X["x"].tolist() == list(range(2 * EACH))
    assert dataset.y.tolist() == [0, 1] * EACH


def test_build_keeps_labels_beside_their_rows():
    dataset = build(make_csv([0, 1]))

    assert (dataset.X_train["x"] % 2 == dataset.y_train).all()
    assert (dataset.X_test["x"] % 2 == dataset.y_test).all()


@pytest.mark.parametrize(("test_size", "rows"), [(0.3, 12), (0.5, 20), (0.1, 4)])
def test_build_splits_by_test_size(test_size, rows):
    assert len(build(make_csv([0, 1]), split={"test_size": test_size}).X_test) == rows


def test_build_repeats_itself_on_the_same_input():
    first, second = build(make_csv([0, 1])), build(make_csv([0, 1]))

    assert_frame_equal(first.X_test, second.X_test)
    assert first.split_digest == second.split_digest


def test_build_splits_otherwise_with_another_seed():
    first, second = (build(make_csv([0, 1]), split={"seed": seed}) for seed in (1, 2))

    assert first.X_test.index.tolist() != second.X_test.index.tolist()
    assert first.split_digest != second.split_digest


def test_split_digest_depends_on_the_places_of_the_test_rows_alone():
    first, second = build(make_csv([0, 1])), build(make_csv(["no", "yes"]), positive="yes")

    places = np.array(sorted(first.X_test.index), dtype="<i8")
    assert first.split_digest == hashlib.sha256(places.tobytes()).hexdigest()
    assert second.split_digest == first.split_digest


def test_build_stratifies_when_asked():
    text = make_csv([0, 0, 0, 1])

    dataset = build(text, split={"stratify": True})

    assert dataset.y_train.mean() == dataset.y_test.mean() == 0.25


def test_build_does_not_stratify_when_not_asked():
    shares = {
        build(make_csv([0, 0, 0, 1]), split={"stratify": False, "seed": seed}).y_test.mean()
        for seed in range(5)
    }

    assert len(shares) > 1


def test_build_gives_the_tutorials_own_test_rows():
    config = load("configs/tutorial.yaml", {})
    table = open_source(config.data).read()

    dataset = build_dataset(config, table, digest="d1gest")

    X, y = table.drop(columns="Outcome"), table["Outcome"]
    _, X_test, _, y_test = train_test_split(X, y, test_size=0.3, random_state=1)
    assert len(dataset.X_test) == 231
    assert_frame_equal(dataset.X_test, X_test.astype(float))
    assert dataset.y_test.equals(y_test)


# What comes with it.


def test_build_names_the_data_and_hands_on_the_digest():
    dataset = build(make_csv([0, 1]))

    assert (dataset.name, dataset.digest) == ("people", "d1gest")


def test_dataset_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        build(make_csv([0, 1])).name = "other"


def test_build_checks_the_rows_against_the_columns():
    assert refusal(make_csv([0, 1], "-5,1\n2000,0\n")) == (
        "row 41, x: must be at least 0 (got -5)\nrow 42, x: must be at most 1000 (got 2000)"
    )


def test_build_refuses_columns_that_the_config_does_not_know():
    assert refusal(make_csv([0, 1], header="X,y")).startswith(
        "column 'X' is not known, did you mean 'x'?"
    )


@pytest.mark.parametrize(("header", "place"), [(",x,y", 1), ("x,y,", 3), ('x,"",y', 2)])
def test_column_without_a_name_is_refused_with_its_place_and_the_remedy(header, place):
    cells = {name: at for at, name in enumerate(header.split(","))}
    rows = [[str(n), str(n), str(n)] for n in range(2 * EACH)]
    for number, row in enumerate(rows):
        row[cells["y"]] = str(number % 2)
    text = "\n".join([header, *map(",".join, rows)])

    told = refusal(text)

    assert told.startswith(f"column {place} of data.source 'folder/people.csv' has no name in the")
    assert "(1 of 3 have none): name it, or take it out of the file" in told


def test_build_names_only_the_cell_that_holds_text():
    """One text makes the whole column text: the numbers around it are still numbers."""
    assert refusal(make_csv([0, 1], "1.5,0\nabc,1\n7,0\n")) == (
        "row 42, x: must be a number (got 'abc')"
    )


def test_columns_that_hold_no_numbers_are_named_in_one_message():
    rows = "".join(
        f"{place},tall,2024-01-0{1 + place % 2},true,,{place % 2}\n" for place in range(40)
    )
    columns = ("x", "size", "day", "flag", "none")

    told = refusal(f"{','.join(columns)},y\n{rows}", columns=columns)

    assert told.startswith(
        "3 of 5 columns hold no numbers: size ('tall'), day (2024-01-01), flag (True). "
        "A column must hold numbers: write the texts as numbers (yes and no as 1 and 0)"
    )


def test_at_most_five_columns_without_numbers_are_named():
    columns = tuple(f"c{place}" for place in range(13))
    rows = "".join(f"{'a,' * 13}{place % 2}\n" for place in range(40))

    told = refusal(f"{','.join(columns)},y\n{rows}", columns=columns)

    names = ", ".join(f"c{place} ('a')" for place in range(5))
    assert told.startswith(f"13 of 13 columns hold no numbers: {names} and 8 more. ")


def test_build_takes_gaps():
    dataset = build(make_csv([0, 1], ",1\nnan,0\nNA,1\n"))

    assert dataset.X["x"].isna().sum() == 3


def test_column_without_a_value_to_learn_from_is_refused():
    text = "x,z,y\n" + "".join(f"{place},,{place % 2}\n" for place in range(2 * EACH))

    assert refusal(text, columns=("x", "z")) == (
        "column 'z' has no value in the training part: nothing can be learnt of it; "
        "take 'z' out of data.columns and of the table"
    )


# The classes.


@pytest.mark.parametrize(
    ("labels", "positive", "classes"),
    [
        ([1, 0], 1, (0, 1)),
        ([1, 0], 0, (0, 1)),
        (["1.0", "0.0"], 1, (0, 1)),
        ([-1, 1], -1, (-1, 1)),
        (["yes", "no"], "yes", ("no", "yes")),
        (["true", "false"], True, (False, True)),
        (["ü", '"a, b"'], "ü", ("a, b", "ü")),
        ([2, 1, 0], None, (0, 1, 2)),
        (["1", "01", "2"], None, ("01", "1", "2")),
        (["02134", "10001"], "02134", ("02134", "10001")),
        (["1.10", "1.9"], "1.9", ("1.10", "1.9")),
        (["1", "1.0", "2"], None, ("1", "1.0", "2")),
        (["+1", "1"], "1", ("+1", "1")),
        (["-0", "0"], "0", ("-0", "0")),
        (["1e2", "100"], "1e2", ("100", "1e2")),
        ([" 1", "1"], "1", (" 1", "1")),
        (["inf", "0"], "inf", ("0", "inf")),
        (["0x1", "1_0"], "0x1", ("0x1", "1_0")),
        (["12345678901234567890", "1"], "1", ("1", "12345678901234567890")),
        (["2024-01-31", "2024-02-01"], "2024-01-31", ("2024-01-31", "2024-02-01")),
        (["True", "False"], True, (False, True)),
        (["True", "true", "false"], None, ("True", "false", "true")),
        (["NA", "DE"], "NA", ("DE", "NA")),
        (["null", "NaN", "None"], None, ("NaN", "None", "null")),
        (["n/a", '""'], "", ("", "n/a")),
        (["c", "b", "a"], None, ("a", "b", "c")),
    ],
)
def test_build_sorts_the_classes_and_keeps_their_type(labels, positive, classes):
    contract = build(make_csv(labels), positive=positive).contract

    assert contract.classes == classes
    assert [type(label) for label in contract.classes] == [type(label) for label in classes]
    assert (contract.target, contract.positive) == ("y", positive)


def test_whole_numbers_become_integers_in_the_labels_too():
    assert build(make_csv(["0.0", "1.0"])).y.dtype == np.int64


@pytest.mark.parametrize(
    ("kind", "positive"), [("int8", 1), ("float32", 1), ("bool", True), ("category", 1)]
)
def test_build_takes_the_types_of_a_parquet_file(kind, positive):
    labels = pd.Series([0, 1] * EACH).astype(kind)
    buffer = io.BytesIO()
    pd.DataFrame({"x": range(2 * EACH), "y": labels}).to_parquet(buffer)
    table = read_table(buffer.getvalue(), "people.parquet")

    dataset = build_dataset(make_config(positive), table, digest="d1gest")

    assert dataset.contract.classes == (0, 1)
    assert len(dataset.X_test) == 12


def test_one_class_only_is_refused():
    assert refusal(make_csv([0])) == "y: every row is of the class 0; there must be two or more"


@pytest.mark.parametrize(
    ("labels", "positive", "told"),
    [
        ([0, 1], 2, "data.positive is 2; with two classes it must be one of 0, 1"),
        ([0, 1], "1", "data.positive is '1'; with two classes it must be one of 0, 1"),
        ([0, 1], True, "data.positive is True; with two classes it must be one of 0, 1"),
        (
            ["true", "false"],
            1,
            "data.positive is 1; with two classes it must be one of False, True",
        ),
        ([0, 1], None, "data.positive is None; with two classes it must be one of 0, 1"),
        (["n", "y"], "Y", "data.positive is 'Y'; with two classes it must be one of 'n', 'y'"),
    ],
)
def test_positive_must_be_one_of_two_classes(labels, positive, told):
    assert refusal(make_csv(labels), ConfigError, positive=positive) == told


def test_positive_with_three_classes_is_refused():
    told = refusal(make_csv([0, 1, 2]), ConfigError, positive=1)

    assert told.startswith("data.positive is 1, but y has 3 classes (0, 1, 2); leave it out")


@pytest.mark.parametrize(
    ("labels", "shown"),
    [
        ([0.5, 1.5], "float64 such as 0.5"),
        ([1e300, 0], "float64 such as 1e+300"),
        ([0.5, 7], "float64 such as 0.5"),
    ],
)
def test_labels_that_are_no_classes_are_refused(labels, shown):
    told = refusal(make_csv(labels))

    assert told.startswith(f"y: holds {shown}")
    assert "a class must be an integer, a text or true/false" in told
    assert told.endswith("An amount cannot be predicted yet, only classes")


def test_class_with_too_few_rows_is_refused():
    text = make_csv([0], "1,1\n" * 5)

    assert refusal(text, split={"test_size": 0.2}) == (
        "y: the class 1 has 4 rows in the training part, and 6 are needed for tune.folds 2; "
        "add rows of it, or leave the class out"
    )


def test_a_split_that_is_not_stratified_can_be():
    text = make_csv([0], "1,1\n" * 6)

    told = refusal(text, split={"stratify": False, "seed": 1})

    assert told.endswith("add rows of it, or leave the class out, or set split.stratify to true")


def test_more_classes_than_the_rows_can_fill_are_refused_at_once():
    text = "x,y\n" + "".join(f"{place},{place * place}\n" for place in range(100))

    assert refusal(text, positive=None) == (
        "y: has 100 classes in 100 rows, such as 0, 1, 4; each class needs 6 rows in the training "
        "part of about 70: join rare classes, or add rows. "
        "An amount cannot be predicted yet, only classes"
    )


def test_the_class_that_has_too_few_rows_to_be_split_is_named():
    told = refusal(make_csv([0], "1,1\n"))

    assert told.endswith("split.stratify true: the class 1 has 1 row")


def test_each_fold_needs_a_row_of_each_class():
    assert "14 rows in the training part, and 15 are needed for tune.folds 15" in refusal(
        make_csv([0, 1]), folds=15
    )


@pytest.mark.parametrize(
    ("text", "split"),
    [(make_csv([0], "1,1\n"), {}), (make_csv([0, 1]), {"test_size": 0.999})],
    ids=["one row of a class", "no row to train on"],
)
def test_table_that_cannot_be_split_is_refused_with_the_settings(text, split):
    told = refusal(text, split=split)

    assert f"rows cannot be split with split.test_size {split.get('test_size', 0.3)}" in told
    assert "split.stratify true" in told


def test_target_of_lists_in_a_parquet_file_is_refused():
    table = pd.DataFrame({"x": range(4), "y": [np.array([0]), np.array([1])] * 2})

    with pytest.raises(ContractError, match="a class must be an integer, a text or true/false"):
        build_dataset(make_config(), table, digest="d1gest")


# The target.


@pytest.mark.parametrize(
    ("header", "hint"),
    [("x,zzz", "; the columns are x, zzz"), ("x,Y", ", did you mean 'Y'?")],
)
def test_target_that_is_not_there_is_refused_with_a_hint(header, hint):
    told = refusal(make_csv([0, 1], header=header))

    assert told == f"data.target is 'y', which is no column of 'folder/people.csv'{hint}"


def test_target_that_is_there_twice_is_refused():
    told = refusal("x,y,y\n1,0,0\n2,1,1\n")

    assert told == "data.target 'y' is there twice; rename one of the columns"


def test_table_without_rows_is_refused():
    assert refusal("x,y\n") == "data.source 'folder/people.csv' has no rows, only a header"


def test_missing_target_is_refused_with_its_first_row_and_the_count():
    told = refusal(make_csv([0, 1], "7,\n8,1\n9,\n"))

    assert told == (
        "row 41, y: the target must not be missing (2 rows have none); "
        "leave such rows out of the table. "
        'A class that is the empty text is written "" in CSV'
    )
