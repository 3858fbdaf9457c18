import hashlib
import io
import os
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from pipeline.config.sections import Data
from pipeline.datasets.sources import fetch, is_url, read_table, stem
from pipeline.errors import SourceError
from pipeline.schema.columns import Column

CSV = b"a,b\n1,x\n2,y\n"
TABLE = pd.DataFrame({"a": [1, 2], "b": ["x", "y"]})


def make_data(source, **settings):
    return Data(source=str(source), target="b", columns={"a": Column()}, **settings)


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


# Files.


def test_fetch_reads_a_file(tmp_path):
    (tmp_path / "a.csv").write_bytes(CSV)

    assert fetch(make_data(tmp_path / "a.csv")) == CSV


def test_fetch_finds_the_embedded_data_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    assert fetch(make_data("data/pima.csv")).startswith(b"Pregnancies,Glucose,")


def test_fetch_says_where_it_looked_for_a_missing_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    with pytest.raises(SourceError) as error:
        fetch(make_data("nope.csv"))

    assert f"data.source 'nope.csv' does not exist in {tmp_path}; give the path" in str(error.value)


def test_fetch_refuses_a_folder(tmp_path):
    with pytest.raises(SourceError, match=r"data\.source '.*' cannot be read: Is a directory"):
        fetch(make_data(tmp_path))


def test_fetch_takes_the_file_that_the_digest_names(tmp_path):
    (tmp_path / "a.csv").write_bytes(CSV)

    assert fetch(make_data(tmp_path / "a.csv", sha256=hashlib.sha256(CSV).hexdigest())) == CSV


def test_fetch_refuses_another_file_and_tells_both_digests(tmp_path):
    (tmp_path / "a.csv").write_bytes(CSV + b"3,z\n")

    with pytest.raises(SourceError) as error:
        fetch(make_data(tmp_path / "a.csv", sha256="0" * 64))

    found = hashlib.sha256(CSV + b"3,z\n").hexdigest()
    assert f"has the sha256 {found}, but data.sha256 is {'0' * 64}" in str(error.value)
    assert "set data.sha256 to the new value" in str(error.value)


# Over HTTP, on loopback only.


class Handler(BaseHTTPRequestHandler):
    """A file, an error page, redirects, a lost connection, two answers that take too long."""

    def do_GET(self):
        match self.path:
            case "/a.csv":
                self._begin(len(CSV))
                self.wfile.write(CSV)
            case "/moved.csv":
                self.send_response(302)
                self.send_header("Location", "/a.csv")
                self.end_headers()
            case "/loop.csv":
                self.send_response(302)
                self.send_header("Location", "/loop.csv")
                self.end_headers()
            case "/broken.csv":
                self._begin(len(CSV) + 1)
                self.wfile.write(CSV)
            case "/hang.csv":
                self.server.closing.wait(5)
            case "/dribble.csv":
                self._dribble()
            case _:
                self.send_error(404)

    def log_message(self, *_):
        """Stays silent."""

    def _begin(self, length):
        self.send_response(200)
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def _dribble(self):
        """A byte now and then: no pause is long, the whole is."""
        self._begin(10**6)
        try:
            for _ in range(100):  # five seconds, lest a client without a deadline never returns
                self.wfile.write(b"a")
                if self.server.closing.wait(0.05):
                    break
        except OSError:
            pass  # the client has gone, as it should


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of a server on a free port of loopback."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        http.closing = threading.Event()
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.closing.set()
        http.shutdown()
        thread.join()


@pytest.fixture
def no_proxy(monkeypatch):
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


@pytest.mark.parametrize("path", ["a.csv", "moved.csv"])
def test_fetch_downloads(server, no_proxy, path):
    assert fetch(make_data(f"{server}/{path}")) == CSV


def test_fetch_checks_the_digest_of_a_download(server, no_proxy):
    with pytest.raises(SourceError, match=r"but data\.sha256 is 000000"):
        fetch(make_data(f"{server}/a.csv", sha256="0" * 64))


def test_fetch_tells_the_http_status(server, no_proxy):
    with pytest.raises(SourceError, match=r"was answered with HTTP 404 Not Found; check the addr"):
        fetch(make_data(f"{server}/nope.csv"))


def test_fetch_refuses_a_download_that_breaks_off(server, no_proxy):
    with pytest.raises(SourceError, match=r"/broken\.csv' failed: .*received 12 of 13 bytes"):
        fetch(make_data(f"{server}/broken.csv"))


@pytest.mark.parametrize("path", ["hang.csv", "dribble.csv"])
def test_fetch_gives_up_when_the_whole_download_takes_too_long(server, no_proxy, path):
    start = time.monotonic()

    with pytest.raises(SourceError, match=r"took longer than data\.timeout, 0\.4 seconds"):
        fetch(make_data(f"{server}/{path}", timeout=0.4))

    assert time.monotonic() - start < 3


def test_fetch_tells_when_nobody_listens(no_proxy):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        source = f"http://127.0.0.1:{taken.getsockname()[1]}/a.csv"

        with pytest.raises(SourceError, match=f"the download of data.source '{source}' failed"):
            fetch(make_data(source))


@pytest.mark.parametrize(
    "source",
    ["http://", "http://127.0.0.1:99999/a.csv", "http://127.0.0.1:x/", "http://[::1/a.csv"],
)
def test_fetch_refuses_an_address_that_is_none(no_proxy, source):
    with pytest.raises(SourceError, match=r"failed: .*; check the address"):
        fetch(make_data(source))


@pytest.mark.parametrize(
    ("source", "url", "name"),
    [
        ("a.csv", False, "a"),
        ("folder/two words.parquet", False, "two words"),
        ("http://h/folder/a.csv?token=b/c.d", True, "a"),
        ("HTTPS://h/a%20b.csv", True, "a b"),
        ("https://h", True, "h"),
        ("ftp://h/a.csv", False, "a"),
    ],
)
def test_source_is_a_url_or_a_path_and_names_the_data_set(source, url, name):
    assert is_url(source) is url
    assert stem(source) == name


# Tables.


@pytest.mark.parametrize(
    ("content", "columns"),
    [
        (CSV, {"a": [1, 2], "b": ["x", "y"]}),
        (CSV[:-1], {"a": [1, 2], "b": ["x", "y"]}),
        (CSV.replace(b"\n", b"\r\n"), {"a": [1, 2], "b": ["x", "y"]}),
        (b"\xef\xbb\xbf" + CSV, {"a": [1, 2], "b": ["x", "y"]}),
        (b'a,b\n"x, y",1\n"say ""z""",2\n', {"a": ["x, y", 'say "z"'], "b": [1, 2]}),
        (b'"a, b",c\n1,2\n', {"a, b": [1], "c": [2]}),
        (b'a,b\n"x\ny",1\n', {"a": ["x\ny"], "b": [1]}),
        ("größe,b\n1,é\n".encode(), {"größe": [1], "b": ["é"]}),
        (b"a,b\n1,true\n2.5,false\n", {"a": [1.0, 2.5], "b": [True, False]}),
        (b"a,b\n1,x\n,NA\n", {"a": [1.0, None], "b": ["x", None]}),
        (b"a,b\n1,2\n\n3,4\n\n", {"a": [1, 3], "b": [2, 4]}),
    ],
)
def test_read_table_reads_csv(content, columns):
    assert_frame_equal(read_table(content, "a.csv"), pd.DataFrame(columns))


def test_read_table_keeps_a_csv_without_rows_as_an_empty_table():
    table = read_table(b"a,b\n", "a.csv")

    assert list(table.columns) == ["a", "b"]
    assert len(table) == 0


def test_read_table_looks_at_all_rows_to_type_a_column():
    """A reader that types by the first megabyte would refuse the last row."""
    table = read_table(b"a,b\n" + b"0,1\n" * 600_000 + b"1.5,1\n", "a.csv")

    assert table["a"].iloc[-1] == 1.5


@pytest.mark.parametrize("source", ["a.parquet", "a.PQ", "download?id=3", "a.csv"])
def test_read_table_knows_parquet_by_its_first_bytes(source):
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
    ["a,b\n1,é\n".encode("latin-1"), "größe,b\n1,2".encode("latin-1"), "a,b\n1,2".encode("utf-16")],
    ids=["a cell in Latin-1", "the header in Latin-1", "all in UTF-16"],
)
def test_read_table_refuses_text_that_is_not_utf8(content):
    assert "is not in UTF-8; save the file as UTF-8" in refusal(content)


@pytest.mark.parametrize(
    "content",
    [parquet()[:-20], parquet()[:50], b"PAR1", parquet().replace(b"PAR1", b"PAR2")],
    ids=["tail lost", "head only", "mark only", "marks wrong"],
)
def test_read_table_refuses_a_broken_parquet_file(content):
    assert "is not a whole Parquet file: " in refusal(content, "a.parquet")


def test_read_table_refuses_a_parquet_file_with_a_flipped_byte():
    content = bytearray(parquet(pd.DataFrame({"a": range(1000)})))
    content[10] ^= 0xFF

    assert "is not a whole Parquet file: " in refusal(bytes(content))


# Faults known of sources.py.


def test_read_table_knows_utf16_with_a_last_line_break():
    assert "UTF-8" in refusal("a,b\n1,2\n".encode("utf-16"))


def test_fetch_tells_of_redirects_without_end(server, no_proxy):
    with pytest.raises(SourceError, match="redirect"):
        fetch(make_data(f"{server}/loop.csv"))
