"""The lock for netCDF-C, which supports one thread at a time (netcdf-c issue 1373)."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Any


class _Lock:
    """A reentrant lock. It also takes xarray's own lock, so that other threads that read with
    xarray wait too.
    """

    def __init__(self) -> None:
        self._own = threading.RLock()
        self._depth = 0
        self._of_xarray: Any = None

    def __enter__(self) -> None:
        self._own.acquire()
        if self._depth == 0:
            try:
                self._take_that_of_xarray()
            except BaseException:
                self._own.release()
                raise
        self._depth += 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._depth -= 1
        if self._depth == 0:
            self._of_xarray.release()
        self._own.release()

    def _take_that_of_xarray(self) -> None:
        from xarray.backends.netCDF4_ import NETCDF4_PYTHON_LOCK

        self._of_xarray = NETCDF4_PYTHON_LOCK
        self._of_xarray.acquire()


NETCDF_C = _Lock()
"""Hold this lock while netCDF-C opens, reads, writes or closes a file."""
