"""The readers' stack, imported while bytes are on their way: it takes as long as many a scan."""

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
    "dask.base",  # which xarray asks whether an array is one of dask
)
_TOOLS = ("esgvzarr", "xarray", "zarr", "kerchunk", "fsspec", "netCDF4", "h5py", "numpy")


def import_readers() -> threading.Thread:
    """Begin to import what the proof opens references and files with, in a thread.

    What cannot be imported is left to the proof, which says so. Python's own locks keep two threads
    from importing one module at the same time.
    """
    known_formats()  # shares libraries with the readers: in this thread, before the other begins
    thread = threading.Thread(target=_import_all, name="esgvzarr-imports", daemon=True)
    thread.start()
    return thread


def _import_all() -> None:
    for name in READERS_STACK:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


@cache
def versions() -> Mapping[str, str]:
    """The versions of the packages that take part in a proof. Looking them up takes 10 ms."""
    found = {}
    for name in _TOOLS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def warm_up() -> None:
    """Do what each copy of this process would do again: look up versions, and decode times, for
    which xarray looks around when it does so first. No thread is started.
    """
    import xarray

    versions()
    days = ("time", np.arange(2.0), {"units": "days since 2000-01-01", "calendar": "noleap"})
    xarray.decode_cf(xarray.Dataset({"time": days}))
