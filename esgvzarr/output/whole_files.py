"""Read a whole file by a file system of fsspec, and translate its errors."""

from __future__ import annotations

from typing import Any

from ..errors import TransportError


def read_whole(files: Any, path: str) -> bytes:
    """Return the bytes of a file.

    Args:
        files: a file system of fsspec.
        path: the path of the file in that file system.

    Raises:
        FileNotFoundError: the file does not exist, or the server says so.
        OSError: a local file cannot be read.
        TransportError: the server answers with another error, or its answer is incomplete.
    """
    from fsspec.asyn import AsyncFileSystem

    if not isinstance(files, AsyncFileSystem):
        return bytes(files.cat_file(path))

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
        ) from error
