import hashlib
import os
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from pipeline.config.sections import Data
from pipeline.datasets.sources import SOURCES, FileSource, open_source, scheme, stem
from pipeline.errors import SourceError
from pipeline.schema.columns import Column

CSV = b"a,b\n1,x\n2,y\n"
TABLE = pd.DataFrame({"a": ["1", "2"], "b": ["x", "y"]}, dtype="str")


def make_data(source, **settings):
    return Data(source=str(source), target="b", columns={"a": Column()}, **settings)


# Files.


def test_source_of_a_file_has_its_rows_and_their_digest(tmp_path):
    (tmp_path / "a.csv").write_bytes(CSV)

    source = open_source(make_data(tmp_path / "a.csv"))

    assert source.digest() == hashlib.sha256(CSV).hexdigest()
    assert_frame_equal(source.read(), TABLE)


def test_embedded_data_are_read_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    assert open_source(make_data("data/pima.csv")).content.startswith(b"Pregnancies,Glucose,")


def test_missing_file_is_refused_with_the_folder_where_it_was_sought(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    with pytest.raises(SourceError) as error:
        open_source(make_data("nope.csv"))

    assert f"data.source 'nope.csv' does not exist in {tmp_path}; give the path" in str(error.value)


def test_folder_is_refused(tmp_path):
    with pytest.raises(SourceError, match=r"data\.source '.*' cannot be read: Is a directory"):
        open_source(make_data(tmp_path))


def test_file_that_the_digest_names_is_taken_and_no_other(tmp_path):
    (tmp_path / "a.csv").write_bytes(CSV)
    sha256 = hashlib.sha256(CSV).hexdigest()

    assert open_source(make_data(tmp_path / "a.csv", sha256=sha256)).content == CSV
    with pytest.raises(SourceError) as error:
        open_source(make_data(tmp_path / "a.csv", sha256="0" * 64))
    assert f"has the sha256 {sha256}, but data.sha256 is {'0' * 64}" in str(error.value)
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
def test_address_is_downloaded(server, no_proxy, path):
    assert open_source(make_data(f"{server}/{path}")).content == CSV


@pytest.mark.parametrize(
    ("path", "settings", "reason"),
    [
        ("a.csv", {"sha256": "0" * 64}, r"but data\.sha256 is 000000"),
        ("nope.csv", {}, "was answered with HTTP 404 Not Found; check the address"),
        ("loop.csv", {}, "was redirected without end; check the address"),
        ("broken.csv", {}, r"/broken\.csv' failed: .*received 12 of 13 bytes"),
        ("hang.csv", {"timeout": 0.4}, r"took longer than data\.timeout, 0\.4 seconds"),
        ("dribble.csv", {"timeout": 0.4}, r"took longer than data\.timeout, 0\.4 seconds"),
    ],
)
def test_download_that_fails_is_refused_with_the_reason(server, no_proxy, path, settings, reason):
    with pytest.raises(SourceError, match=reason):
        open_source(make_data(f"{server}/{path}", **settings))


def test_address_at_which_nothing_listens_is_refused(no_proxy):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        source = f"http://127.0.0.1:{taken.getsockname()[1]}/a.csv"

        with pytest.raises(SourceError, match=f"the download of data.source '{source}' failed"):
            open_source(make_data(source))


@pytest.mark.parametrize(
    "source",
    ["http://", "http://127.0.0.1:99999/a.csv", "http://127.0.0.1:x/", "http://[::1/a.csv"],
)
def test_address_that_is_none_is_refused(no_proxy, source):
    with pytest.raises(SourceError, match=r"failed: .*; check the address"):
        open_source(make_data(source))


# The table of sources.


@pytest.mark.parametrize(
    ("source", "expected", "name"),
    [
        ("a.csv", "", "a"),
        ("folder/two words.parquet", "", "two words"),
        ("http://h/folder/a.csv?token=b/c.d", "http", "a"),
        ("HTTPS://h/a%20b.csv", "https", "a b"),
        ("https://h", "https", "h"),
        ("ftp://h/a.csv", "ftp", "a"),
    ],
)
def test_scheme_of_a_source_chooses_its_reader_and_its_path_names_the_data_set(
    source, expected, name
):
    assert scheme(source) == expected
    assert stem(source) == name


def test_source_of_an_unknown_scheme_is_sought_as_a_file():
    assert "ftp" not in SOURCES
    with pytest.raises(
        SourceError, match=r"'ftp://h/a\.csv' does not exist .* or an http\(s\) URL"
    ):
        open_source(make_data("ftp://h/a.csv"))


@pytest.mark.parametrize(("kind", "classes"), [("auto", [0, 1, 2]), ("text", ["0", "1", "2"])])
def test_cells_of_the_target_are_numbers_where_they_are_plainly_such_unless_kept_as_texts(
    kind, classes
):
    source = FileSource(make_data("a.csv", target_kind=kind), b"a,b\n1,0\nNA,1\n01,2\n")

    table = source.read()

    assert table["a"].tolist() == ["1", "NA", "01"]
    assert table["b"].tolist() == classes


@pytest.mark.parametrize("kind", ["auto", "text"])
def test_leading_zeros_of_the_target_stay_and_NA_is_a_class(kind):
    source = FileSource(make_data("a.csv", target_kind=kind), b"a,b\n1,01\n2,1\n3,NA\n4,2\n")

    assert source.read()["b"].tolist() == ["01", "1", "NA", "2"]
