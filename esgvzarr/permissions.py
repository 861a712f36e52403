"""Directories and files that are made with the rights they shall have, whatever the umask; and file
systems that cannot do what is needed.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from pathlib import Path


def make_directory(path: Path) -> tuple[Path, ...]:
    """Make a directory, and those above it, where they are missing: all may read, its owner alone
    may write.

    Returns:
        The directories that were made, the highest first.

    Raises:
        OSError: it cannot be made.
    """
    if path.is_dir():
        return ()
    above = make_directory(path.parent)
    try:
        path.mkdir(mode=0o755)
    except FileExistsError:
        if not path.is_dir():
            raise
        return above
    path.chmod(0o755)
    return (*above, path)


def remove_empty(directories: Iterable[Path]) -> None:
    """Take directories away that hold nothing, the last first."""
    for directory in reversed(list(directories)):
        try:
            directory.rmdir()
        except OSError:
            return  # it holds something, or is gone


def make_private_file(path: Path) -> None:
    """Make an empty file that no other user may read, where there is none, and the directory
    that it is in.

    Raises:
        OSError: it cannot be made.
    """
    make_directory(path.parent)
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        return


def absolute(path: str | os.PathLike[str]) -> Path:
    """A path as it is from any directory: what is kept in the ledger is looked at from others."""
    return Path(os.path.abspath(os.path.expanduser(path)))


NO_LOCKS = "The file system keeps no locks (NFS without a lock service?): use a local disk for it."
"""What to do where `lacks_locks`."""


def lacks_locks(error: BaseException) -> bool:
    """Whether an error of the system, or of SQLite, says that a file system has no locks."""
    known = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
    if isinstance(error, OSError) and error.errno in known:
        return True
    return "locking protocol" in str(error)
