"""The hosts that may be contacted."""

from __future__ import annotations

from collections.abc import Iterable

from ..errors import TransportError
from .urls import host_of, is_url


class AllowedHosts:
    """The hosts that may be contacted, and which of them the operator named.

    Args:
        named: ``host`` or ``host:port`` that may be contacted at any address, because the operator
            named them.
    """

    def __init__(self, named: Iterable[str] = ()) -> None:
        self.named = {host.lower() for host in named}
        self.all = set(self.named)

    def copy(self) -> AllowedHosts:
        """Return a copy, in which more hosts can be allowed without changing this object."""
        other = AllowedHosts(self.named)
        other.all = set(self.all)
        return other

    def allow(self, host: str, *, named: bool = False) -> None:
        """Allow requests to ``host`` or ``host:port``.

        Args:
            host: for example the host of a record.
            named: whether the operator named the host.
        """
        self.all.add(host.lower())
        if named:
            self.named.add(host.lower())

    def is_named(self, url: str) -> bool:
        """Whether the operator named the host of a URL."""
        return host_of(url) in self.named

    def check(self, location: str) -> None:
        """Check that ``location`` is a path, or that its host is allowed.

        Raises:
            TransportError: ``transport-host-refused``.
        """
        if is_url(location) and (host := host_of(location)) not in self.all:
            raise TransportError(
                location,
                f"host {host} is not allowed",
                expected=f"one of {sorted(self.all) or 'none'}",
                todo="Files are fetched from the data node of the record only; add other hosts "
                "to `allowed_hosts`.",
                code="transport-host-refused",
            )
