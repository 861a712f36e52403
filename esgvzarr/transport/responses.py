"""Read the answers that urllib3 received, and translate its errors."""

from __future__ import annotations

import errno

import urllib3

from ..errors import TransportError
from .answers import encoded_error, files_limit_error
from .connections import TooSlowError
from .proxies import unused_proxy


def is_empty(response: urllib3.BaseHTTPResponse) -> bool:
    """Whether the answer to a range that begins at 0 means that the file is empty: 416 by RFC 9110,
    or 200 by nginx.
    """
    said = (
        response.status,
        response.headers.get("Content-Range"),
        response.headers.get("Content-Length"),
    )
    return said[:2] == (416, "bytes */0") or said == (200, None, "0")


def drop(response: urllib3.BaseHTTPResponse) -> None:
    """Discard an answer. If it was read to its end, its connection is already back in the pool.
    Otherwise gigabytes may follow, so the connection is closed and its place in the pool freed.
    """
    response.close()
    response.release_conn()


def read_body(url: str, response: urllib3.BaseHTTPResponse, limit: int) -> bytes:
    """Return the body, or its first ``limit`` bytes.

    Raises:
        TransportError: the body is encoded, or cut short.
    """
    encoding = response.headers.get("Content-Encoding", "identity")
    if encoding != "identity":
        raise encoded_error(url, encoding)
    try:
        return response.read(limit)
    except urllib3.exceptions.ProtocolError as error:
        raise TransportError(
            url,
            f"ended early: {error.args[-1]}",
            expected=f"{response.headers.get('Content-Length')} bytes, its Content-Length",
            todo="The answer was cut short: try again; if it happens again, check the data node.",
            code="transport-truncated",
            retryable=True,
        ) from error
    except urllib3.exceptions.HTTPError as error:
        raise lost(url, error) from error


def lost(url: str, error: urllib3.exceptions.HTTPError) -> TransportError:
    """Make the error for a request without an answer."""
    if _out_of_files(error):
        return files_limit_error(url)
    reason = getattr(error, "reason", None) or error
    if isinstance(error.__cause__, TooSlowError):
        return TransportError(
            url,
            f"is too slow: {error.__cause__}",
            todo="Try again later, with fewer `connections` or a longer `timeout_s`.",
            code="transport-slow",
            retryable=True,
        )
    if isinstance(reason, urllib3.exceptions.SSLError):
        return TransportError(
            url,
            f"TLS failed: {reason}",
            todo="Set `ca_bundle` for a private certificate authority.",
            code="transport-tls",
        )
    proxy = unused_proxy(url)
    if proxy:
        return TransportError(
            url,
            f"no answer: {reason}. The environment names the proxy {proxy} for this host. "
            "esgvzarr does not use proxies, because it cannot check addresses through them",
            expected="a host that this machine reaches directly",
            todo="Run esgvzarr on a machine that reaches the host without a proxy, and add the "
            "host to `no_proxy`.",
            code="transport-proxy",
            retryable=True,
        )
    return TransportError(
        url,
        f"no answer: {reason}",
        todo="Check that the server runs, and that this machine can reach it.",
        code="transport-unreachable",
        retryable=True,
    )


def _out_of_files(error: BaseException) -> bool:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in (errno.EMFILE, errno.ENFILE):
            return True
        cause = cause.__cause__ or getattr(cause, "reason", None)
    return False
