"""Files that hold no table, or not the whole of it: each is refused with a sentence of its own."""

import bz2
import gzip
import io
import lzma
import sqlite3
import sys
import zipfile

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.config.csv import Csv
from pipeline.datasets.dataset import build_dataset
from pipeline.errors import ContractError, SourceError
from tests.support.builders import make_config
from tests.support.tables import as_parquet, make_data, source_of

CSV = b"a,b\n1,x\n2,y\n"
LONG = b"a,b\n" + b"".join(b"%d,x\n" % n for n in range(9000))
TYPED = pd.DataFrame({"a": [1, 2], "b": ["x", "y"]})
PARQUET = as_parquet(TYPED)
LARGE_PARQUET = as_parquet(pd.DataFrame({"a": range(1000)}))
TWICE = pa.table([[1], [2], [3]], names=["a", "b", "a"])


def packed(files, password=False):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    content = bytearray(buffer.getvalue())
    if password:  # the flag of both headers; zipfile writes none
        content[6] |= 1
        content[content.index(b"PK\x01\x02") + 8] |= 1
    return bytes(content)


def with_name_twice():
    buffer = io.BytesIO()
    pq.write_table(TWICE, buffer)
    return buffer.getvalue()


def feather(table):
    buffer = io.BytesIO()
    with pa.ipc.new_file(buffer, table.schema) as writer:
        writer.write_table(table)
    return buffer.getvalue()


def flipped(content, place):
    return content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :]


def sqlite_file(folder):
    path = folder / "a.db"
    with sqlite3.connect(path) as database:
        database.execute("create table t (a)")
    database.close()
    return path.read_bytes()


BAD = {  # name: (bytes, settings of data, what the sentence says)
    # Nothing, or something else.
    "nothing": (b"", {}, "is empty; it must be a CSV, Parquet, Feather, Excel or JSON lines file"),
    "blanks": (b" \n\n", {}, "is empty; it must be"),
    "blanks of a kilobyte": (b" \n" * 600, {}, "is empty; it must be"),
    "nothing, packed": (gzip.compress(b""), {}, "is empty; it must be"),
    "a page": (b"<!DOCTYPE html>\n<title>Sign in</title>", {}, "is an HTML page, not a table"),
    "a page in lower case": (b"\n  <html lang='en'>", {}, "name the address of the file itself"),
    "a page's head": (b"<HEAD><TITLE>404</TITLE></HEAD>", {}, "is an HTML page"),
    "an error in XML": (b"<?xml version='1.0'?><Error/>", {}, "is an HTML page"),
    "records in JSON": (b'[{"a": 1}, {"a": 2}]', {}, "is JSON, one document; write it as"),
    "indented JSON": (b'{\n  "a": 1\n}\n', {}, "is JSON, one document; write it as JSON lines"),
    "a PDF": (b"%PDF-1.7\n%\xe2\xe3\n", {}, "is a PDF; a table must be copied out of it"),
    "an old Excel file": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 99, {}, "(.xls), or one"),
    "HDF5": (b"\x89HDF\r\n\x1a\n" + b"\0" * 99, {}, "is an HDF5 file; write the table"),
    "an array": (b"\x93NUMPY\x01\0v\0{'descr': '<f8'}", {}, "is an array of NumPy, which"),
    "a file of R": (b"RDX3\nX\n\0\0\0", {}, "is a file of R; write the table to CSV"),
    "a file of R, packed": (gzip.compress(b"RDX3\nX\n\0"), {}, "arrow::write_parquet"),
    "a pickle": (b"\x80\x04\x95\x1e\0\0\0", {}, "is a pickle, which is not opened, as it may run"),
    "SPSS": (b"$FL2@(#) SPSS DATA FILE", {}, "is a file of SPSS"),
    "Stata": (b"<stata_dta><header>", {}, "is a file of Stata"),
    "a picture": (b"\x89PNG\r\n\x1a\n", {}, "is a picture"),
    "a pointer of Git LFS": (b"version https://git-lfs.github.com/spec/v1\n", {}, "`git lfs pull`"),
    # Packed.
    "zstd": (b"\x28\xb5\x2f\xfd\x04\x58", {}, "is compressed with zstd; unpack it (zstd -d)"),
    "7z": (b"7z\xbc\xaf\x27\x1c\0\x04", {}, "is a 7z archive; unpack it"),
    "RAR": (b"Rar!\x1a\x07\x01\0", {}, "is a RAR archive; unpack it"),
    "a cut gzip file": (gzip.compress(LONG)[:-12], {}, "is compressed and broken: "),
    "a cut bz2 file": (bz2.compress(LONG)[:-9], {}, "is compressed and broken: "),
    "a cut xz file": (lzma.compress(LONG)[:-9], {}, "is compressed and broken: "),
    "a cut zip file": (packed({"a.csv": CSV})[:-9], {}, "broken: File is not a zip"),
    "a flipped bit of gzip": (flipped(gzip.compress(LONG), 40), {}, "is compressed and broken: "),
    "a packed, cut Parquet file": (gzip.compress(LARGE_PARQUET)[:-30], {}, "is compressed and"),
    "two packed files": (
        *(packed({"a.csv": CSV, "b.csv": CSV}), {}),
        "is a zip archive of 2 files ('a.csv', 'b.csv'); it must hold one: unpack it",
    ),
    "an empty zip file": (b"PK\x05\x06" + b"\0" * 18, {}, "holds zero bytes"),
    "a folder in zip": (packed({"data/": b""}), {}, "is a zip archive of 0 files (none)"),
    "a password": (packed({"a.csv": CSV}, True), {}, "is a zip archive with a password"),
    # Parquet, Feather and Excel.
    "Parquet without its tail": (PARQUET[:-20], {}, "is not a whole Parquet file: "),
    "the mark of Parquet alone": (b"PAR1", {}, "is not a whole Parquet file: "),
    "Parquet with a flipped byte": (flipped(LARGE_PARQUET, 10), {}, "is not a whole Parquet"),
    "CSV called Parquet": (CSV, {"source": "a.parquet"}, "is not a whole Parquet file: "),
    "a name twice in Parquet": (with_name_twice(), {}, "has the column 'a' twice; rename one"),
    "Feather without its tail": (feather(TWICE)[:-9], {}, "is not a whole Feather file: "),
    "a name twice in Feather": (feather(TWICE), {}, "has the column 'a' twice; rename one of them"),
    "CSV called Feather": (CSV, {"source": "a.feather"}, "is not a whole Feather file: "),
    "a sheet of CSV": (CSV, {"sheet": "two"}, "data.sheet is 'two', but "),
    "OpenDocument": (packed({"content.xml": b""}), {}, "is an OpenDocument spreadsheet; save"),
    # JSON lines.
    "lists in JSON lines": (b'{"a": 1}\n\n{"b": [1]}', {}, "lists or objects in the column 'b'"),
    "objects in JSON lines": (b'{"a": {"b": 1}}\n', {}, "lists or objects in the column 'a'"),
    "a list in JSON lines": (b'{"a": 1}\n\n[1]\n', {}, "line 3 is no whole object"),
    "cut JSON lines": (b'{"a": 1}\n{"a": 2, "b', {}, "line 2 is no whole object in UTF-8"),
    "Latin JSON lines": (b'{"a": "\xe9"}\n', {}, "line 1 is no whole object in UTF-8"),
    "types in JSON lines": (b'{"a": 1}\n{"a": "x"}\n', {}, "from number to string"),
    "types apart in JSON lines": (b'{"a": 1}\n{"a": "x"}', {}, "'a' is int64, later string"),
    "a key twice in JSON lines": (b'{"a": 1, "a": 1}\n', {}, "Column(/a) was specified twice"),
    # Encodings.
    "zero bytes": (b"a,b\n1,\0\n", {}, "holds zero bytes: it is no text, or one in UTF-16"),
    "UTF-16 without its mark": ("a,b\n1,x\n".encode("utf-16-le"), {}, "(utf-16-le, utf-16-be)"),
    "neither UTF-8 nor cp1252": (b"a,b\n1,\x81\xff\n", {}, "is neither UTF-8 nor cp1252 ("),
    "a broken byte in UTF-8": (
        *("größe,b\nä,é\nö,ü\n".encode() + b"\xe9,x\n", {}),
        "is in UTF-8 but for 1 bytes, the first after 'größe,b\\nä,é\\nö,ü\\n'; mend them",
    ),
    "not in what is given": (
        *("größe,b\n1,x".encode("latin-1"), {"csv": Csv(encoding="utf-8")}),
        "is not in utf-8 (",
    ),
    "later not in what is given": (
        *(b"a,b\n" + b"1,x\n" * 70_000 + b"1,\xff\n", {"csv": Csv(encoding="ascii")}),
        "is not in ascii (",
    ),
    "half a letter of UTF-16": ("a,b\n1,x\n".encode("utf-16")[:-1], {}, "is not in utf-16 ("),
    # The dialect of CSV.
    "comments alone": (b"# a\n# b\n\n", {}, "has no header, only comments and empty lines"),
    "blanks as separators": (
        *(b"a b c\n1 2 3\n4 5 6\n", {}),
        "the separator seems to be ' '; set data.csv.separator to ' '",
    ),
    "colons as separators": (b"a:b\n1:x\n2:y\n", {}, "the separator seems to be ':'; set data.csv"),
    "another separator than given": (
        *(b"a;b\n1;x\n2;y\n", {"csv": Csv(separator=",")}),
        "has one column, 'a;b', where it is cut at ',': the separator seems to be ';'; set",
    ),
    "one column": (b"a\n1\n2\n", {}, "has one column, 'a'; a table needs two or more"),
    "a title before the header": (
        *(b"Report of 2024\n\na,b\n1,x\n2,y\n", {}),
        "begins with 'Report of 2024', and 2 cells in row 2 look like the header: take out",
    ),
    "commas and points": (
        *(b"n;m;b\n1,5;0.5;x\n2,5;1.5;y\n", {}),
        "has decimal commas in column 'n' and decimal points in 'm': set data.csv.decimal",
    ),
    # Rows.
    "a longer row": (b"a,b\n1,2\n3,4,5\n6,7\n", {}, "line 3 has 3 cells where the header"),
    "a shorter row": (b"a,b\n1,2\n3\n6,7\n", {}, "line 3 has 1 cells where the header"),
    "all rows longer": (b"a,b\n1,2,3\n4,5,6\n7,8,9\n", {}, "the header has 2, and 2 more lines"),
    "a cut row": (b"a,b\n1,2\n3", {}, "the header has 2, and 0 more lines"),
    "several": (b"a,b\n1,2\n3,4,5\n6\n", {}, "the header has 2, and 1 more lines"),
    "ragged below comments": (b"# x\n\na,b\n1,2\n3,4,5\n", {}, "is ragged: line 5 has 3 cells"),
    "ragged below a line break": (b'a,b\n"x\ny",2\n3,4,5\n', {}, "is ragged: line 4 has 3 cells"),
    "ragged with semicolons": (b"a;b\n1;2\n3;4\n5;6\n7;8;9\n", {}, "is ragged: line 5 has 3 cells"),
    "ragged in UTF-16": ("a,b\n1,2\n3,4,5\n".encode("utf-16"), {}, "is ragged: line 3 has 3 cells"),
    "ragged in gzip": (gzip.compress(b"a,b\n1,2\n3,4,5\n"), {}, "is ragged: line 3 has 3 cells"),
    "a quote that stays open": (b'a,b\n1,2\n"3,4\n', {}, "is ragged: line 3 has 1 cells"),
    "the same in a large file": (
        *(b'a,b\n1,2\n"3,4\n' + b"5,6\n" * 4_000_000, {}),
        "has a quote (\") in line 3 that seems never to be closed; close it, or set",
    ),
}  # fmt: skip


def refusal(content, settings):
    data = make_data(**{"source": "folder/a.csv", **settings})
    with pytest.raises(SourceError) as error:
        source_of(data, content).read()
    assert f"data.source {data.source!r}" in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("name", BAD)
def test_file_that_holds_no_whole_table_is_refused_with_what_is_wrong(name):
    content, settings, sentence = BAD[name]

    assert sentence in refusal(content, settings)


def test_a_database_is_refused_with_how_to_name_it(tmp_path):
    assert "write sqlite:/// before its path, and data.query" in refusal(sqlite_file(tmp_path), {})


def workbook(rows):
    book = pytest.importorskip("openpyxl").Workbook()
    for row in rows:
        book.active.append(row)
    buffer = io.BytesIO()
    book.save(buffer)
    return buffer.getvalue()


@pytest.mark.extra
@pytest.mark.parametrize(
    ("change", "settings", "sentence"),
    [
        (lambda content: content, {"sheet": "two"}, "data.sheet is 'two', but "),
        (lambda content: content[:-30], {}, "is compressed and broken: File is not a zip file"),
        (lambda _: packed({"xl/workbook.xml": b"<x"}), {}, "is not a whole Excel file: "),
        (lambda _: CSV, {"source": "a.xlsx"}, "is not a whole Excel file: "),
        (lambda _: workbook([]), {}, "has an empty sheet; data.sheet names another"),
    ],
)
def test_workbook_that_holds_no_table_is_refused(change, settings, sentence):
    assert sentence in refusal(change(workbook([["a", "b"], [1, 2]])), settings)


def test_excel_file_without_its_reader_is_refused_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "openpyxl", None)

    sentence = refusal(packed({"xl/workbook.xml": b""}), {})

    assert "which openpyxl reads: `pip install openpyxl`, or save it as CSV" in sentence


ROWS = "1,2,0\n1,2,1\n" * 9
HEADERS = {  # header: what is wrong with it
    ",height,label": "column 1 of data.source",
    "height,,label": "column 2 of data.source",
    "height,height,label": "column 'height' is there twice",
    "height,label,label": "data.target 'label' is there twice; rename one",
}


@pytest.mark.parametrize("header", HEADERS)
def test_header_that_names_no_column_or_one_twice_is_refused(header):
    config = make_config()
    table = source_of(config.data, f"{header}\n{ROWS}".encode()).read()

    with pytest.raises(ContractError) as error:
        build_dataset(config, table, digest="0" * 64)

    assert HEADERS[header] in str(error.value)
