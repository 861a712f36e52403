"""Whose machine a connection leads to: hosts that others name must not be ones of the operator's
own network.
"""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

from ..errors import TransportError

_NAT64 = IPv6Network("64:ff9b::/96")
_UNICAST = IPv6Network("2000::/3")
"""All of IPv6 that is given to anyone as global."""


def check_name(host: str, port: int) -> None:
    """Refuse a host of which any address is not public. One that has none is left to
    the code that connects.

    Raises:
        TransportError: ``transport-address-private``.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return
    for *_, address in found:
        check_address(str(address[0]), host)


def check_address(address: str, host: str) -> None:
    """Refuse an address that is not public, in whatever form.

    Args:
        address: IPv4 or IPv6, as the system states it.
        host: whose address it is, for the message.

    Raises:
        TransportError: ``transport-address-private``.
    """
    if not is_public(address):
        raise TransportError(
            host,
            f"is at {address}, which is no public address",
            expected="a public address, since a record or page named this host",
            todo="If you trust it, name it yourself: --allow-host, or `allowed_hosts`.",
            code="transport-address-private",
        )


def is_public(address: str) -> bool:
    """Whether an address is one of the internet: not loopback, private, shared, link-local,
    multicast, unspecified or reserved.
    """
    return all(map(_is_global, _meant(ip_address(address))))


def _is_global(address: IPv4Address | IPv6Address) -> bool:
    return (
        address.is_global
        and not address.is_multicast
        and (isinstance(address, IPv4Address) or address in _UNICAST)
    )


def _meant(address: IPv4Address | IPv6Address) -> tuple[IPv4Address | IPv6Address, ...]:
    """The address, or what it stands for: IPv6 has several ways to write IPv4's."""
    if isinstance(address, IPv4Address):
        return (address,)
    if address in _NAT64:
        return (IPv4Address(int(address) & 0xFFFFFFFF),)
    inner = address.ipv4_mapped or address.sixtofour
    return (inner,) if inner else (address.teredo or (address,))
