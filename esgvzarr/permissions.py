"""Make directories and files with fixed permissions, whatever the umask; and recognise file systems
without locks.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from pathlib import Path


def make_directory(path: Path) -> tuple[Path, ...]:
    """Make a directory, and its parents, if they are missing: all users may read them, only the
    owner may write.

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
    """Remove the directories that are empty, the last first."""
    for directory in reversed(list(directories)):
        try:
            directory.rmdir()
        except OSError:
            return  # It is not empty, or does not exist.


def make_private_file(path: Path) -> None:
    """Make an empty file that no other user may read, if it does not exist, and its directory.

    Raises:
        OSError: it cannot be made.
    """
    make_directory(path.parent)
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        return


def absolute(path: str | os.PathLike[str]) -> Path:
    """Return a path that is valid from any directory: paths in the ledger are used from other
    directories.
    """
    return Path(os.path.abspath(os.path.expanduser(path)))


NO_LOCKS = "The file system supports no locks (NFS without a lock service?): use a local disk."
"""What to do if `lacks_locks` is true."""


def lacks_locks(error: BaseException) -> bool:
    """Whether an error of the system, or of SQLite, means that a file system has no locks."""
    known = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
    if isinstance(error, OSError) and error.errno in known:
        return True
    return "locking protocol" in str(error)
