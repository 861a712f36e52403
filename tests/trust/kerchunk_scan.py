"""kerchunk's references of HDF5 files, for tests that compare with them."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any


def scanned(path: Path) -> dict[str, Any]:
    """What kerchunk refers to in one file.

    kerchunk waits for zarr's thread while it holds h5py's lock. If Python collects garbage in that
    thread and comes upon an h5py object, both wait for each other for ever. So no garbage is
    collected meanwhile.
    """
    from kerchunk.hdf import SingleHdf5ToZarr

    gc.disable()
    try:
        references: dict[str, Any] = SingleHdf5ToZarr(str(path), inline_threshold=0).translate()
    finally:
        gc.enable()
    return references
