"""Who holds a key, where keys come from, and files of keys that change."""

import pytest

from pipeline.errors import ConfigError
from pipeline.server import api_keys
from tests.support.guards import KEY, OTHER_KEY, hashed, make_keys


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


def owners(keys):
    """The owners of both keys, None for one that is not known."""
    return tuple(keys.owner({b"x-api-key": key.encode()}) for key in (KEY, OTHER_KEY))


# Who asks.


@pytest.mark.parametrize(
    ("headers", "owner"),
    [
        ({"authorization": f"Bearer {KEY}"}, "ann"),
        ({"authorization": f"Bearer {OTHER_KEY}"}, "bo"),
        ({"authorization": f"bearer {KEY}"}, "ann"),
        ({"authorization": f"BEARER   {KEY} "}, "ann"),
        ({"x-api-key": KEY}, "ann"),
        ({"x-api-key": f" {OTHER_KEY} "}, "bo"),
        ({"x-api-key": OTHER_KEY, "authorization": "Basic YTpi"}, "bo"),
        ({}, None),
        *(
            ({"authorization": value}, None)
            for value in (
                *("", "Bearer", "Bearer ", KEY, f"Basic {KEY}", f"Bearer {KEY}x"),
                *(f"Bearer {KEY[:-1]}", f"Bearer {KEY.upper()}", f"Bearer {hashed(KEY)}"),
                "Bearer \xff\x00\xfe",
            )
        ),
        ({"x-api-key": ""}, None),
        ({"x-api-key": f"Bearer {KEY}"}, None),
        ({"x-api-key": "wrong", "authorization": f"Bearer {KEY}"}, None),
        ({"cookie": f"key={KEY}"}, None),
    ],
)
def test_owner_is_who_holds_the_key(headers, owner):
    fields = {name.encode(): value.encode("latin-1") for name, value in headers.items()}
    assert make_keys(ann=KEY, bo=OTHER_KEY).owner(fields) == owner


def test_all_keys_are_compared_whichever_it_is(monkeypatch):
    """The time must not tell how far down the list a key is."""
    compared = []
    keys = make_keys(ann=KEY, bo=OTHER_KEY)
    monkeypatch.setattr(
        api_keys.hmac, "compare_digest", lambda *pair: compared.append(pair) or pair[0] == pair[1]
    )
    assert owners(keys) == ("ann", "bo")
    assert len(compared) == 4


def test_without_keys_nobody_is_known():
    assert not make_keys()
    assert owners(make_keys()) == (None, None)


# Where keys come from.


def test_keys_come_from_the_file_one_a_line(write):
    text = (
        "# who may ask\n\n"
        f"ann:{hashed(KEY)}\n"
        f"  bo@site-1.org:{hashed(OTHER_KEY).upper()}  # the other one\r\n"
    )
    assert owners(api_keys.load(write(text))) == ("ann", "bo@site-1.org")


@pytest.mark.parametrize("between", [",", " ", "\n", " , ", "\t"])
def test_keys_come_from_the_environment(monkeypatch, between):
    entries = [f"ann:{hashed(KEY)}", f"bo:{hashed(OTHER_KEY)}"]
    monkeypatch.setenv(api_keys.VARIABLE, between.join(entries) + between)
    assert owners(api_keys.load(None)) == ("ann", "bo")


def test_keys_of_both_places_count(write, monkeypatch):
    monkeypatch.setenv(api_keys.VARIABLE, f"bo:{hashed(OTHER_KEY)}")
    assert owners(api_keys.load(write(f"ann:{hashed(KEY)}"))) == ("ann", "bo")


@pytest.mark.parametrize("value", [None, "", "  ", ",\n"])
def test_no_file_and_no_variable_mean_no_keys(monkeypatch, value):
    if value is not None:
        monkeypatch.setenv(api_keys.VARIABLE, value)
    assert not api_keys.load(None)


# Refused: the key itself, if someone forgot to hash it, is not shown.


@pytest.mark.parametrize(
    "entry",
    [
        *(KEY, f"ann:{KEY}", f"ann={hashed(KEY)}", f"ann: {hashed(KEY)}", f"an n:{hashed(KEY)}"),
        *(f":{hashed(KEY)}", f"ann:{hashed(KEY)[:-1]}", f"ann:{hashed(KEY)}0", f"ann:{'g' * 64}"),
        *(f"ann:{hashed(KEY)}:{KEY}", f"{hashed(KEY)}", f"ann/b:{hashed(KEY)}"),
    ],
)
def test_entry_that_is_no_key_is_refused_unseen(write, monkeypatch, entry):
    path = write(f"bo:{hashed(OTHER_KEY)}\n{entry}\n")
    with pytest.raises(ConfigError) as of_file:
        api_keys.load(path)
    monkeypatch.setenv(api_keys.VARIABLE, entry)
    with pytest.raises(ConfigError) as of_variable:
        api_keys.load(None)

    how = f"holds an entry that is no key; {api_keys.HOW}"
    assert str(of_file.value) == f"serve.keys {path!r} {how}"
    assert str(of_variable.value) == f"PIPELINE_API_KEYS {how}"


def test_name_that_is_there_twice_is_refused(write, monkeypatch):
    path = write(f"ann:{hashed(KEY)}\nann:{hashed(OTHER_KEY)}")
    with pytest.raises(ConfigError, match="names 'ann' twice; give each key its own name"):
        api_keys.load(path)
    monkeypatch.setenv(api_keys.VARIABLE, f"ann:{hashed(OTHER_KEY)}")
    with pytest.raises(ConfigError, match="names 'ann' twice"):
        api_keys.load(write(f"ann:{hashed(KEY)}"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no key; a key is written NAME:SHA256"),
        ("# nobody\n\n", "holds no key; a key is written NAME:SHA256"),
        (b"\xff\xfe", "cannot be read: it is not in UTF-8"),
    ],
)
def test_file_without_a_key_is_refused(write, text, message):
    """It would leave the endpoint open to all."""
    with pytest.raises(ConfigError, match=message):
        api_keys.load(write(text))


@pytest.mark.parametrize(
    ("name", "reason"), [("none", "No such file or directory"), ("", "Is a directory")]
)
def test_file_that_is_not_there_or_a_folder_is_refused(tmp_path, name, reason):
    with pytest.raises(ConfigError, match=f"cannot be read: {reason}"):
        api_keys.load(str(tmp_path / name))


# Read again.


def entry(name, key):
    return f"{name}:{hashed(key)}\n"


def test_revoked_key_opens_no_more_and_a_new_one_does(write):
    keys = api_keys.load(write(entry("ann", KEY)))
    keys.refresh()
    assert owners(keys) == ("ann", None)
    write(entry("bo", OTHER_KEY))
    keys.refresh()
    assert owners(keys) == (None, "bo")


def test_file_that_was_replaced_through_a_link_is_read_again(tmp_path):
    """As secrets are mounted."""
    for name, key in (("1", KEY), ("2", OTHER_KEY)):
        (tmp_path / name).write_text(entry("ann", key))
    link = tmp_path / "keys"
    link.symlink_to(tmp_path / "1")
    keys = api_keys.load(str(link))

    (tmp_path / "new").symlink_to(tmp_path / "2")
    (tmp_path / "new").replace(link)
    keys.refresh()

    assert owners(keys) == (None, "ann")


@pytest.mark.parametrize("text", ["", "# none\n", "ann:1234", "ann", b"\xff", None])
def test_file_that_is_not_right_any_more_changes_nothing(write, tmp_path, log_lines, text):
    keys = api_keys.load(write(entry("ann", KEY)))
    if text is None:
        (tmp_path / "keys").unlink()
    else:
        write(text)

    for _ in range(3):
        keys.refresh()

    assert owners(keys) == ("ann", None)
    (line,) = log_lines()
    assert line["event"] == "keys_refused"
    assert "serve.keys" in line["message"]
    assert "the keys that were read before stay" in line["message"]
    write(entry("bo", OTHER_KEY))
    keys.refresh()
    assert owners(keys) == (None, "bo")


def test_keys_of_the_environment_stay_whatever_becomes_of_the_file(write, monkeypatch):
    monkeypatch.setenv(api_keys.VARIABLE, entry("env", OTHER_KEY).strip())
    keys = api_keys.load(write(entry("ann", KEY)))
    write("")
    keys.refresh()
    assert owners(keys) == (None, "env")


def test_signal_reads_a_file_that_looks_as_before(write, log_lines):
    keys = api_keys.load(write(entry("ann", KEY)))
    keys.refresh(is_forced=True)
    (line,) = log_lines()
    assert (line["event"], line["keys"]) == ("keys_read", 1)
