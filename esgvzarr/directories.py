"""Look into directories of this machine. A directory into which this user may not look is an error.

The functions of the standard library that search directories (``glob``, ``os.walk``, ``rglob``)
treat such a directory as empty: what is in it would be left out without a word. ``os.path.exists``
says that what is in it does not exist; ``Path.exists`` raises or says so, depending on the version
of Python.
"""

from __future__ import annotations

import errno
import fnmatch
import glob
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NoReturn

from .errors import TransportError

_NOTHING = frozenset((errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP))
"""Errors that say that a path leads to nothing."""


def is_there(path: str | os.PathLike[str]) -> bool:
    """Whether a path leads to something.

    Raises:
        OSError: this user may not know.
    """
    try:
        os.stat(path)
    except ValueError:  # a path with a null character
        return False
    except OSError as error:
        if error.errno in _NOTHING:
            return False
        raise
    return True


def exists(path: str | os.PathLike[str]) -> bool:
    """Whether a path leads to something.

    Raises:
        TransportError: this user may not know.
    """
    try:
        return is_there(path)
    except OSError as error:
        raise TransportError(
            os.fspath(path),
            f"cannot be read: {error.strerror}",
            expected="a path in directories that this user may enter",
            todo="Let this user enter them, or name another path.",
            code="transport-path",
        ) from error


def _listing_error(directory: str | os.PathLike[str], error: OSError) -> TransportError:
    return TransportError(
        os.fspath(directory),
        f"cannot be listed: {error.strerror}",
        expected="a directory that this user may list and enter",
        todo="Let this user read it, or name places without it.",
        code="transport-path",
    )


def _refuse(error: OSError) -> NoReturn:
    raise _listing_error(error.filename, error) from error


def _names_in(directory: str | os.PathLike[str]) -> list[str]:
    """Return the names in a directory, which this process may also enter."""
    return os.listdir(os.path.join(directory, "."))


def entries(directory: Path, pattern: str = "*") -> list[Path]:
    """Return the entries of a directory whose names match a pattern, in the order of their names.
    It is empty if there is no such directory.

    Raises:
        TransportError: the directory cannot be listed.
    """
    try:
        names = _names_in(directory)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise _listing_error(directory, error) from error
    return [directory / name for name in sorted(fnmatch.filter(names, pattern))]


def files_below(directory: Path) -> list[Path]:
    """Return all files below a directory, at any depth, in the order of their paths.

    Raises:
        TransportError: a directory cannot be listed.
    """
    found = []
    for parent, _, names in os.walk(directory, onerror=_refuse):
        found += [Path(parent) / name for name in names]
    return sorted((path for path in found if path.is_file()), key=Path.as_posix)


def named_below(
    directory: Path,
    endings: Sequence[str],
    unlisted: Callable[[TransportError], None],
) -> Iterator[Path]:
    """Yield files and directories below a directory whose names end in one of the endings. What is
    hidden, or inside of such a directory, is left out.

    Args:
        directory: where to look, at any depth.
        endings: endings of names.
        unlisted: receives the error of each directory that cannot be listed.
    """

    def tell(error: OSError) -> None:
        unlisted(_listing_error(error.filename, error))

    suffixes = tuple(endings)
    for parent, subdirectories, names in os.walk(directory, onerror=tell):
        visible = sorted(name for name in subdirectories if not name.startswith("."))
        found = [name for name in visible if name.endswith(suffixes)]
        subdirectories[:] = [name for name in visible if name not in found]
        found += [name for name in names if name.endswith(suffixes) and not name.startswith(".")]
        for name in sorted(found):
            yield Path(parent) / name


def matching(pattern: str) -> list[str]:
    """Return the paths that match a pattern of the shell, in which ``**`` stands for directories at
    any depth, in their order.

    Raises:
        TransportError: a directory that may have such paths cannot be listed or entered.
    """
    for directory, name in _searched_for(pattern):
        try:
            if glob.has_magic(name):
                _names_in(directory)
            else:
                os.stat(os.path.join(directory, "."))
        except OSError as error:
            raise _listing_error(directory, error) from error
    return sorted(glob.glob(pattern, recursive=True))


def _searched_for(pattern: str) -> Iterator[tuple[str, str]]:
    """Yield the directories that match the first parts of a pattern, each with the next part. If
    that is a plain name, the directory need not be listed, but entered.
    """
    while glob.has_magic(pattern):
        pattern, name = os.path.split(pattern)
        for directory in glob.glob(os.path.join(pattern or ".", ""), recursive=True):
            yield directory, name
