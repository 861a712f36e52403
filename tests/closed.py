"""A directory that this process may not list, although root runs the tests."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_VERSION = 0x20080522
"""Of the structures of capget(2): two sets of 32 capabilities, of which the first is meant here."""
_READ_ALL = 0b110
"""CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH: with them root reads what its owner may not read."""
_LIBC = ctypes.CDLL(None, use_errno=True)


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Set(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


@contextmanager
def closed(directory: Path, left: int = 0) -> Iterator[None]:
    """Take all permissions from a directory, and from this thread the right to ignore that.

    Args:
        directory: the directory.
        left: the permissions that are left.
    """
    mode = directory.stat().st_mode
    directory.chmod(left)
    header = _Header(_VERSION, 0)
    sets = (_Set * 2)()
    _call(_LIBC.capget, header, sets)
    before = sets[0].effective
    sets[0].effective = before & ~_READ_ALL
    _call(_LIBC.capset, header, sets)
    try:
        yield
    finally:
        sets[0].effective = before
        _call(_LIBC.capset, header, sets)
        directory.chmod(mode)


def _call(function: ctypes._CFuncPtr, header: _Header, sets: ctypes.Array[_Set]) -> None:
    if function(ctypes.byref(header), sets):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
