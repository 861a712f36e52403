"""Read bytes of local files."""

from __future__ import annotations

import os

from ..errors import TransportError
from .validators import State, States


def state_of_path(path: str) -> State:
    """Return size, time of the last change and inode of a file.

    Raises:
        TransportError: ``transport-path``.
    """
    try:
        return State.of_path(os.stat(path))
    except OSError as error:
        raise path_error(path, error) from error


def read_path(path: str, start: int, stop: int, states: States) -> bytes:
    """Return the bytes from ``start`` to ``stop`` of a file, which must be unchanged since it was
    first seen.

    Args:
        path: path of the file.
        start: first byte.
        stop: the byte after the last.
        states: states of files that were seen before.

    Raises:
        TransportError: the file cannot be read, was replaced, or is shorter.
    """
    try:
        with open(path, "rb", buffering=0) as file:
            states.compare(path, State.of_path(os.fstat(file.fileno())))
            data = os.pread(file.fileno(), stop - start, start)
            while data and len(data) < stop - start:
                more = os.pread(file.fileno(), stop - start - len(data), start + len(data))
                if not more:
                    break
                data += more
    except OSError as error:
        raise path_error(path, error) from error
    if len(data) != stop - start:
        raise TransportError(
            path,
            f"ends at byte {start + len(data)}",
            expected=f"at least {stop} bytes",
            code="transport-truncated",
        )
    return data


def path_error(path: str, error: OSError) -> TransportError:
    """Make the error for a file that the file system does not let this process read."""
    return TransportError(path, f"cannot be read: {error.strerror}", code="transport-path")


def too_large(location: str, limit: int) -> TransportError:
    """Make the error for a document that is too large."""
    return TransportError(
        location,
        f"is larger than {limit} bytes",
        expected="a small document",
        code="transport-too-large",
    )
