"""What servers answer, and what it means where it is not what was asked for: a TransportError that
says whether trying again can help.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import urllib3

from ..errors import TransportError
from .connections import TooSlowError
from .proxies import unused_proxy


@dataclass(frozen=True, slots=True)
class Head:
    """The first bytes of a file, and what its server says of the whole."""

    data: bytes
    size: int
    """Bytes of the whole file."""
    etag: str | None = None
    last_modified: str | None = None
    moved_to: str = ""
    """Where the server sent us, on the same host; empty if nowhere."""


@dataclass(frozen=True, slots=True)
class Answer:
    """How a server answered one request, whatever it said."""

    status: int
    headers: Mapping[str, str]
    """Looked up without regard to case."""
    data: bytes
    """The first bytes of the body, as they were sent."""
    seconds: float
    """Until the headers were there."""
    certificate: Mapping[str, Any]
    """What the server showed, as ``ssl.SSLSocket.getpeercert`` has it; empty without TLS."""


def is_empty(response: urllib3.BaseHTTPResponse) -> bool:
    """Whether the answer to a range that begins at 0 says that the file has no bytes: 416, as RFC
    9110 has it, or 200 as nginx.
    """
    said = (
        response.status,
        response.headers.get("Content-Range"),
        response.headers.get("Content-Length"),
    )
    return said[:2] == (416, "bytes */0") or said == (200, None, "0")


def drop(response: urllib3.BaseHTTPResponse) -> None:
    """Have done with an answer. One that was read to its end gave its connection back before;
    another may have gigabytes to go, so its connection is closed, and its place in the pool freed.
    """
    response.close()
    response.release_conn()


def read_body(url: str, response: urllib3.BaseHTTPResponse, limit: int) -> bytes:
    """The body, or its first ``limit`` bytes.

    Raises:
        TransportError: it is encoded, or cut short.
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
            expected=f"{response.headers.get('Content-Length')} bytes, as its head says",
            todo="The answer was cut short: try again, then look at the data node.",
            code="transport-truncated",
            retryable=True,
        ) from error
    except urllib3.exceptions.HTTPError as error:
        raise lost(url, error) from error


def encoded_error(url: str, encoding: str) -> TransportError:
    """An answer that is compressed, so that its bytes are not those of the file."""
    return TransportError(
        url,
        f"answered with Content-Encoding {encoding!r}",
        expected="the bytes as they are, as asked for",
        todo=(
            "Encoded bytes may be of any size: let the data node compress only what clients "
            "accept compressed, and no answer to a range."
        ),
        code="transport-encoded",
    )


def files_limit_error(url: str) -> TransportError:
    """A request that this process cannot send."""
    return TransportError(
        url,
        "was not asked for: this process may open no more files",
        expected="room for one more connection",
        todo="Raise the limit (`ulimit -n`), or set fewer `connections`.",
        code="transport-files-limit",
    )


def status_error(url: str, status: int, headers: Mapping[str, str]) -> TransportError:
    """What a status means that is not the one that was asked for."""
    if status == 200:
        return TransportError(
            url,
            "the server ignores Range (status 200)",
            expected="206 Partial Content",
            todo="Turn on byte ranges on the data node: without them no reader can stream.",
            code="transport-no-range",
        )
    todo = {
        401: "The data are restricted: references are for data that anyone can read.",
        403: "The data are restricted: references are for data that anyone can read.",
        404: "Is the dataset published, and its data root served?",
    }.get(status, "")
    error = TransportError(
        url,
        f"HTTP status {status}",
        todo=todo,
        code=f"transport-http-{status}",
        retryable=status in (429, 503),
    )
    error.retry_after_s = seconds(headers.get("Retry-After", ""))
    return error


def seconds(retry_after: str) -> float:
    """Seconds of a Retry-After header; 0 where it is missing, or a date."""
    return float(retry_after) if retry_after.isdecimal() else 0.0


def redirected(url: str, target: str) -> TransportError:
    """A redirect that is not followed."""
    error = TransportError(
        url,
        f"redirects to {target}",
        expected="the file itself",
        todo=(
            "Access may be restricted (a login page): references are for data that anyone can read."
        ),
        code="transport-redirected",
    )
    error.moved_to = target
    return error


def lost(url: str, error: urllib3.exceptions.HTTPError) -> TransportError:
    """Why there is no answer."""
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
            f"no answer: {reason}. The environment names the proxy {proxy} for it, and proxies are "
            "not used: through one no address could be checked",
            expected="a host that this machine reaches directly",
            todo="Run esgvzarr where it is reached without a proxy, and add it to `no_proxy`.",
            code="transport-proxy",
            retryable=True,
        )
    return TransportError(
        url,
        f"no answer: {reason}",
        todo="Is the server up, and reachable from here?",
        code="transport-unreachable",
        retryable=True,
    )


def too_large(location: str, limit: int) -> TransportError:
    """A document that is too large to be one."""
    return TransportError(
        location,
        f"is larger than {limit} bytes",
        expected="a small document",
        code="transport-too-large",
    )


def _out_of_files(error: BaseException) -> bool:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in (errno.EMFILE, errno.ENFILE):
            return True
        cause = cause.__cause__ or getattr(cause, "reason", None)
    return False
