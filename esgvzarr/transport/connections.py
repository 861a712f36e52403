"""The connections of the transport.

Answers have a maximum size and a minimum speed, TLS is verified, and addresses must be public
unless the operator named the host.
"""

from __future__ import annotations

import functools
import http.client
import io
import math
import os
import socket
import ssl
import time
from typing import Any

import urllib3

from ..errors import SettingsError, TransportError
from .answers import SLOWEST
from .public_addresses import check_address, check_name

_LONGEST_HEAD = 2**20
_LONGEST_BODY = 4 * 2**30
"""The most bytes that are received of an answer."""
_BUFFER = 64 * 1024


class TooSlowError(TimeoutError):
    """An answer arrives too slowly."""


class _Paced(io.RawIOBase):
    """The bytes of an answer, with a minimum speed and a maximum size."""

    def __init__(self, raw: io.RawIOBase, patience_s: float) -> None:
        self._raw = raw
        self._deadline = time.monotonic() + patience_s
        self.left = _LONGEST_HEAD

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int | None:  # type: ignore[override]
        if time.monotonic() > self._deadline:
            raise TooSlowError(f"its answer arrived at less than {SLOWEST} bytes a second")
        if self.left <= 0:
            raise http.client.HTTPException("its answer exceeds every expected size")
        count = self._raw.readinto(buffer) or 0
        self._deadline += count / SLOWEST
        self.left -= count
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class _PacedResponse(http.client.HTTPResponse):
    """An answer that is limited from its first line on."""

    def __init__(self, sock: socket.socket, *arguments: Any, **options: Any) -> None:
        super().__init__(sock, *arguments, **options)
        self._paced = _Paced(self.fp.detach(), sock.gettimeout() or math.inf)
        self.fp = io.BufferedReader(self._paced, _BUFFER)

    def begin(self) -> None:
        super().begin()
        self._paced.left = _LONGEST_BODY


class _Connection(urllib3.connection.HTTPConnection):
    response_class = _PacedResponse


class _TlsConnection(_Connection, urllib3.connection.HTTPSConnection):
    """The same, under TLS."""


class _PublicConnection(_Connection):
    """Refuses to connect to an address that is not public."""

    def _new_conn(self) -> socket.socket:
        check_name(self._dns_host, self.port)
        connected = super()._new_conn()
        try:
            check_address(
                connected.getpeername()[0], self.host
            )  # The name may resolve to another address the next time.
        except TransportError:
            connected.close()
            raise
        return connected


class _PublicTlsConnection(_PublicConnection, urllib3.connection.HTTPSConnection):
    """The same, under TLS."""


def _pool_classes(
    plain: type[_Connection], tls: type[urllib3.connection.HTTPSConnection]
) -> dict[str, type[Any]]:
    return {
        "http": type("Pool", (urllib3.HTTPConnectionPool,), {"ConnectionCls": plain}),
        "https": type("TlsPool", (urllib3.HTTPSConnectionPool,), {"ConnectionCls": tls}),
    }


NAMED_POOLS = _pool_classes(_Connection, _TlsConnection)
PUBLIC_POOLS = _pool_classes(_PublicConnection, _PublicTlsConnection)


@functools.cache
def usual_tls_context(ca_bundle: str) -> ssl.SSLContext:
    """Return the context for TLS, made once: reading all certificate authorities takes longer than
    reading many a dataset.
    """
    return tls_context(ca_bundle or None)


def tls_context(
    ca_bundle: str | os.PathLike[str] | None, certificate: str | os.PathLike[str] | None = None
) -> ssl.SSLContext:
    """Make a context that verifies servers, and that can present a client certificate.

    Raises:
        SettingsError: a file cannot be used.
    """
    try:
        context = ssl.create_default_context(cafile=ca_bundle)
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(
            str(ca_bundle), f"cannot be used as ca_bundle: {error}", expected="a PEM file"
        ) from error
    if certificate:
        try:
            context.load_cert_chain(
                certificate, password=""
            )  # Otherwise OpenSSL asks for a password on the terminal.
        except (OSError, ssl.SSLError) as error:
            raise SettingsError(
                str(certificate),
                f"cannot be used as client certificate: {type(error).__name__}",
                expected="a PEM file of a certificate and its key, without a password",
                todo="See `cert` in esg.yaml.",
            ) from error
    return context
