import pytest

from pipeline.tracking import credentials
from pipeline.tracking.credentials import ADDRESS, PASSWORD, USER


@pytest.mark.parametrize(
    ("address", "hidden"),
    [
        ("http://ann:secret@127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("http://ann:se@cret@127.0.0.1:5000/a?b=c", "http://127.0.0.1:5000/a?b=c"),
    ],
)
def test_user_and_password_move_to_their_variables(address, hidden):
    environment = {ADDRESS: address}
    credentials.hide(environment)
    password = address.removeprefix("http://ann:").partition("@127")[0]
    assert environment == {ADDRESS: hidden, USER: "ann", PASSWORD: password}


@pytest.mark.parametrize("address", ["http://ann@127.0.0.1", "http://:secret@127.0.0.1"])
def test_half_of_them_goes_and_moves_nowhere(address):
    environment = {ADDRESS: address, USER: "bob", PASSWORD: "his"}
    credentials.hide(environment)
    assert environment == {ADDRESS: "http://127.0.0.1", USER: "bob", PASSWORD: "his"}


@pytest.mark.parametrize(
    "address",
    [
        "http://127.0.0.1:5000",
        "sqlite:////srv/a@b.db",
        "postgresql://me:secret@host/db",
        "databricks",
    ],
)
def test_address_of_another_kind_stays_as_it_is(address):
    environment = {ADDRESS: address}
    credentials.hide(environment)
    assert environment == {ADDRESS: address}


def test_no_address_is_none():
    environment: dict[str, str] = {}
    credentials.hide(environment)
    assert environment == {}
