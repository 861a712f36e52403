"""The readers' stack, imported while bytes are on their way: it takes as long as many a scan."""

from __future__ import annotations

import contextlib
import importlib
import threading

from ..formats import known_formats

READERS_STACK = ("xarray", "zarr", "kerchunk.xarray_backend", "fsspec", "aiohttp", "netCDF4")


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
