import io
from math import nan

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from pipeline.datasets.formats import read_table
from pipeline.errors import SourceError

CSV = b"a,b\n1,x\n2,y\n"
TEXT = pd.StringDtype("pyarrow", na_value=nan)
TABLE = pd.DataFrame({"a": [1, 2], "b": ["x", "y"]})


def parquet(table=TABLE):
    buffer = io.BytesIO()
    table.to_parquet(buffer, index=False)
    return buffer.getvalue()


def refusal(content, source="folder/a.csv"):
    """The message with which the bytes are refused as a table."""
    with pytest.raises(SourceError) as error:
        read_table(content, source)
    assert f"data.source '{source}'" in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("content", "columns"),
    [
        (CSV, {"a": ["1", "2"], "b": ["x", "y"]}),
        (CSV[:-1], {"a": ["1", "2"], "b": ["x", "y"]}),
        (CSV.replace(b"\n", b"\r\n"), {"a": ["1", "2"], "b": ["x", "y"]}),
        (b"\xef\xbb\xbf" + CSV, {"a": ["1", "2"], "b": ["x", "y"]}),
        (b'a,b\n"x, y",1\n"say ""z""",2\n', {"a": ["x, y", 'say "z"'], "b": ["1", "2"]}),
        (b'"a, b",c\n1,2\n', {"a, b": ["1"], "c": ["2"]}),
        (b'a,b\n"x\ny",1\n', {"a": ["x\ny"], "b": ["1"]}),
        ("größe,b\n1,é\n".encode(), {"größe": ["1"], "b": ["é"]}),
        (b"a,b\n01,true\n1.10, NA\n", {"a": ["01", "1.10"], "b": ["true", " NA"]}),
        (b'a,b\n1,""\n,NA\n"",x\n', {"a": ["1", None, ""], "b": ["", "NA", "x"]}),
        (b"a,b\n1,2\n\n3,4\n\n", {"a": ["1", "3"], "b": ["2", "4"]}),
    ],
)
def test_read_table_reads_the_cells_of_csv_as_texts(content, columns):
    assert_frame_equal(read_table(content, "a.csv"), pd.DataFrame(columns, dtype=TEXT))


def test_read_table_types_the_target_of_csv_alone():
    table = read_table(b"a,b\n1,0\n2,1\n", "a.csv", target="b")

    assert table.dtypes.to_dict() == {"a": TEXT, "b": "int64"}


def test_read_table_reads_line_breaks_in_quotes_in_a_file_of_several_blocks():
    content = b"a,b\n" + b'"x\ny",1\n' * 400_000

    assert read_table(content, "a.csv")["a"].eq("x\ny").sum() == 400_000


def test_read_table_keeps_a_csv_without_rows_as_an_empty_table():
    table = read_table(b"a,b\n", "a.csv")

    assert list(table.columns) == ["a", "b"]
    assert len(table) == 0


@pytest.mark.parametrize("source", ["a.parquet", "a.PQ", "download?id=3", "a.csv"])
def test_read_table_recognizes_parquet_by_its_first_bytes(source):
    assert_frame_equal(read_table(parquet(), source), TABLE)


@pytest.mark.parametrize("content", [b"", b"  \n\n"])
@pytest.mark.parametrize("source", ["a.csv", "a.parquet"])
def test_read_table_refuses_an_empty_file(content, source):
    assert "is empty; it must be a CSV or Parquet file" in refusal(content, source)


@pytest.mark.parametrize(
    "page",
    [
        b"<!DOCTYPE html>\n<title>Sign in</title>",
        b"\n  <html lang='en'>",
        b"<HEAD><TITLE>404</TITLE></HEAD>",
        b"<?xml version='1.0'?><Error/>",
    ],
)
def test_read_table_tells_an_html_page_from_a_table(page):
    assert "is an HTML page, not a table; name the address of the file itself" in refusal(page)


@pytest.mark.parametrize(
    ("content", "line", "cells", "more"),
    [
        (b"a,b\n1,2\n3,4,5\n6,7\n", 3, 3, 0),
        (b"a,b\n1,2\n3\n6,7\n", 3, 1, 0),
        (b"a,b\n1,2,3\n4,5,6\n7,8,9\n", 2, 3, 2),
        (b"a,b\n1,2\n3", 3, 1, 0),
        (b"a,b\n1,2\n3,4,5\n6\n", 3, 3, 1),
        (b'a,b\n1,2\n"3,4\n', 3, 1, 0),
    ],
    ids=["longer", "shorter", "all longer", "cut short", "both", "open quote"],
)
def test_read_table_refuses_ragged_rows_and_names_the_line(content, line, cells, more):
    assert (
        f"is ragged: line {line} has {cells} cells where the header has 2, "
        f"and {more} more lines do not fit"
    ) in refusal(content)


@pytest.mark.parametrize(
    "content",
    [
        "a,b\n1,é\n".encode("latin-1"),
        "größe,b\n1,2".encode("latin-1"),
        "a,b\n1,2".encode("utf-16"),
        "a,b\n1,2\n".encode("utf-16"),
    ],
    ids=["a cell in Latin-1", "the header in Latin-1", "UTF-16", "UTF-16, a line break last"],
)
def test_read_table_refuses_text_that_is_not_utf8(content):
    assert "is not in UTF-8; save the file as UTF-8" in refusal(content)


def flipped(content):
    return content[:10] + bytes([content[10] ^ 0xFF]) + content[11:]


@pytest.mark.parametrize(
    "content",
    [
        parquet()[:-20],
        parquet()[:50],
        b"PAR1",
        parquet().replace(b"PAR1", b"PAR2"),
        flipped(parquet(pd.DataFrame({"a": range(1000)}))),
    ],
    ids=["tail lost", "head only", "mark only", "marks wrong", "a flipped byte"],
)
def test_read_table_refuses_a_broken_parquet_file(content):
    assert "is not a whole Parquet file: " in refusal(content, "a.parquet")
