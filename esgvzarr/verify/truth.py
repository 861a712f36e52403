"""What the NetCDF files really hold, read by libraries that have no part in making references: netCDF4, or h5netcdf over HTTP."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ProofError
from ..model import FileRecord
from ..transport import RangeFile, Transport

if TYPE_CHECKING:
    import xarray

_MOST_DOWNLOAD = 4 * 2**30
"""Bytes of a netCDF-3 file that are read whole: no library reads parts of one over HTTP."""


@contextmanager
def open_truth(file: FileRecord, transport: Transport) -> Iterator[xarray.Dataset]:
    """One source file as it is: nothing decoded, nothing masked. From its path if it has one, else from its URL."""
    import xarray

    path = file.path if file.path and os.path.exists(file.path) else None
    if path is None and os.path.exists(file.url):
        path = file.url
    with xarray.open_dataset(_store(path, file.url, transport), decode_cf=False, cache=False) as dataset:
        yield dataset


def _store(path: str | None, url: str, transport: Transport) -> Any:
    import netCDF4
    import xarray

    if path is not None:
        return xarray.backends.NetCDF4DataStore(_strict(netCDF4.Dataset(path)))
    file = RangeFile(transport, url)
    if file.read(3) != b"CDF":
        import h5netcdf

        file.seek(0)
        return xarray.backends.H5NetCDFStore(h5netcdf.File(file, "r", decode_vlen_strings=True, phony_dims="access"))
    if file.size > _MOST_DOWNLOAD:
        raise ProofError(url, f"is a netCDF-3 file of {file.size} bytes", expected="a local copy to compare with", code="proof-too-large")
    file.seek(0)
    return xarray.backends.NetCDF4DataStore(_strict(netCDF4.Dataset(url.rsplit("/", 1)[-1], memory=file.read())))


def _strict(opened: Any) -> Any:
    """netCDF4 with all its conveniences off: stored numbers come out."""
    opened.set_auto_maskandscale(False)
    opened.set_auto_chartostring(False)
    return opened


def stored_chunks(file: FileRecord, transport: Transport) -> dict[str, tuple[int, int, bool]]:
    """Variable -> (chunks, bytes, filtered) by HDF5's own count; empty for netCDF-3, whose size follows from shapes."""
    import h5py

    local = file.path if file.path and os.path.exists(file.path) else (file.url if os.path.exists(file.url) else None)
    source: Any = local or RangeFile(transport, file.url)
    if not h5py.is_hdf5(source) if local else source.read(4) != b"\x89HDF":
        return {}
    with h5py.File(source, "r") as opened:
        return {name.removeprefix("_nc4_non_coord_"): _count(node) for name, node in opened.items() if isinstance(node, h5py.Dataset)}


def _count(node: Any) -> tuple[int, int, bool]:
    if node.chunks is None:
        size = node.id.get_storage_size()
        return (1 if size else 0), size, False
    filtered = node.id.get_create_plist().get_nfilters() > 0
    return node.id.get_num_chunks(), node.id.get_storage_size(), filtered


def equal(a: np.ndarray, b: np.ndarray) -> bool:
    """Equal number for number, NaN being NaN, text being text however it is held."""
    if a.shape != b.shape:
        return False
    if a.dtype.kind in "OSUT" or b.dtype.kind in "OSUT":
        return [_text(x) for x in a.ravel().tolist()] == [_text(x) for x in b.ravel().tolist()]
    return bool(np.array_equal(a, b, equal_nan=a.dtype.kind == "f" and b.dtype.kind == "f"))


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace").rstrip("\0") if isinstance(value, bytes) else str(value)
