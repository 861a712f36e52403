r"""Parse URLs in one place, so that the host that is checked is the host that is connected to.

Parsers disagree on unusual URLs: in ``http://a\@b/`` the host is ``b`` for urllib and ``a`` for
urllib3. Therefore only URLs that every parser reads alike are accepted, and each connection takes
host and port from `parse_url`, not from the text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import AddressValueError, IPv6Address
from urllib.parse import urljoin

from ..errors import TransportError

_DEFAULT_PORTS = {"http": 80, "https": 443}
_LARGEST_PORT = 65535
_LONGEST_URL = 16 * 1024
_LONGEST_HOST = 253
"""The most characters of a host name, by the rules of the domain name system."""
_PLAIN = "an absolute http(s) URL without user name, blanks, backslashes or control characters"
_URL = re.compile(
    r"(?P<scheme>https?)://"
    r"(?P<host>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])"
    r"(:(?P<port>[0-9]{1,5}))?"
    r"(?P<target>([/?][^#]*)?)"
    r"(#.*)?",
    re.DOTALL,
)
_LABEL = re.compile(r"[A-Za-z0-9_-]{1,63}")


@dataclass(frozen=True, slots=True)
class Url:
    """The parts of a URL."""

    scheme: str
    """``http`` or ``https``."""
    host: str
    """In lower case; an IPv6 address in brackets."""
    port: int
    target: str
    """Path and query, from the first ``/`` on."""

    @property
    def place(self) -> str:
        """``host``, or ``host:port`` if the port is not the scheme's default."""
        return self.host if self.port == _DEFAULT_PORTS[self.scheme] else f"{self.host}:{self.port}"


def is_url(location: str) -> bool:
    """Whether a location is an http(s) URL; otherwise it is a local path."""
    return location.startswith(("http://", "https://"))


@lru_cache(maxsize=4096)
def parse_url(text: str) -> Url:
    """Return the parts of a URL. Each request parses its URL several times.

    Raises:
        TransportError: ``transport-bad-url``; the text is not a URL, or one that parsers read
            differently.
    """
    if len(text) > _LONGEST_URL:
        raise _bad(text[:200], f"has {len(text)} characters", f"at most {_LONGEST_URL}")
    if not text.isprintable() or " " in text or "\\" in text:
        raise _bad(text, "has blanks, backslashes or control characters", _PLAIN)
    found = _URL.fullmatch(text)
    if found is None:
        raise _bad(text, "is not a URL of the accepted form", _PLAIN)
    port = int(found["port"] or _DEFAULT_PORTS[found["scheme"]])
    if not 0 < port <= _LARGEST_PORT:
        raise _bad(text, f"has the port {port}", f"one from 1 to {_LARGEST_PORT}")
    host = _host(text, found["host"].lower())
    target = found["target"]
    return Url(found["scheme"], host, port, target if target.startswith("/") else f"/{target}")


def _host(text: str, host: str) -> str:
    if host.startswith("["):
        try:
            IPv6Address(host[1:-1])
        except AddressValueError as error:
            raise _bad(text, f"has an invalid IPv6 address as its host: {error}", _PLAIN) from error
        return host
    labels = host.removesuffix(".").split(".")
    if len(host) > _LONGEST_HOST or not all(map(_LABEL.fullmatch, labels)):
        raise _bad(text, f"has {host[:_LONGEST_HOST]!r} as its host", "a host name")
    return host


def host_of(url: str) -> str:
    """Return ``host``, or ``host:port`` if the port is not the scheme's default; in lower case.

    Raises:
        TransportError: ``transport-bad-url``, as `parse_url` says.
    """
    return parse_url(url).place


def join_url(base: str, reference: str) -> str:
    """Make a reference, as a server or a page states it, an absolute URL.

    Raises:
        TransportError: ``transport-bad-url``; the result is not a URL.
    """
    try:
        joined = urljoin(base, reference)
    except ValueError as error:
        raise _bad(reference, f"is not a valid URL: {error}", _PLAIN) from error
    parse_url(joined)
    return joined


def _bad(text: str, found: str, expected: str) -> TransportError:
    return TransportError(text, found, expected=expected, code="transport-bad-url")
