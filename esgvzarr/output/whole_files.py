"""Read a whole file by one of fsspec's file systems, with errors of ours."""

from __future__ import annotations

import time
from typing import Any

from ..errors import TransportError

TRIES = 3
"""Of one file of a server that is busy, or loses the connection."""
FIRST_WAIT_S = 0.2
"""Before the second try; four times as long before the third."""
LONGEST_WAIT_S = 60.0
"""That a server may ask for by ``Retry-After``."""


def read_whole(files: Any, path: str) -> bytes:
    """The bytes of a file.

    Args:
        files: a file system of fsspec.
        path: as that file system has it.

    Raises:
        FileNotFoundError: no such file, or the server says so.
        OSError: a file of this machine cannot be read.
        TransportError: the server answers with another error, or not to the end; those that may
            pass came several times.
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
            expected="a whole answer",
            todo="Try again later; if it stays, tell the data node.",
            code="transport-unreachable",
            retryable=True,
        ) from error
