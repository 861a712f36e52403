"""Check the addresses of hosts: hosts that the operator did not name must not be in the operator's
own network.
"""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

from ..errors import TransportError

_NAT64 = IPv6Network("64:ff9b::/96")
_UNICAST = IPv6Network("2000::/3")
"""The range of IPv6 from which all global addresses are assigned."""


def check_name(host: str, port: int) -> None:
    """Refuse a host with any address that is not public. A host without addresses is left to the
    code that connects.

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
    """Refuse an address that is not public, in any notation.

    Args:
        address: IPv4 or IPv6, as the system states it.
        host: the host of this address, for the message.

    Raises:
        TransportError: ``transport-address-private``.
    """
    if not is_public(address):
        raise TransportError(
            host,
            f"is at {address}, which is not a public address",
            expected="a public address, because only a record or page named this host",
            todo="If you trust the host, name it yourself: --allow-host, or `allowed_hosts`.",
            code="transport-address-private",
        )


def is_public(address: str) -> bool:
    """Whether an address is public: not loopback, private, shared, link-local, multicast,
    unspecified or reserved.
    """
    return all(map(_is_global, _meant(ip_address(address))))


def _is_global(address: IPv4Address | IPv6Address) -> bool:
    return (
        address.is_global
        and not address.is_multicast
        and (isinstance(address, IPv4Address) or address in _UNICAST)
    )


def _meant(address: IPv4Address | IPv6Address) -> tuple[IPv4Address | IPv6Address, ...]:
    """Return the address, and the IPv4 address that an IPv6 address embeds, if any."""
    if isinstance(address, IPv4Address):
        return (address,)
    if address in _NAT64:
        return (IPv4Address(int(address) & 0xFFFFFFFF),)
    inner = address.ipv4_mapped or address.sixtofour
    return (inner,) if inner else (address.teredo or (address,))
