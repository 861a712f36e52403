"""Answers of servers, and the errors for unexpected ones: a TransportError that states whether a
retry can help.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import TransportError

SLOWEST = 16 * 1024
"""The least bytes per second, counted after the time that a server may take to answer. It limits
the duration of every answer.
"""


def encoded_error(url: str, encoding: str) -> TransportError:
    """Make the error for a compressed answer, whose bytes are not those of the file."""
    return TransportError(
        url,
        f"answered with Content-Encoding {encoding!r}",
        expected="the bytes without encoding, as requested",
        todo=(
            "Encoded bytes may have any size: configure the data node to compress only for "
            "clients that accept it, and never an answer to a range."
        ),
        code="transport-encoded",
    )


def files_limit_error(url: str) -> TransportError:
    """Make the error for a request for which this process has no file handle."""
    return TransportError(
        url,
        "was not requested: this process may open no more files",
        expected="room for one more connection",
        todo="Raise the limit (`ulimit -n`), or set fewer `connections`.",
        code="transport-files-limit",
    )


def status_error(url: str, status: int, headers: Mapping[str, str]) -> TransportError:
    """Make the error for an unexpected status."""
    if status == 200:
        return TransportError(
            url,
            "the server ignores the Range header (status 200)",
            expected="206 Partial Content",
            todo="Turn on byte ranges on the data node: readers cannot stream without them.",
            code="transport-no-range",
        )
    todo = {
        401: "The data are restricted: esgvzarr references only data that anyone can read.",
        403: "The data are restricted: esgvzarr references only data that anyone can read.",
        404: "Check that the dataset is published and that its data root is served.",
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
    """Return the seconds of a Retry-After header; 0 if it is missing, or a date."""
    return float(retry_after) if retry_after.isdecimal() else 0.0


def redirected(url: str, target: str) -> TransportError:
    """Make the error for a redirect that is not followed."""
    error = TransportError(
        url,
        f"redirects to {target}",
        expected="the file itself",
        todo=(
            "Access may be restricted (a login page): esgvzarr references only data that "
            "anyone can read."
        ),
        code="transport-redirected",
    )
    error.moved_to = target
    return error
