import hashlib
import json
import os

import pytest

from pipeline.errors import ConfigError
from pipeline.server import api_keys, telemetry
from pipeline.server.api_keys import ApiKeys

SECRET = "tok-SECRET-987654"
OTHER = "tok-other"


def sha256(key):
    return hashlib.sha256(key.encode()).hexdigest()


@pytest.fixture(autouse=True)
def _no_keys_of_the_user(monkeypatch):
    monkeypatch.delenv(api_keys.VARIABLE, raising=False)


@pytest.fixture
def write(tmp_path):
    """The path of a file with a text."""

    def write(text):
        path = tmp_path / "keys"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)

    return write


def owner(loaded, key):
    return loaded.owner({b"authorization": b"Bearer " + key.encode()})


# Who asks.


@pytest.fixture
def two():
    return ApiKeys(
        {name: bytes.fromhex(sha256(key)) for name, key in (("ann", SECRET), ("bo", OTHER))}
    )


@pytest.mark.parametrize(
    ("headers", "who"),
    [
        ({b"authorization": f"Bearer {SECRET}".encode()}, "ann"),
        ({b"authorization": f"Bearer {OTHER}".encode()}, "bo"),
        ({b"authorization": f"bearer {SECRET}".encode()}, "ann"),
        ({b"authorization": f"BEARER   {SECRET} ".encode()}, "ann"),
        ({b"x-api-key": SECRET.encode()}, "ann"),
        ({b"x-api-key": f" {OTHER} ".encode()}, "bo"),
        ({b"x-api-key": OTHER.encode(), b"authorization": b"Basic YTpi"}, "bo"),
        ({}, None),
        ({b"authorization": b""}, None),
        ({b"authorization": b"Bearer"}, None),
        ({b"authorization": b"Bearer "}, None),
        ({b"authorization": SECRET.encode()}, None),
        ({b"authorization": f"Basic {SECRET}".encode()}, None),
        ({b"authorization": f"Bearer {SECRET}x".encode()}, None),
        ({b"authorization": f"Bearer {SECRET[:-1]}".encode()}, None),
        ({b"authorization": f"Bearer {SECRET.upper()}".encode()}, None),
        ({b"authorization": f"Bearer {sha256(SECRET)}".encode()}, None),
        ({b"authorization": b"Bearer \xff\x00\xfe"}, None),
        ({b"x-api-key": b""}, None),
        ({b"x-api-key": f"Bearer {SECRET}".encode()}, None),
        ({b"x-api-key": b"wrong", b"authorization": f"Bearer {SECRET}".encode()}, None),
        ({b"cookie": f"key={SECRET}".encode()}, None),
    ],
)
def test_owner_is_who_holds_the_key(two, headers, who):
    assert two.owner(headers) == who


def test_all_keys_are_compared_whichever_it_is(two, monkeypatch):
    """The time must not tell how far down the list a key is."""
    compared = []

    def compare(one, other):
        compared.append(other)
        return one == other

    monkeypatch.setattr(api_keys.hmac, "compare_digest", compare)

    for key in (SECRET, OTHER, "none"):
        compared.clear()
        owner(two, key)
        assert len(compared) == 2


def test_without_keys_nobody_is_known():
    none = ApiKeys({})

    assert not none
    assert owner(none, SECRET) is None


# Where keys come from.


def test_keys_come_from_the_file_one_a_line(write):
    text = (
        "# who may ask\n\n"
        f"ann:{sha256(SECRET)}\n"
        f"  bo@site-1.org:{sha256(OTHER).upper()}  # the other one\r\n"
    )

    loaded = api_keys.load(write(text))

    assert loaded
    assert (owner(loaded, SECRET), owner(loaded, OTHER)) == ("ann", "bo@site-1.org")


@pytest.mark.parametrize("between", [",", " ", "\n", " , ", "\t"])
def test_keys_come_from_the_environment(monkeypatch, between):
    entries = [f"ann:{sha256(SECRET)}", f"bo:{sha256(OTHER)}"]
    monkeypatch.setenv(api_keys.VARIABLE, between.join(entries) + between)

    loaded = api_keys.load(None)

    assert (owner(loaded, SECRET), owner(loaded, OTHER)) == ("ann", "bo")


def test_keys_of_both_places_count(write, monkeypatch):
    monkeypatch.setenv(api_keys.VARIABLE, f"bo:{sha256(OTHER)}")

    loaded = api_keys.load(write(f"ann:{sha256(SECRET)}"))

    assert (owner(loaded, SECRET), owner(loaded, OTHER)) == ("ann", "bo")


@pytest.mark.parametrize("value", [None, "", "  ", ",\n"])
def test_no_file_and_no_variable_mean_no_keys(monkeypatch, value):
    if value is not None:
        monkeypatch.setenv(api_keys.VARIABLE, value)

    assert not api_keys.load(None)


# Refused: the key itself, if someone forgot to hash it, is not shown.


@pytest.mark.parametrize(
    "entry",
    [
        SECRET,
        f"ann:{SECRET}",
        f"ann={sha256(SECRET)}",
        f"ann: {sha256(SECRET)}",
        f"an n:{sha256(SECRET)}",
        f":{sha256(SECRET)}",
        f"ann:{sha256(SECRET)[:-1]}",
        f"ann:{sha256(SECRET)}0",
        f"ann:{'g' * 64}",
        f"ann:{sha256(SECRET)}:{SECRET}",
        f"{sha256(SECRET)}",
        f"ann/b:{sha256(SECRET)}",
    ],
)
def test_entry_that_is_no_key_is_refused_unseen(write, monkeypatch, entry):
    path = write(f"bo:{sha256(OTHER)}\n{entry}\n")
    with pytest.raises(ConfigError) as of_file:
        api_keys.load(path)
    monkeypatch.setenv(api_keys.VARIABLE, entry)
    with pytest.raises(ConfigError) as of_variable:
        api_keys.load(None)

    how = f"holds an entry that is no key; {api_keys.HOW}"
    assert str(of_file.value) == f"serve.keys {path!r} {how}"
    assert str(of_variable.value) == f"PIPELINE_API_KEYS {how}"


def test_name_that_is_there_twice_is_refused(write, monkeypatch):
    once = f"ann:{sha256(SECRET)}"
    path = write(f"{once}\nann:{sha256(OTHER)}")
    with pytest.raises(ConfigError, match="names 'ann' twice; give each key its own name"):
        api_keys.load(path)

    monkeypatch.setenv(api_keys.VARIABLE, f"ann:{sha256(OTHER)}")
    with pytest.raises(ConfigError, match="names 'ann' twice"):
        api_keys.load(write(once))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "holds no key; a key is written NAME:SHA256"),
        ("# nobody\n\n", "holds no key; a key is written NAME:SHA256"),
        (b"\xff\xfe", "cannot be read: it is not in UTF-8"),
    ],
)
def test_file_without_a_key_is_refused(write, text, told):
    """It would leave the endpoint open to all."""
    with pytest.raises(ConfigError, match=told):
        api_keys.load(write(text))


def test_file_that_is_not_there_or_a_folder_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read: No such file or directory"):
        api_keys.load(str(tmp_path / "none"))
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        api_keys.load(str(tmp_path))


# Read again.


def entry(name, key):
    return f"{name}:{sha256(key)}\n"


def test_revoked_key_opens_no_more_and_a_new_one_does(write):
    loaded = api_keys.load(write(entry("ann", SECRET)))
    loaded.refresh()
    assert (owner(loaded, SECRET), owner(loaded, OTHER)) == ("ann", None)

    write(entry("bo", OTHER))
    loaded.refresh()

    assert (owner(loaded, SECRET), owner(loaded, OTHER)) == (None, "bo")


def test_file_that_was_replaced_through_a_link_is_read_again(tmp_path):
    """As secrets are mounted."""
    for name, key in (("1", SECRET), ("2", OTHER)):
        (tmp_path / name).write_text(entry("ann", key))
    link = tmp_path / "keys"
    link.symlink_to(tmp_path / "1")
    loaded = api_keys.load(str(link))

    (tmp_path / "new").symlink_to(tmp_path / "2")
    (tmp_path / "new").replace(link)
    loaded.refresh()

    assert (owner(loaded, SECRET), owner(loaded, OTHER)) == (None, "ann")


@pytest.mark.parametrize("text", ["", "# none\n", "ann:1234", "ann", b"\xff", None])
def test_file_that_is_not_right_any_more_changes_nothing(write, capfd, text):
    path = write(entry("ann", SECRET))
    loaded = api_keys.load(path)
    if text is None:
        os.unlink(path)
    else:
        write(text)

    for _ in range(3):
        loaded.refresh()

    assert loaded
    assert (owner(loaded, SECRET), owner(loaded, OTHER)) == ("ann", None)
    telemetry.flush()
    (line,) = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert line["event"] == "keys_refused"
    assert "serve.keys" in line["message"]
    assert "the keys that were read before stay" in line["message"]
    write(entry("bo", OTHER))
    loaded.refresh()
    assert owner(loaded, OTHER) == "bo"


def test_keys_of_the_environment_stay_whatever_becomes_of_the_file(write, monkeypatch):
    monkeypatch.setenv(api_keys.VARIABLE, entry("env", "tok-env").strip())
    loaded = api_keys.load(write(entry("ann", SECRET)))

    write("")
    loaded.refresh()

    assert (owner(loaded, SECRET), owner(loaded, "tok-env")) == (None, "env")


def test_signal_reads_a_file_that_looks_as_before(write, capfd):
    loaded = api_keys.load(write(entry("ann", SECRET)))

    loaded.refresh(is_forced=True)

    telemetry.flush()
    assert json.loads(capfd.readouterr().out) | {"time": 0} == {
        "time": 0,
        "event": "keys_read",
        "keys": 1,
    }
