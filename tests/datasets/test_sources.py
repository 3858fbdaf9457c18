import gzip
import hashlib
import os
import resource
import socket
import sqlite3
import sys
import tempfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal
from sqlalchemy import make_url

from pipeline.datasets import database, download, table_source
from pipeline.datasets.sources import SOURCES, open_source, scheme, stem
from pipeline.datasets.table_source import TableSource
from pipeline.errors import SourceError
from tests.support.tables import as_parquet, make_data

CSV = b"a,b\n1,x\n2,y\n"
TABLE = pd.DataFrame({"a": ["1", "2"], "b": ["x", "y"]}, dtype="str")
SHA256 = hashlib.sha256(CSV).hexdigest()


def refusal(source, **settings):
    """The message with which a source is refused."""
    with pytest.raises(SourceError) as error:
        open_source(make_data(source, **settings)).read()
    return str(error.value)


# Files.


@pytest.mark.parametrize("address", ["{}", "file://{}"])
def test_source_of_a_file_has_its_rows_and_their_digest(tmp_path, address):
    (tmp_path / "a b.csv").write_bytes(CSV)

    source = open_source(make_data(address.format(tmp_path / "a b.csv")))

    assert source.digest() == SHA256
    assert_frame_equal(source.read(), TABLE)
    assert_frame_equal(source.read(), TABLE)


def test_embedded_data_are_read_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    assert "Glucose" in open_source(make_data("data/pima.csv")).read()


def test_missing_file_is_refused_with_the_folder_where_it_was_sought(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    assert f"data.source 'nope.csv' does not exist in {tmp_path}; give the path" in refusal(
        "nope.csv"
    )


def test_missing_file_is_refused_with_the_file_whose_name_is_most_like_it(tmp_path):
    (tmp_path / "visits.csv").touch()
    message = refusal(tmp_path / "visit.csv")
    assert message.endswith(f"does not exist, did you mean '{tmp_path / 'visits.csv'}'?")


def test_file_that_the_digest_names_is_taken_and_no_other(tmp_path):
    (tmp_path / "a.csv").write_bytes(CSV)

    assert open_source(make_data(tmp_path / "a.csv", sha256=SHA256)).digest() == SHA256
    message = refusal(tmp_path / "a.csv", sha256="0" * 64)
    assert f"has the sha256 {SHA256}, but data.sha256 is {'0' * 64}" in message
    assert "set data.sha256 to the new value" in message


def test_file_that_changes_before_it_is_read_is_refused(tmp_path):
    (tmp_path / "a.csv").write_bytes(CSV)
    source = open_source(make_data(tmp_path / "a.csv"))
    (tmp_path / "a.csv").write_bytes(CSV * 2)

    with pytest.raises(SourceError, match="changed while it was read; run again"):
        source.read()


# Several files.


@pytest.fixture
def months(tmp_path):
    """A folder of files of one table, and of what is none."""
    (tmp_path / "2024-01.csv").write_bytes(CSV)
    (tmp_path / "2024-02.csv.gz").write_bytes(gzip.compress(CSV.replace(b"1,x", b"01,0")))
    (tmp_path / "2023-01.csv").write_bytes(b"c,d\n1,2\n")
    (tmp_path / ".2024-03.csv").write_bytes(b"c,d\n1,2\n")
    (tmp_path / "_SUCCESS").write_bytes(b"")
    (tmp_path / "older").mkdir()
    return tmp_path


def test_files_of_a_pattern_are_one_table_in_the_order_of_their_names(months, monkeypatch):
    monkeypatch.chdir(months)

    source = open_source(make_data("2024-*"))

    assert source.read().to_dict("list") == {"a": ["1", "2", "01", "2"], "b": ["x", "y", "0", "y"]}
    assert [len(batch) for batch in source.batches(10)] == [2, 2]
    before = source.digest()
    (months / "2024-01.csv").write_bytes(CSV + b"3,z\n")
    assert open_source(make_data("2024-*")).digest() != before


def test_files_of_a_folder_are_one_table(months):
    (months / "2023-01.csv").unlink()

    assert len(open_source(make_data(months)).read()) == 4


def test_target_of_several_files_is_typed_as_a_whole(tmp_path):
    for name, label in (("a", "1"), ("b", "01")):
        (tmp_path / f"{name}.csv").write_text(f"a,b\n1,{label}\n")

    assert open_source(make_data(tmp_path)).read()["b"].tolist() == ["1", "01"]


def test_columns_of_several_typed_files_keep_their_type(tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.parquet").write_bytes(
            as_parquet(pd.DataFrame({"a": [1], "b": [True]}))
        )

    table = open_source(make_data(tmp_path / "*.parquet")).read()

    assert table.dtypes.to_dict() == {"a": "int64", "b": "bool"}


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ("a,c", "has 'c'"),
        ("b,a", "has another order"),
        ("a,b,c", "has 'c'"),
        ("b", "has one column"),
    ],
)
def test_file_with_another_header_than_the_first_is_named(months, header, reason):
    cells = ",".join("1" * len(header.split(",")))
    (months / "2024-03.csv").write_text(f"{header}\n{cells}\n")

    assert f"'2024-03.csv' of data.source '{months}/2024*' {reason}" in refusal(f"{months}/2024*")


@pytest.mark.parametrize("source", ["2025-*.csv", "older"])
def test_pattern_or_folder_without_a_file_is_refused(months, source):
    assert f"data.source '{months}/{source}' matches no file" in refusal(f"{months}/{source}")


def test_folder_whose_only_file_still_grows_says_that_it_does_not_count(tmp_path):
    (tmp_path / ".requests.jsonl").write_text('{"a": 1}\n')
    assert "begin with a dot do not count, such as a log's" in refusal(str(tmp_path))


def test_a_folder_may_hold_more_files_than_a_process_may_open(tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    for number in range(300):
        (tmp_path / f"{number}.csv").write_bytes(CSV)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, limits[1]))

        assert len(open_source(make_data(tmp_path)).read()) == 600
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


# Over HTTP, on loopback only.


class Handler(BaseHTTPRequestHandler):
    """A file, an error page, redirects, a lost connection, two answers that take too long."""

    def do_GET(self):
        match self.path:
            case "/a.csv":
                self._begin(len(CSV))
                self.wfile.write(CSV)
            case "/encoded.csv":
                self.send_response(200)
                self.send_header("Content-Encoding", "gzip")
                self.end_headers()
                self.wfile.write(gzip.compress(CSV))
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
            case "/resumed.csv" | "/changed.csv" | "/deaf.csv":
                self._break_off()
            case _:
                self.send_error(404)

    def log_message(self, *_):
        """Stays silent."""

    def _break_off(self):
        """Three bytes a connection, and the rest of another version where it says so."""
        asked = self.headers.get("Range")
        self.server.ranges.append(asked)
        start = int(asked[6:-1]) if asked and self.path != "/changed.csv" else 0
        etag = f'"{len(self.server.ranges) if self.path == "/changed.csv" else 1}"'
        if asked:
            assert self.headers["If-Range"].startswith('"')
        self.send_response(206 if start else 200)
        self.send_header("ETag", etag)
        if self.path == "/resumed.csv":
            self.send_header("Content-Range", f"bytes {start}-{len(CSV) - 1}/{len(CSV)}")
        self.send_header("Content-Length", str(len(CSV) - start))
        self.end_headers()
        is_whole = len(self.server.ranges) == 3
        self.wfile.write(CSV[start:] if is_whole else CSV[start : start + 3])

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


RANGES = []  # that were asked for


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of a server on a free port of loopback."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        http.closing = threading.Event()
        http.ranges = RANGES
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.closing.set()
        http.shutdown()
        thread.join()


@pytest.fixture
def no_proxy(monkeypatch):
    monkeypatch.setattr(download, "PAUSE", 0)
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


@pytest.mark.parametrize("path", ["a.csv", "moved.csv", "encoded.csv"])
def test_address_is_downloaded_to_a_file_that_goes_with_the_source(
    server, no_proxy, path, tmp_path, monkeypatch
):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    source = open_source(make_data(f"{server}/{path}"))

    assert source.digest() == SHA256
    assert_frame_equal(source.read(), TABLE)
    (folder,) = tmp_path.iterdir()
    del source
    assert not folder.exists()


@pytest.mark.parametrize(
    ("path", "ranges"),
    [
        ("resumed.csv", [None, "bytes=3-", "bytes=6-"]),
        ("changed.csv", [None, "bytes=3-", "bytes=3-"]),
        ("deaf.csv", [None, "bytes=3-", None]),
    ],
    ids=["goes on", "begins anew where the file is another", "begins anew without a range"],
)
def test_download_that_breaks_off_is_resumed(server, no_proxy, path, ranges):
    RANGES.clear()

    assert open_source(make_data(f"{server}/{path}")).digest() == SHA256
    assert ranges == RANGES


@pytest.mark.parametrize(
    ("path", "settings", "reason"),
    [
        ("a.csv", {"sha256": "0" * 64}, "but data.sha256 is 000000"),
        ("a.csv", {"max_bytes": 11}, "is larger than data.max_bytes, 11; raise it if"),
        ("nope.csv", {}, "was answered with HTTP 404 Not Found; check the address"),
        ("loop.csv", {}, "was redirected without end; check the address"),
        ("broken.csv", {}, "failed: "),
        ("hang.csv", {"timeout": 0.4}, "took longer than data.timeout, 0.4 seconds"),
        ("dribble.csv", {"timeout": 0.4}, "took longer than data.timeout, 0.4 seconds"),
    ],
)
def test_download_that_fails_is_refused_with_the_reason(server, no_proxy, path, settings, reason):
    assert reason in refusal(f"{server}/{path}", **settings)


def test_address_at_which_nothing_listens_is_refused(no_proxy):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        source = f"http://127.0.0.1:{taken.getsockname()[1]}/a.csv"

        assert f"the download of data.source '{source}' failed" in refusal(source)


@pytest.mark.parametrize(
    "source",
    ["http://", "http://127.0.0.1:99999/a.csv", "http://127.0.0.1:x/", "http://[::1/a.csv"],
)
def test_address_that_is_none_is_refused(no_proxy, source):
    message = refusal(source)
    assert " failed: " in message
    assert "; check the address" in message


# Stores that fsspec knows.


@pytest.mark.extra
def test_files_of_a_store_are_read(monkeypatch):
    fsspec = pytest.importorskip("fsspec")
    store = fsspec.filesystem("memory")
    for name in ("a.csv", "b.csv", "_SUCCESS"):
        store.pipe(f"/months/{name}", CSV)

    assert open_source(make_data("memory://months/a.csv")).digest() == SHA256
    for source in ("memory://months", "memory://months/[a-b].csv"):
        assert len(open_source(make_data(source)).read()) == 4
    assert "is larger than data.max_bytes, 9" in refusal("memory://months/a.csv", max_bytes=9)
    assert "'memory://months/c.csv' does not exist" in refusal("memory://months/c.csv")
    assert "'memory://months/c*' matches no file" in refusal("memory://months/c*")
    assert "'oci://a/b.csv' needs a package: Install ocifs" in refusal("oci://a/b.csv")


def test_store_without_fsspec_is_refused_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "fsspec", None)

    assert "is read by fsspec: `pip install fsspec` and the package" in refusal("s3://b/a.csv")


# Databases.


@pytest.fixture
def visits(tmp_path):
    """The address of an SQLite database of a table with a primary key, and a view."""
    with sqlite3.connect(tmp_path / "v 1.db") as connection:
        connection.execute("create table visits (id integer primary key, a real, b text)")
        connection.executemany(
            "insert into visits values (?, ?, ?)", [(2, None, "y"), (1, 0.5, "x")]
        )
        connection.execute('create table "other table" (b text)')
        connection.execute("create view latest as select a, b from visits where id > 1")
    connection.close()
    return f"sqlite:///{tmp_path}/v 1.db"


@pytest.mark.parametrize(
    ("query", "columns"),
    [
        ("visits", {"id": [1, 2], "a": [0.5, None], "b": ["x", "y"]}),
        ("main.visits", {"id": [1, 2], "a": [0.5, None], "b": ["x", "y"]}),
        ("latest", {"a": [None], "b": ["y"]}),
        ("other table", {"b": []}),
        ("SELECT b FROM visits ORDER BY id DESC", {"b": ["y", "x"]}),
        (" with t as (select 1 as a) select a from t", {"a": [1]}),
    ],
)
def test_table_or_select_is_read_from_a_database(visits, query, columns):
    table = open_source(make_data(visits, query=query)).read()

    assert {n: [None if pd.isna(c) else c for c in cells] for n, cells in table.items()} == columns


def test_digest_of_a_query_is_that_of_its_rows(visits, tmp_path):
    def digest(query):
        return open_source(make_data(visits, query=query)).digest()

    before = digest("visits")
    assert before == digest("select * from visits order by id")
    assert before != digest("select * from visits order by id desc")
    assert before != digest("select id, a, b as c from visits order by id")
    with sqlite3.connect(tmp_path / "v 1.db") as connection:
        connection.execute("update visits set a = 1.5 where id = 1")
    connection.close()
    assert before != digest("visits")


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        (None, "data.query is None; it must be a SELECT, or a table of data.source"),
        ("visit", ", did you mean 'visits'? it has latest, other table, visits"),
        ("drop table visits", "data.query is 'drop table visits'; it must be a SELECT"),
        (
            "select c from visits",
            "cannot be read with data.query 'select c from visits': no such column: c",
        ),
        ("with t as (select 1) delete from visits", "attempt to write a readonly database"),
    ],
)
def test_query_that_cannot_be_read_is_refused_with_the_reason(visits, query, reason):
    assert reason in refusal(visits, query=query)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("sqlite:////nope/a.db", "'/nope/a.db' is no file; write sqlite:/// and the path"),
        ("sqlite:///", "is no file; write sqlite:/// and the path"),
        (
            "snowflake://a/b",
            "SQLAlchemy knows no such database; install the package of its dialect",
        ),
        ("postgresql://ann@h/d", "needs a driver: `pip install 'psycopg[binary]'`"),
        ("postgresql://ann:secret@h/d", "'postgresql://ann:***@h/d' holds a password, which would"),
        ("mysql+pymysql://${HOME}@h/d", "needs a driver: `pip install 'pymysql'`"),
        ("mysql://ann:${NOPE}@h/d", "names NOPE of the environment, which is not set"),
        ("sqlite:///a?b=c:d:e@f:g", "is no file"),
    ],
)
def test_database_that_cannot_be_opened_is_refused_with_the_remedy(monkeypatch, source, reason):
    for driver in ("psycopg", "pymysql"):
        monkeypatch.setitem(sys.modules, driver, None)

    message = refusal(source, query="select 1")

    assert reason in message
    assert "secret" not in message


def test_password_comes_from_the_environment_as_it_stands_there(visits, monkeypatch):
    monkeypatch.setenv("PASSWORD", "a/b:c@d ${e}")
    monkeypatch.setenv("FILE", visits.removeprefix("sqlite:///"))

    url = database._with_variables(make_url("postgresql://ann:${PASSWORD}@h/d"))
    assert (url.password, url.host) == ("a/b:c@d ${e}", "h")
    assert len(open_source(make_data("sqlite:///${FILE}", query="visits")).read()) == 2


# Data frames.


def test_data_frame_is_a_source_with_the_digest_of_its_rows():
    table = pd.DataFrame({"a": [1.5, None], "b": [0, 1]}, index=[5, 9])
    source = TableSource(make_data(target_kind="text"), table)

    assert source.read()["b"].tolist() == ["0", "1"]
    assert table["b"].tolist() == [0, 1]
    assert [len(batch) for batch in source.batches(1)] == [1, 1]
    assert source.digest() == TableSource(make_data(), table.reset_index(drop=True)).digest()
    assert source.digest() != TableSource(make_data(), table[::-1]).digest()


def test_data_frame_of_cells_that_are_no_values_is_refused():
    with pytest.raises(SourceError, match="the table has cells that are no plain values"):
        table_source.digest_of(pd.DataFrame({"a": [{"b": 1}]}))


# The table of sources.


@pytest.mark.parametrize(
    ("source", "expected", "name"),
    [
        ("a.csv", "", "a"),
        ("folder/two words.parquet", "", "two words"),
        ("folder/churn.csv.gz", "", "churn"),
        ("folder/2024-*.csv", "", "2024"),
        ("folder/*", "", "folder"),
        ("*.csv", "", "table"),
        ("http://h/folder/a.csv?token=b/c.d", "http", "a"),
        ("HTTPS://h/a%20b.csv", "https", "a b"),
        ("https://h", "https", "h"),
        ("s3://bucket/a.parquet", "s3", "a"),
        ("postgresql+psycopg://h/visits", "postgresql", "visits"),
        ("sqlite:///folder/a.db", "sqlite", "a"),
        ("gopher://h/a.csv", "gopher", "a"),
    ],
)
def test_scheme_of_a_source_chooses_its_reader_and_its_path_names_the_data_set(
    source, expected, name
):
    assert scheme(source) == expected
    assert stem(source) == name


def test_source_of_an_unknown_scheme_is_refused_with_those_that_there_are():
    assert "gopher" not in SOURCES
    message = refusal("gopher://h/a.csv")
    assert "'gopher' is no scheme of an address that can be read; there are file, http," in message


def test_query_of_what_is_no_database_is_refused():
    assert "data.query is 'visits', but data.source 'a.csv' is no database" in refusal(
        "a.csv", query="visits"
    )
