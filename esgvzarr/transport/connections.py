"""Connections as the transport opens them.

Answers have an end and come fast enough, TLS is verified, and addresses are public unless the
operator named the host.
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
from .public_addresses import check_address, check_name

_LONGEST_HEAD = 2**20
_LONGEST_BODY = 4 * 2**30
"""Bytes of an answer that are received at all."""
_BUFFER = 64 * 1024
SLOWEST = 16 * 1024
"""Bytes a second, from the time on that a server may take to answer. No answer takes longer in all,
however it trickles.
"""


class TooSlowError(TimeoutError):
    """Bytes trickle."""


class _Paced(io.RawIOBase):
    """The bytes of an answer, as long as they come fast enough, and as many as there may be."""

    def __init__(self, raw: io.RawIOBase, patience_s: float) -> None:
        self._raw = raw
        self._deadline = time.monotonic() + patience_s
        self.left = _LONGEST_HEAD

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int | None:  # type: ignore[override]
        if time.monotonic() > self._deadline:
            raise TooSlowError(f"its answer came at less than {SLOWEST} bytes a second")
        if self.left <= 0:
            raise http.client.HTTPException("its answer has no end")
        count = self._raw.readinto(buffer) or 0
        self._deadline += count / SLOWEST
        self.left -= count
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class _PacedResponse(http.client.HTTPResponse):
    """An answer with an end, from its first line on."""

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
    """Sends nothing to an address that is not public."""

    def _new_conn(self) -> socket.socket:
        check_name(self._dns_host, self.port)
        connected = super()._new_conn()
        try:
            check_address(
                connected.getpeername()[0], self.host
            )  # a name may lead elsewhere when it is asked for again
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
    """Made once: to read all certificate authorities takes longer than to read many a dataset."""
    return tls_context(ca_bundle or None)


def tls_context(
    ca_bundle: str | os.PathLike[str] | None, certificate: str | os.PathLike[str] | None = None
) -> ssl.SSLContext:
    """A context that verifies servers, and may show a client certificate.

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
            )  # or OpenSSL asks for one on the terminal
        except (OSError, ssl.SSLError) as error:
            raise SettingsError(
                str(certificate),
                f"cannot be used as client certificate: {type(error).__name__}",
                expected="a PEM file of a certificate and its key, without a password",
                todo="See `cert` in esg.yaml.",
            ) from error
    return context
