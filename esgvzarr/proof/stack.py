"""Import the readers' packages while bytes are being fetched: the imports take as long as many a
scan.
"""

from __future__ import annotations

import contextlib
import importlib
import threading
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version

import numpy as np

from ..formats import known_formats

READERS_STACK = (
    "xarray",
    "zarr",
    "kerchunk.xarray_backend",
    "fsspec",
    "aiohttp",
    "netCDF4",
    "dask.base",  # xarray asks dask.array whether an array belongs to dask.
)
_TOOLS = ("esgvzarr", "xarray", "zarr", "kerchunk", "fsspec", "netCDF4", "h5py", "numpy")


def import_readers() -> threading.Thread:
    """Begin to import, in a thread, what the proof opens references and files with.

    If a package cannot be imported, the proof reports it later. Python's own locks keep two threads
    from importing one module at the same time.
    """
    # It shares libraries with the readers, so it is imported in this thread, before the other one
    # begins.
    known_formats()
    thread = threading.Thread(target=_import_all, name="esgvzarr-imports", daemon=True)
    thread.start()
    return thread


def _import_all() -> None:
    for name in READERS_STACK:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


@cache
def versions() -> Mapping[str, str]:
    """Return the versions of the packages that take part in a proof. Looking them up takes
    10 ms.
    """
    found = {}
    for name in _TOOLS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def warm_up() -> None:
    """Do once what each forked copy of this process would otherwise repeat: look up versions, and
    decode times, which makes xarray look for its backends. No thread is started.
    """
    import xarray

    versions()
    attrs = {"units": "days since 2000-01-01", "calendar": "noleap"}
    # Without `fastpath`, xarray would import dask.array for a variable made of an array.
    days = xarray.Variable(("time",), np.arange(2.0), attrs, fastpath=True)
    xarray.decode_cf(xarray.Dataset({"time": days}))
