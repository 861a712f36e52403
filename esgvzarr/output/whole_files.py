"""Read a whole file by a file system of fsspec, and translate its errors."""

from __future__ import annotations

import time
from typing import Any

from ..errors import TransportError

TRIES = 3
"""Tries per file, if the server is busy or the connection is lost."""
FIRST_WAIT_S = 0.2
"""Seconds before the second try; four times as long before the third."""
LONGEST_WAIT_S = 60.0
"""The longest pause that a server may request by ``Retry-After``, in seconds."""


def read_whole(files: Any, path: str) -> bytes:
    """Return the bytes of a file.

    Args:
        files: a file system of fsspec.
        path: the path of the file in that file system.

    Raises:
        FileNotFoundError: the file does not exist, or the server says so.
        OSError: a local file cannot be read.
        TransportError: the server answers with another error, or its answer is incomplete; errors
            that may pass occurred in each of several tries.
    """
    from fsspec.asyn import AsyncFileSystem

    if not isinstance(files, AsyncFileSystem):
        return bytes(files.cat_file(path))
    wait_s = FIRST_WAIT_S
    for tried in range(1, TRIES + 1):
        try:
            return _fetch(files, path)
        except TransportError as error:
            is_slow = isinstance(error.__cause__, TimeoutError)  # five minutes, by fsspec's default
            if not error.retryable or is_slow or tried == TRIES:
                raise
            time.sleep(min(error.retry_after_s or wait_s, LONGEST_WAIT_S))
            wait_s *= 4
    raise AssertionError("unreachable")


def _fetch(files: Any, path: str) -> bytes:
    import aiohttp

    try:
        return bytes(files.cat_file(path))
    except aiohttp.ClientResponseError as error:
        from ..transport.answers import status_error

        raise status_error(path, error.status, error.headers or {}) from error
    except (aiohttp.ClientError, TimeoutError) as error:
        raise TransportError(
            path,
            f"cannot be fetched: {error or type(error).__name__}",
            expected="a complete answer",
            todo="Try again later; if the error stays, report it to the data node.",
            code="transport-unreachable",
            retryable=True,
        ) from error
