import bz2
import gzip
import io
import lzma
import zipfile
from datetime import datetime
from math import nan

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pandas.testing import assert_frame_equal

from pipeline.datasets import json_lines
from pipeline.datasets.formats import FORMATS, as_frame
from tests.support.tables import as_parquet, make_data, read, source_of

CSV = b"a,b\n1,x\n2,y\n"
LINES = b'{"a": 1, "b": "x"}\n{"a": 2, "b": "y"}\n'
TEXT = pd.StringDtype("pyarrow", na_value=nan)
TEXTS = pd.DataFrame({"a": ["1", "2"], "b": ["x", "y"]}, dtype=TEXT)
TYPED = pd.DataFrame({"a": [1, 2], "b": ["x", "y"]})


def as_feather(table=TYPED):
    buffer = io.BytesIO()
    table.to_feather(buffer)
    return buffer.getvalue()


def as_excel(*sheets, names=("first", "second")):
    """A workbook of sheets, each a list of rows."""
    book = pytest.importorskip("openpyxl").Workbook()
    book.remove(book.active)
    for name, rows in zip(names, sheets, strict=False):
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(row)
    buffer = io.BytesIO()
    book.save(buffer)
    return buffer.getvalue()


def zipped(**members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.csv", content)
    return buffer.getvalue()


# CSV.


@pytest.mark.parametrize(
    ("content", "columns"),
    [
        (CSV, {"a": ["1", "2"], "b": ["x", "y"]}),
        (CSV[:-1], {"a": ["1", "2"], "b": ["x", "y"]}),
        (CSV.replace(b"\n", b"\r\n"), {"a": ["1", "2"], "b": ["x", "y"]}),
        (CSV.replace(b"\n", b"\r"), {"a": ["1", "2"], "b": ["x", "y"]}),
        (b'a,b\n"x, y",1\n"say ""z""",2\n', {"a": ["x, y", 'say "z"'], "b": ["1", "2"]}),
        (b'"a, b",c\n1,2\n', {"a, b": ["1"], "c": ["2"]}),
        (b'a,b\n"x\ny",1\n', {"a": ["x\ny"], "b": ["1"]}),
        (b"a,b\n01,true\n1.10, NA\n", {"a": ["01", "1.10"], "b": ["true", " NA"]}),
        (b'a,b\n1,""\n,NA\n"",x\n', {"a": ["1", None, ""], "b": ["", "NA", "x"]}),
        (b"a,b\n1,2\n\n3,4\n\n", {"a": ["1", "3"], "b": ["2", "4"]}),
        (b"a,b\n", {"a": [], "b": []}),
    ],
)
def test_cells_of_csv_are_read_as_texts(content, columns):
    assert_frame_equal(read(content), pd.DataFrame(columns, dtype=TEXT))


def test_line_breaks_in_quotes_are_read_in_a_file_of_several_blocks():
    table = read(b"a,b\n" + b'"x\ny",1\n' * 700_000)

    assert table["a"].eq("x\ny").sum() == 700_000


@pytest.mark.parametrize(("kind", "classes"), [("auto", [0, 1, 2]), ("text", ["0", "1", "2"])])
def test_target_of_csv_is_typed_where_it_is_plainly_of_a_type_unless_kept_as_text(kind, classes):
    table = read(b"a,b\n1,0\nNA,1\n01,2\n", target_kind=kind)

    assert table["a"].tolist() == ["1", "NA", "01"]
    assert table["b"].tolist() == classes


@pytest.mark.parametrize("kind", ["auto", "text"])
def test_leading_zeros_of_the_target_stay_and_NA_is_a_class(kind):
    table = read(b"a,b\n1,01\n2,1\n3,NA\n4,2\n", target_kind=kind)

    assert table["b"].tolist() == ["01", "1", "NA", "2"]


@pytest.mark.parametrize("name", ["PAR1", "ARROW1", "FEA1", "BZh9", "RDX", "GIF8", "PK", "7z", "%"])
def test_csv_whose_first_column_is_called_as_another_format_begins_is_csv(name):
    assert list(read(f"{name},b\n1,2\n".encode())) == [name, "b"]


# Others.


@pytest.mark.parametrize(
    ("cells", "texts"),
    [
        ([1, 0], ["1", "0"]),
        ([1.0, nan], ["1", None]),
        ([0.5, 1], ["0.5", "1.0"]),
        (["01", "1"], ["01", "1"]),
    ],
)
def test_target_of_a_typed_file_may_be_taken_as_text(cells, texts):
    table = read(as_parquet(pd.DataFrame({"b": cells})), "a.parquet")

    assert [None if pd.isna(cell) else cell for cell in table["b"]] == texts


@pytest.mark.parametrize("source", ["a.parquet", "a.PQ", "download?id=3", "a.csv"])
def test_parquet_is_recognized_by_its_first_bytes_and_stays_typed(source):
    assert_frame_equal(read(as_parquet(TYPED), source), TYPED)


def test_index_of_a_filtered_frame_is_left_out_of_parquet_and_feather():
    table = pd.DataFrame({"a": [0, 1, 2], "b": ["w", "x", "y"]}).query("a > 0")

    assert_frame_equal(read(as_parquet(table)), TYPED)
    assert_frame_equal(read(as_feather()), TYPED)


def test_named_index_of_parquet_is_a_column():
    table = pd.DataFrame({"b": ["x", "y"]}, index=pd.Index([7, 8], name="id"))

    table = read(as_parquet(table))

    assert table["id"].tolist() == [7, 8]


@pytest.mark.extra
def test_first_sheet_of_excel_is_read_or_the_one_that_is_named():
    rows = [
        [None, None],
        ["a", "b", "c"],
        [1, "x", None],
        [None] * 3,
        [2.5, "y", True],
        [None, "z"],
    ]
    content = as_excel(rows, [["a", "b"], [7, "z"]])

    table = read(content, "a.xlsx")

    assert list(table.columns) == ["a", "b", "c"]
    assert table["a"].tolist()[:2] == [1, 2.5]
    assert np.isnan(table["a"][2])
    assert table["b"].tolist() == ["x", "y", "z"]
    assert table["c"].isna().tolist() == [True, False, True]
    assert read(content, "a.csv", sheet="second")["a"].tolist() == [7]


COMPRESSED = {
    "gzip": gzip.compress(CSV),
    "gzip in two parts": gzip.compress(CSV[:5]) + gzip.compress(CSV[5:]),
    "bz2": bz2.compress(CSV),
    "xz": lzma.compress(CSV),
    "zip": zipped(a=CSV),
}


@pytest.mark.parametrize("name", COMPRESSED)
@pytest.mark.parametrize("source", ["a.csv.gz", "a.csv"])
def test_compressed_csv_is_read_whatever_its_name(name, source):
    assert_frame_equal(read(COMPRESSED[name], source), TEXTS)


def test_compressed_parquet_is_read():
    assert_frame_equal(read(gzip.compress(as_parquet(TYPED))), TYPED)


@pytest.mark.extra
def test_column_of_excel_with_a_text_in_it_is_one_of_texts():
    day = datetime(2024, 1, 31)
    content = as_excel([["a", "b", "b"], [1, day, True], [2.5, "soon", None], ["NA", None, "x"]])

    table = read(content, target="a")

    assert table["a"].tolist() == ["1", "2.5", "NA"]
    assert table.iloc[:, 1].tolist()[:2] == ["2024-01-31T00:00:00", "soon"]
    assert table.iloc[:, 2].tolist()[::2] == ["true", "x"]


# JSON lines.


@pytest.mark.parametrize("block", [1, 40, 2**24])
def test_columns_of_json_lines_are_of_the_type_that_holds_all_their_cells(monkeypatch, block):
    monkeypatch.setattr(json_lines, "BLOCK", block)
    content = b"""{"a": 1, "b": true, "c": null, "d": "2024-01-31", "e": "01"}
    {"a": 2.5, "b": false, "c": "x", "d": "soon", "f": 1}

    {"a": null, "b": null, "c": null, "d": "2024-02-01", "e": "", "f": 20}"""

    source = source_of(make_data(target="g"), content)
    table = pa.concat_tables(source.batches(2))

    assert table.to_pydict() == {
        "a": [1.0, 2.5, None],
        "b": [True, False, None],
        "c": [None, "x", None],
        "d": ["2024-01-31", "soon", "2024-02-01"],
        "e": ["01", None, ""],
        "f": [None, 1, 20],
    }
    assert_frame_equal(as_frame(table), source.read())


# In batches.


@pytest.mark.parametrize(
    "content",
    [
        *(CSV, gzip.compress(CSV), "a;b\n1,5;x\n2,5;y\n".encode("utf-16")),
        *(as_parquet(TYPED), as_feather(), as_parquet(TYPED, row_group_size=1)),
        *(LINES, gzip.compress(LINES)),
    ],
    ids=["csv", "gzip", "utf-16", "parquet", "feather", "row groups", "lines", "lines in gzip"],
)
@pytest.mark.parametrize("rows", [1, 2, 3])
def test_batches_hold_the_rows_of_the_whole_table(content, rows):
    source = source_of(make_data(target_kind="text"), content)

    batches = list(source.batches(rows))

    assert [len(batch) for batch in batches] == ([1, 1] if rows == 1 else [2])
    assert_frame_equal(as_frame(pa.concat_tables(batches)), source.read())


def test_each_format_has_a_name_of_its_own():
    names = sorted(form.name for form in FORMATS)
    assert names == ["CSV", "Excel", "Feather", "JSON lines", "Parquet"]
