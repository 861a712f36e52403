"""Translate errors of the file system."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import StoreError
from ..permissions import NO_LOCKS, lacks_locks

_ELSEWHERE = "Set `reference_dir` and `reference_url` to a directory that is writable and served."


@contextmanager
def writing(path: str | os.PathLike[str]) -> Iterator[None]:
    """Translate errors of the file system inside the block.

    Raises:
        StoreError: the file system refuses an operation.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StoreError(
                str(path),
                f"cannot be written: {error.strerror}",
                todo="Make room on the disk, then run esgvzarr resume.",
                code="store-full",
                retryable=True,
            ) from error
        raise StoreError(
            str(path),
            f"cannot be written: {error.strerror}",
            expected="a directory to which this user may write",
            todo=NO_LOCKS if lacks_locks(error) else _ELSEWHERE,
            code="store-unwritable",
        ) from error
