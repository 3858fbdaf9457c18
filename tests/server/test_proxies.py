"""Clients behind proxies: X-Forwarded-For counts as far as trusted proxies wrote it."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from pipeline.server import protocol
from pipeline.server.proxies import TrustedProxies
from tests.server.test_request_head import LENGTH, head
from tests.support.guards import GOOD, make_guard
from tests.support.wire import Server, exchange, serve

TRUSTED = ("10.0.0.0/8", "::1", "2001:db8:1::/48", "fe80::/10", "::ffff:192.168.0.0/112")


def client(peer: str, *values: str) -> str:
    headers = [(b"x-forwarded-for", value.encode("latin-1")) for value in values]
    others = [(b"x-forwarded", b"5.5.5.5"), (b"forwarded", b"for=5.5.5.5")]
    return TrustedProxies(TRUSTED).client(peer, [*others, *headers, *others])


@pytest.mark.parametrize("peer", ["9.9.9.9", "2001:db8:2::1", "::ffff:9.9.9.9", "11.0.0.1", ""])
def test_what_a_stranger_writes_is_ignored(peer):
    assert client(peer, "1.2.3.4") == peer


@pytest.mark.parametrize(
    "peer", ["10.0.0.1", "::1", "2001:db8:1::9", "::ffff:10.9.9.9", "192.168.0.3", "fe80::1%eth0"]
)
def test_trusted_proxy_names_its_client_however_its_own_address_is_written(peer):
    assert client(peer, "1.2.3.4") == "1.2.3.4"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["6.6.6.6, 1.2.3.4"], "1.2.3.4"),
        (["6.6.6.6,1.2.3.4 ,\t10.0.0.2"], "1.2.3.4"),
        (["6.6.6.6, 10.0.0.3, 1.2.3.4, 10.0.0.2, ::1"], "1.2.3.4"),
        (["6.6.6.6", "1.2.3.4"], "1.2.3.4"),
        (["1.2.3.4, 10.0.0.3", "10.0.0.2"], "1.2.3.4"),
        (["garbage, 1.2.3.4"], "1.2.3.4"),
    ],
)
def test_client_is_the_right_most_who_is_no_trusted_proxy(values, expected):
    assert client("10.0.0.1", *values) == expected


@pytest.mark.parametrize(
    ("element", "expected"),
    [
        ("1.2.3.4:5678", "1.2.3.4"),
        ("2001:DB8:2::0:1", "2001:db8:2::1"),
        ("[2001:db8:2::1]", "2001:db8:2::1"),
        ("[2001:db8:2::1]:443", "2001:db8:2::1"),
        ("::ffff:1.2.3.4", "1.2.3.4"),
        ("[::ffff:1.2.3.4]:5", "1.2.3.4"),
    ],
)
def test_one_client_has_one_name_whatever_its_port_and_form(element, expected):
    assert client("10.0.0.1", element) == expected


@pytest.mark.parametrize(
    "element",
    [
        *("", " ", "unknown", "_hidden", "localhost", "unix:", "1.2.3", "999.1.1.1", "01.2.3.4"),
        *("1.2.3.4:", "1.2.3.4:x", "1.2.3.4:999999", "[1.2.3.4]:5", "[::2", "::2]", "[]", ":5"),
        *("1.2.3.4/8", "1.2.3.4 5.6.7.8", '"[::2]:5"', "1.2.3.4\x00", "\xb9.2.3.4", "-1", "::2::3"),
    ],
)
def test_proxy_stands_for_a_client_that_it_names_in_no_address(element):
    """Or else everybody behind it could take as many names as wanted."""
    assert client("10.0.0.1", f"6.6.6.6, {element}") == "10.0.0.1"
    assert client("10.0.0.1", f"6.6.6.6, {element}, 10.0.0.2") == "10.0.0.2"


def test_proxy_that_asks_itself_is_the_client():
    assert client("10.0.0.1") == "10.0.0.1"
    assert client("10.0.0.1", "10.0.0.3, 10.0.0.2") == "10.0.0.3"


def test_without_trusted_proxies_nobody_is_believed():
    proxies = TrustedProxies(())
    assert not proxies
    assert proxies.client("10.0.0.1", [(b"x-forwarded-for", b"1.2.3.4")]) == "10.0.0.1"


# On the wire.


def forwarded(*clients: str) -> bytes:
    return head(LENGTH, *(b"X-Forwarded-For: %b\r\n" % each.encode() for each in clients)) + GOOD


@pytest.mark.parametrize(
    ("trusted", "statuses"),
    [(("127.0.0.1",), [200, 200, 429, 429]), (("127.0.0.2",), [200, 429, 429, 429])],
)
def test_clients_behind_a_trusted_proxy_each_have_their_rate(log_lines, trusted, statuses):
    guard = make_guard(trusted_proxies=trusted, limits={"rate": "1/hour"})
    clients = ["1.1.1.1", "2.2.2.2", "1.1.1.1", "2.2.2.2"]
    talk = exchange(guard, *(forwarded("6.6.6.6", each) for each in clients))
    assert talk.statuses == statuses
    is_trusted = trusted == ("127.0.0.1",)
    assert [line["client"] for line in log_lines()] == (
        clients if is_trusted else ["127.0.0.1"] * 4
    )


def test_request_without_the_header_is_the_proxys_after_one_with_it(log_lines):
    guard = make_guard(trusted_proxies=("127.0.0.1",), limits={"rate": "1/hour"})
    requests = [forwarded("1.1.1.1"), head(LENGTH) + GOOD, forwarded("2.2.2.2"), b"?\r\n"]
    talk = exchange(guard, *requests)
    assert talk.statuses == [200, 200, 200, 400]
    clients = [line["client"] for line in log_lines()]
    assert clients == ["1.1.1.1", "127.0.0.1", "2.2.2.2", "127.0.0.1"]


def test_clients_behind_a_trusted_proxy_each_have_their_bodies_on_the_way(monkeypatch, log_lines):
    monkeypatch.setattr(protocol, "CHECK_SECONDS", 0.05)
    guard = make_guard(trusted_proxies=("127.0.0.1",), limits={"uploads": 1})
    addresses = ("1.1.1.1", "1.1.1.1", "2.2.2.2")

    async def talk(server: Server):
        async with AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(server.connect()) for _ in addresses]
            for client, address in zip(clients, addresses, strict=True):
                await client.send(forwarded(address)[:-9])
            refused = await clients[1].all()
            await asyncio.sleep(0.2)
            counts = dict(server.guard.uploads._slow)
            for client in clients[::2]:
                await client.send(GOOD[-9:])
            return refused, counts, [await client.all() for client in clients[::2]]

    refused, counts, whole = serve(guard, talk)

    assert refused.statuses == [503]
    assert counts == {"1.1.1.1": 1, "2.2.2.2": 1}
    assert [talk.statuses for talk in whole] == [[200], [200]]
    assert dict(guard.uploads._slow) == {}
    refusals = [line["client"] for line in log_lines() if line["rule"] == "uploads"]
    assert refusals == ["1.1.1.1"]
