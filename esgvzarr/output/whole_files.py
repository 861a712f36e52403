"""Read a whole file by one of fsspec's file systems, with errors of ours."""

from __future__ import annotations

from typing import Any

from ..errors import TransportError


def read_whole(files: Any, path: str) -> bytes:
    """The bytes of a file.

    Args:
        files: a file system of fsspec.
        path: as that file system has it.

    Raises:
        FileNotFoundError: no such file, or the server says so.
        OSError: a file of this machine cannot be read.
        TransportError: the server answers with another error, or not to the end.
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
            expected="a whole answer",
            todo="Try again later; if it stays, tell the data node.",
            code="transport-unreachable",
        ) from error
