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
from pipeline.datasets.sources import open_source
from pipeline.errors import ConfigError, ContractError
from pipeline.schema.columns import NumberColumn
from tests.support.tables import source_of

EACH = 20  # rows of a class


def make_config(positive=1, columns=("x",), target="y", split=None, folds=2, **data):
    return Config(
        data=Data(
            source="folder/people.csv",
            target=target,
            positive=positive,
            columns={name: NumberColumn(range=(0, 1000)) for name in columns},
            **data,
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
    return build_dataset(config, source_of(config.data, text.encode()).read(), "d1gest")


def refusal(text, error=ContractError, **settings):
    """The message with which a table is refused."""
    with pytest.raises(error) as refused:
        build(text, **settings)
    return str(refused.value)


# The split.


@pytest.mark.parametrize(("test_size", "rows"), [(0.3, 12), (0.5, 20), (0.1, 4)])
def test_build_puts_each_row_with_its_label_in_one_part(test_size, rows):
    dataset = build(make_csv([0, 1]), split={"test_size": test_size})

    assert (dataset.name, dataset.digest) == ("people", "d1gest")
    assert (len(dataset.X_train), len(dataset.X_test)) == (40 - rows, rows)
    assert dataset.X["x"].tolist() == list(range(2 * EACH))
    assert (dataset.X_train["x"] % 2 == dataset.y_train).all()
    assert (dataset.X_test["x"] % 2 == dataset.y_test).all()


def test_build_splits_the_same_with_the_same_seed_and_otherwise_with_another():
    first, again, other = (build(make_csv([0, 1]), split={"seed": seed}) for seed in (1, 1, 2))

    assert_frame_equal(first.X_test, again.X_test)
    assert first.split_digest == again.split_digest
    assert first.X_test.index.tolist() != other.X_test.index.tolist()
    assert first.split_digest != other.split_digest


def test_split_digest_depends_on_the_places_of_the_test_rows_alone():
    first, second = build(make_csv([0, 1])), build(make_csv(["no", "yes"]), positive="yes")

    places = np.array(sorted(first.X_test.index), dtype="<i8")
    assert first.split_digest == hashlib.sha256(places.tobytes()).hexdigest()
    assert second.split_digest == first.split_digest


@pytest.mark.parametrize("stratify", [True, False])
def test_build_stratifies_when_asked(stratify):
    shares = {
        build(make_csv([0, 0, 0, 1]), split={"stratify": stratify, "seed": seed}).y_test.mean()
        for seed in range(5)
    }

    assert (shares == {0.25}) is stratify


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


@pytest.mark.parametrize(
    ("header", "row", "place"),
    [(",x,y", "0,0,{}", 1), ("x,y,", "0,{},0", 3), ('x,"",y', "0,0,{}", 2)],
)
def test_column_without_a_name_is_refused_with_its_place_and_the_remedy(header, row, place):
    message = refusal("\n".join([header, *(row.format(n % 2) for n in range(2 * EACH))]))

    assert message.startswith(
        f"column {place} of data.source 'folder/people.csv' has no name in the"
    )
    assert "(1 of 3 have none): name it, or take it out of the file" in message


@pytest.mark.parametrize("header", ["x,y,id", "id,x,y", "id,x,id,y", ",x,y"])
def test_build_leaves_out_what_is_dropped(header):
    names = header.split(",")
    lines = (
        ",".join({"x": str(n), "y": str(n % 2)}.get(name, "#!?") for name in names)
        for n in range(2 * EACH)
    )
    drop = {name: "unique in each row" for name in names if name not in ("x", "y")}

    dataset = build("\n".join([header, *lines]), drop=drop)

    assert list(dataset.X) == list(dataset.contract.columns) == ["x"]
    assert dataset.X["x"].tolist() == list(range(2 * EACH))


@pytest.mark.parametrize(
    ("labels", "marks", "settings", "classes"),
    [
        ([0, "", 1], (), {}, (0, 1)),
        ([0, "NA", 1, ""], ("NA",), {}, (0, 1)),
        ([0, -1, 1], (-1,), {}, (0, 1)),
        (["no", "?", "yes"], ("?",), {"positive": "yes"}, ("no", "yes")),
        (["true", "", "false"], (), {"positive": True}, (False, True)),
        (["01", "?", "1"], ("?",), {"positive": "1"}, ("01", "1")),
        ([0, "NA", 1], ("NA",), {"target_kind": "text", "positive": "1"}, ("0", "1")),
        ([1.5, "NA", 2.5, 7], ("NA",), {"positive": None}, ()),
    ],
)
def test_rows_without_a_target_are_left_out_if_asked_for(labels, marks, settings, classes):
    text = make_csv(labels)
    dataset = build(text, target_missing=marks, **settings)

    rows = [line.split(",") for line in text.splitlines()[1:]]
    whole = [place for place, (_, label) in enumerate(rows) if label not in ("", *map(str, marks))]
    assert dataset.contract.classes == classes
    assert dataset.y.index.tolist() == dataset.X.index.tolist() == whole
    assert dataset.X["x"].tolist() == whole
    kinds = [type(one) for one in classes] or [float]
    assert dataset.y.tolist() == [
        rows[place][1] == "true" if kinds[0] is bool else kinds[0](rows[place][1])
        for place in whole
    ]
    assert dataset.rows_note == f"{len(rows) - len(whole)} rows without a target are left out"
    assert len(dataset.y_test) == pytest.approx(0.3 * len(whole), abs=1)


def test_row_of_a_wrong_amount_is_named_by_its_place_in_the_table():
    text = make_csv([1.5, "", 2.5], extra_rows="0,inf\n")
    assert "row 61, y: holds 'inf'" in refusal(
        text, target_missing=(), positive=None, task="regression"
    )


def test_build_takes_gaps():
    dataset = build(make_csv([0, 1], ",1\nnan,0\nNA,1\n"))

    assert dataset.X["x"].isna().sum() == 3


# The classes.


@pytest.mark.parametrize(
    ("labels", "positive", "classes"),
    [
        ([1, 0], 1, (0, 1)),
        (["1.0", "0.0"], 1, (0, 1)),
        ([-1, 1], -1, (-1, 1)),
        (["true", "false"], True, (False, True)),
        (["ü", '"a, b"'], "ü", ("a, b", "ü")),
        (["02134", "10001"], "02134", ("02134", "10001")),
        (["1.10", "1.9"], "1.9", ("1.10", "1.9")),
        (["+1", "1"], "1", ("+1", "1")),
        (["-0", "0"], "0", ("-0", "0")),
        (["1e2", "100"], "1e2", ("100", "1e2")),
        ([" 1", "1"], "1", (" 1", "1")),
        (["inf", "0"], "inf", ("0", "inf")),
        (["0x1", "1_0"], "0x1", ("0x1", "1_0")),
        (["12345678901234567890", "1"], "1", ("1", "12345678901234567890")),
        (["2024-01-31", "2024-02-01"], "2024-01-31", ("2024-01-31", "2024-02-01")),
        (["True", "true", "false"], None, ("True", "false", "true")),
        (["NA", "DE"], "NA", ("DE", "NA")),
        (["n/a", '""'], "", ("", "n/a")),
    ],
)
def test_build_sorts_the_classes_and_keeps_their_type(labels, positive, classes):
    dataset = build(make_csv(labels), positive=positive)
    contract = dataset.contract

    assert repr(contract.classes) == repr(classes)
    assert [*map(repr, sorted(set(dataset.y.tolist())))] == [*map(repr, classes)]
    assert (contract.target, contract.positive) == ("y", positive)


@pytest.mark.parametrize(
    ("kind", "positive"), [("int8", 1), ("float32", 1), ("bool", True), ("category", 1)]
)
def test_build_takes_the_types_of_a_parquet_file(kind, positive):
    labels = pd.Series([0, 1] * EACH).astype(kind)
    buffer = io.BytesIO()
    pd.DataFrame({"x": range(2 * EACH), "y": labels}).to_parquet(buffer)
    config = make_config(positive)

    table = source_of(config.data, buffer.getvalue()).read()
    dataset = build_dataset(config, table, digest="d1gest")

    assert dataset.contract.classes == (0, 1)
    assert len(dataset.X_test) == 12


def test_target_of_lists_in_a_parquet_file_is_refused():
    table = pd.DataFrame({"x": range(4), "y": [np.array([0]), np.array([1])] * 2})

    with pytest.raises(ContractError, match="a class must be an integer, a text or true/false"):
        build_dataset(make_config(), table, digest="d1gest")


# Refusals.

LETTERS = tuple(f"c{place}" for place in range(13))
KINDS = ("x", "size", "day", "flag", "none")
OF_KINDS = "".join(f"{n},tall,2024-01-0{1 + n % 2},true,,{n % 2}\n" for n in range(40))
SQUARES = "x,y\n" + "".join(f"{place},{place * place}\n" for place in range(100))
UNSTRATIFIED = {"stratify": False, "seed": 1}
NO_AMOUNT = "Where it holds amounts, set data.task to regression"


@pytest.mark.parametrize(
    ("text", "settings", "parts"),
    [
        # The target.
        (
            make_csv([0, 1], header="x,zzz"),
            {},
            ["data.target is 'y', which", "the columns are x, z"],
        ),
        (make_csv([0, 1], header="x,Y"), {}, ["is no column of", ", did you mean 'Y'?"]),
        ("x,y,y\n1,0,0\n2,1,1\n", {}, ["data.target 'y' is there twice; rename one"]),
        ("x,y\n", {}, ["data.source 'folder/people.csv' has no rows, only a header"]),
        (
            make_csv([0, 1], "7,\n8,1\n9,\n"),
            {},
            [
                "row 41, y: the target must not be missing (2 rows have none); 'target_missing: ",
                'A class that is the empty text is written "" in CSV',
            ],
        ),
        (
            "x,y\n1,\n2,?\n",
            {"target_missing": ("?",)},
            ["y: no row has a target; all 2 are missing, or one of data.target_missing ['?']"],
        ),
        # The columns.
        (
            *(make_csv([0, 1], "-5,1\n2000,0\n"), {}),
            ["row 41, x: must be at least 0 (got -5)\nrow 42, x: must be at most 1000 (got 2000)"],
        ),
        (
            make_csv([0, 1], header="X,y"),
            {},
            [
                "column 'X' is not known, did you mean 'x'?",
                "a column that is no feature may stay in the file: name it below data.drop",
            ],
        ),
        (
            make_csv([0, 1]),
            {"drop": {"idd": "unique"}},
            ["data.drop has 'idd', which is no column of 'folder/people.csv'; take it out"],
        ),
        (
            make_csv([0, 1], header="id,y"),
            {"drop": {"idd": "unique"}},
            ["data.drop has 'idd', which is no column of", ", did you mean 'id'?"],
        ),
        (make_csv([0, 1], "1.5,0\nabc,1\n7,0\n"), {}, ["row 42, x: must be a number (got 'abc')"]),
        (
            f"{','.join(KINDS)},y\n{OF_KINDS}",
            {"columns": KINDS},
            [
                "3 of 5 columns hold no numbers: size ('tall'), day ('2024-01-01'), flag ('true'). "
                "A column must hold numbers: write the texts as numbers (yes and no as 1 and 0)"
            ],
        ),
        (
            f"{','.join(LETTERS)},y\n" + "".join(f"{'a,' * 13}{n % 2}\n" for n in range(40)),
            {"columns": LETTERS},
            ["13 of 13 columns hold no numbers: c0 ('a'), ", "c4 ('a') and 8 more. "],
        ),
        (
            "x,z,y\n" + "".join(f"{place},,{place % 2}\n" for place in range(2 * EACH)),
            {"columns": ("x", "z")},
            ["column 'z' has no value in the training part: ", "take 'z' out of data.columns"],
        ),
        # The classes.
        (make_csv([0]), {}, ["y: every row is of the class 0; there must be two or more"]),
        (make_csv([0.5, 7]), {}, ["y: holds float64 such as 0.5; a class must be an", NO_AMOUNT]),
        (make_csv([1e300, 0]), {}, ["y: holds float64 such as 1e+300"]),
        (
            make_csv([0], "1,1\n" * 5),
            {"split": {"test_size": 0.2}},
            ["y: the class 1 has 4 rows in the training part, and 6 are needed for tune.folds 2; "],
        ),
        (
            make_csv([0], "1,1\n" * 6),
            {"split": UNSTRATIFIED},
            ["add rows of it, or leave the class out, or set split.stratify to true"],
        ),
        (make_csv([0, 1]), {"folds": 15}, ["14 rows in the training part, and 15 are needed"]),
        (
            SQUARES,
            {"positive": None, "task": "classification"},
            [
                "y: has 100 classes in 100 rows, such as 0, 1, 4; each class needs 6 rows in the "
                "training part of about 70: join rare classes, or add rows. ",
                NO_AMOUNT,
            ],
        ),
        (make_csv([0], "1,1\n"), {}, ["21 rows cannot be split with split.test_size 0.3 and"]),
        (make_csv([0, 1]), {"split": {"test_size": 0.999}}, ["40 rows cannot be split with split"]),
    ],
)
def test_table_that_cannot_be_learnt_from_is_refused_with_the_rule(text, settings, parts):
    message = refusal(text, **settings)

    assert all(part in message for part in parts)


@pytest.mark.parametrize(
    ("labels", "positive", "message"),
    [
        *(
            ([0, 1], positive, f"is {positive!r}; with two classes it must be one of 0, 1")
            for positive in (2, "1", True, None)
        ),
        (["true", "false"], 1, "is 1; with two classes it must be one of False, True"),
        ([0, 1, 2], 1, "is 1, but y has 3 classes (0, 1, 2); leave it out"),
    ],
)
def test_positive_must_be_one_of_two_classes_and_of_no_more(labels, positive, message):
    assert refusal(make_csv(labels), ConfigError, positive=positive).startswith(
        f"data.positive {message}"
    )


@pytest.mark.parametrize(
    ("labels", "positive", "names"),
    [
        ([0, 1], 1, {"0": "healthy", "1": "ill"}),
        (["true", "false"], True, {"false": "healthy", "true": "ill"}),
        (["no", "yes"], "yes", {"no": "healthy", "yes": "ill"}),
    ],
)
def test_classes_have_names_for_people(labels, positive, names):
    dataset = build(make_csv(labels), positive=positive, labels=names)
    assert dataset.class_names == ("healthy", "ill")
    assert (dataset.named_y == "ill").tolist() == (dataset.y == positive).tolist()
    assert dataset.contract.positive == positive


def test_classes_without_a_name_are_as_they_are():
    assert build(make_csv([0, 1]), labels={"1": "ill"}).class_names == ("0", "ill")
    assert build(make_csv([0, 1])).class_names == (0, 1)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({"2": "ill"}, "data.labels has '2', which is no class of y; the classes are 0, 1"),
        ({"0": "ill", "1": "ill"}, "data.labels calls two classes of y 'ill'; give each a name of"),
        ({"0": "1"}, "data.labels calls two classes of y '1'"),
    ],
)
def test_names_that_tell_no_class_are_refused(names, message):
    assert refusal(make_csv([0, 1]), ConfigError, labels=names).startswith(message)
