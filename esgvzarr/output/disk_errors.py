"""What goes wrong on a disk, told as an error of ours."""

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
    """What goes wrong meanwhile on the disk is said as an error of ours.

    Raises:
        StoreError: the file system refuses.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StoreError(
                str(path),
                f"cannot be written: {error.strerror}",
                todo="Make room, then esgvzarr resume.",
                code="store-full",
                retryable=True,
            ) from error
        raise StoreError(
            str(path),
            f"cannot be written: {error.strerror}",
            expected="a directory that this user may write to",
            todo=NO_LOCKS if lacks_locks(error) else _ELSEWHERE,
            code="store-unwritable",
        ) from error
