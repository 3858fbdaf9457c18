"""Trusted proxies, which name the client in X-Forwarded-For."""

import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from pipeline.server.request_head import Header

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
HEADER = b"x-forwarded-for"
WITH_PORT = re.compile(r"(?:\[([^\]]+)\]|([\d.]+))(?::\d{1,5})?")  # of IPv6 in brackets only
MAPPED = IPv6Network("::ffff:0:0/96")  # IPv4 addresses as a socket for both shows them


class TrustedProxies:
    """The addresses and networks of the proxies before this server."""

    def __init__(self, networks: Iterable[str]) -> None:
        self._networks = frozenset(map(_network, networks))

    def __bool__(self) -> bool:
        return bool(self._networks)

    def client(self, peer: str, headers: Iterable[Header]) -> str:
        """Returns the right-most address on the way here that is no trusted proxy's.

        The address is in its usual form; `headers` are names in lower case and values. A proxy
        appends the address that it was asked from, so all that stands to the left of a stranger's
        may be made up. What is no address ends the search: the proxy that wrote it stands for
        those behind it.
        """
        address = peer_address = _address(peer)
        elements = b",".join(value for name, value in headers if name == HEADER).split(b",")
        while elements and address is not None and self._is_trusted(address):
            previous = _address(elements.pop().decode("latin-1").strip(" \t"))
            if previous is None:
                break
            address = previous
        return peer if address is peer_address else str(address)

    def _is_trusted(self, address: Address) -> bool:
        return any(address in network for network in self._networks)


def _address(text: str) -> Address | None:
    """Returns an address that is written with or without a port; None for anything else."""
    with_port = WITH_PORT.fullmatch(text)
    try:
        if with_port is None or with_port[2]:
            address = ip_address(with_port[2] if with_port else text)
        else:
            address = IPv6Address(with_port[1])
    except ValueError:
        return None
    if address.version == 4:
        return address
    return address.ipv4_mapped or IPv6Address(int(address))  # without the name of an interface


def _network(text: str) -> Network:
    network = ip_network(text)
    if isinstance(network, IPv6Network) and network.subnet_of(MAPPED):
        address = IPv4Address(int(network.network_address) & 0xFFFFFFFF)
        return IPv4Network((address, network.prefixlen - MAPPED.prefixlen))
    return network
