import io
import logging

import pytest

from pipeline.config.csv import Csv
from pipeline.datasets.csv_dialect import Dialect, detect
from tests.support.tables import read

A, B = ["1.5", "-2", "1234.5"], ["x", "y", "z"]
LETTERS = "größe,b\n1,é\n"


def dialect(text, written="utf-8", **settings):
    return detect(io.BytesIO(text.encode(written)), Csv(**settings), "the file")


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        ("a,b\n1.5,x\n-2,y\n1234.5,z\n", {}),
        ("a;b\n1.5;x\n-2;y\n1234.5;z\n", {}),
        ("a\tb\n1.5\tx\n-2\ty\n1234.5\tz\n", {}),
        ("a|b\n1.5|x\n-2|y\n1234.5|z\n", {}),
        ("a;b\n1,5;x\n-2;y\n1234,5;z\n", {}),
        ("a;b\n1,5;x\n-2;y\n1.234,5;z\n", {}),
        ('"a";"b"\n"1,5";"x"\n"-2";"y"\n"1234,5";"z"\n', {}),
        ("'a','b'\n'1.5','x'\n'-2','y'\n'1234.5','z'\n", {}),
        ("sep=;\na;b\n1,5;x\n-2;y\n1234,5;z\n", {}),
        ("# of 2024, by Ann\n\n# a second\na,b\n1.5,x\n-2,y\n1234.5,z\n", {}),
        ("\n\na,b\n1.5,x\n-2,y\n1234.5,z\n", {}),
        ("% note\na,b\n1.5,x\n-2,y\n1234.5,z\n", {"comment": "%"}),
        ("a:b\n1.5:x\n-2:y\n1234.5:z\n", {"separator": ":"}),
        ('a,b\n"1,5",x\n-2,y\n"1234,5",z\n', {"decimal": ","}),
        ("a\tb\n1.5\tx\n-2\ty\n1234.5\tz\n", {"separator": "tab"}),
        ("$a$,b\n$1.5$,x\n-2,y\n1234.5,z\n", {"quote": "$"}),
    ],
)
def test_table_is_the_same_in_each_dialect(text, settings):
    table = read(text.encode(), csv=Csv(**settings))

    assert table.to_dict("list") == {"a": A, "b": B}


@pytest.mark.parametrize(
    ("text", "settings", "expected"),
    [
        # What fits with commas is read with commas.
        ("a,b\n1;2,3;4\n", {}, {"separator": ","}),
        ("a,b|c\n1,x|y\n", {}, {"separator": ","}),
        ("length, cm;b\n1,5;2\n2;3,5\n1,5;2\n", {}, {"separator": ";", "decimal": ","}),
        ("length, cm|b\n1,5|x\n2,5|y\n", {}, {"separator": "|"}),
        ("length, cm;b\n1,5;2\n2,5;3\n", {}, {"separator": ";", "decimal": ","}),
        ("a,b\n1,2,3\n4;5,6\n", {}, {"separator": ","}),
        ('"a;b",c\n"x;y",2\n', {}, {"separator": ","}),
        # A ragged line does not change the separator.
        ("a;b\n" + "1,5;2,5\n" * 20 + "1;2;3\n", {}, {"separator": ";"}),
        # A decimal comma is one where each cell of a column with a digit is a number.
        ("a;b\n1,5;x\n?;y\nNA;z\n", {}, {"decimal": ","}),
        ("a;b\n1,2,3;x\n1,5;y\n", {}, {"decimal": "."}),
        ("a;b\n01.02.2024;0.5\n02.03.2024;1\n", {}, {"decimal": "."}),
        ("a;b\n1,5;0.5\n", {"decimal": ","}, {"decimal": ","}),
        # A header that begins with the mark stands right above numbers.
        ("# note\n#a,b\n1,x\n2,y\n", {}, {"skipped_lines": 1}),
        ("#a,b\n1,x\n", {"comment": "#"}, {"skipped_lines": 1, "separator": ","}),
        ("#a,b\n1,x\n", {"comment": ""}, {"skipped_lines": 0}),
        # Quotes.
        ("a,b\nit's,John's\n", {}, {"quote": '"'}),
        ('a,b\n5",x\n', {"quote": ""}, {"quote": ""}),
    ],
)
def test_detection_takes_what_fits_and_a_setting_wins(text, settings, expected):
    detected = dialect(text, **settings)

    assert {name: getattr(detected, name) for name in expected} == expected


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "cp1252"])
def test_each_encoding_is_detected(encoding):
    assert read(LETTERS.encode(encoding)).to_dict("list") == {"größe": ["1"], "b": ["é"]}


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "cp850", "mac-roman", "shift-jis"])
def test_encoding_may_be_given(encoding):
    text = LETTERS if encoding != "shift-jis" else "大,b\n1,日\n"

    assert list(read(text.encode(encoding), csv=Csv(encoding=encoding))) == text[:-1].split("\n")[
        0
    ].split(",")


def test_what_is_unusual_is_logged_with_its_setting(caplog):
    caplog.set_level(logging.INFO)
    detected = dialect("# note\ngröße;b\n1,5;x\n", "cp1252")

    assert detected == Dialect(";", '"', ",", "cp1252", 1)
    for sentence in [
        "the file: not in UTF-8, read as cp1252; if not so, set data.csv.encoding",
        "the file: the separator is ';'; if not so, set data.csv.separator",
        "the file: numbers have decimal commas; if not so, set data.csv.decimal",
        "the file: skipped before the header: 1 lines; if not so, set data.csv.comment",
    ]:
        assert sentence in caplog.messages
    caplog.clear()
    dialect("größe;b\n1,5;x\n", "cp1252", separator=";", decimal=",", encoding="cp1252")
    dialect("a,b\n1,x\n")
    assert caplog.messages == []


def test_decimal_commas_become_points_in_columns_of_numbers_alone():
    table = read(b"n;t;v;b\n1,5;a,5;1.2.3;x\n?;1,5;1,5;x\n1.000;b;0,5;x\n")

    assert table["n"].tolist() == ["1.5", "?", "1000"]
    assert table["t"].tolist() == ["a,5", "1,5", "b"]
    assert table["v"].tolist() == ["1.2.3", "1,5", "0,5"]


def test_header_that_is_longer_than_the_first_sample_is_read():
    names = [f"{place} {'long ' * 100}" for place in range(1000)]
    rows = [";".join(names), ";".join(["1,5"] * 1000), ";".join(["2"] * 1000)]
    table = read("\n".join(rows).encode())

    assert table.to_dict("list") == {name: ["1.5", "2"] for name in names}
