"""What the NetCDF files really hold, read by libraries that have no part in making references:
netCDF4, or h5netcdf over HTTP.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ProofError
from ..model import FileRecord
from ..transport import Transport
from ..transport.files import RangeFile

if TYPE_CHECKING:
    import xarray

_MOST_DOWNLOAD = 4 * 2**30
"""Bytes of a netCDF-3 file that are read whole: no library reads parts of one over HTTP."""


Source = str | RangeFile
"""A path, or a file over HTTP."""
Counted = tuple[int, int, bool]
"""Chunks of a variable, their bytes, whether they are filtered."""


def open_sources(files: Sequence[FileRecord], transport: Transport) -> list[Source]:
    """Where each file is read: its path if it has one, else its URL. The first bytes of all URLs
    are fetched at once.
    """
    paths = [
        next((place for place in (file.path, file.url) if place and os.path.exists(place)), None)
        for file in files
    ]
    urls = [file.url for file, path in zip(files, paths, strict=True) if path is None]
    heads = dict(zip(urls, transport.read_heads(urls, RangeFile.HEAD), strict=True))
    return [
        path or RangeFile(transport, file.url, heads[file.url])
        for file, path in zip(files, paths, strict=True)
    ]


@contextmanager
def open_truth(source: Source, subject: str) -> Iterator[xarray.Dataset]:
    """One source file as it is: nothing decoded, nothing masked."""
    import xarray

    with xarray.open_dataset(_store(source, subject), decode_cf=False, cache=False) as dataset:
        yield dataset


def _store(source: Source, subject: str) -> Any:
    import netCDF4
    import xarray

    if isinstance(source, str):
        return xarray.backends.NetCDF4DataStore(_strict(netCDF4.Dataset(source)))  # type: ignore[no-untyped-call, unused-ignore]
    if not _is_classic(source):
        import h5netcdf  # type: ignore[import-untyped, unused-ignore]

        return xarray.backends.H5NetCDFStore(
            h5netcdf.File(source, "r", decode_vlen_strings=True, phony_dims="access")
        )
    if source.size > _MOST_DOWNLOAD:
        found = f"is a netCDF-3 file of {source.size} bytes"
        raise ProofError(
            subject, found, expected="a local copy to compare with", code="proof-too-large"
        )
    source.prefetch([(0, source.size)])
    opened = netCDF4.Dataset(subject.rsplit("/", 1)[-1], memory=source.read(source.size))
    return xarray.backends.NetCDF4DataStore(_strict(opened))  # type: ignore[no-untyped-call, unused-ignore]


def _is_classic(source: RangeFile) -> bool:
    source.seek(0)
    magic = source.read(3)
    source.seek(0)
    return magic == b"CDF"


def _strict(opened: Any) -> Any:
    """netCDF4 with all its conveniences off: stored numbers come out."""
    opened.set_auto_maskandscale(False)
    opened.set_auto_chartostring(False)
    return opened


def stored_chunks(source: Source) -> dict[str, Counted]:
    """Variable -> (chunks, bytes, filtered) by HDF5's own count; empty for netCDF-3, whose size
    follows from shapes.

    Over HTTP this reads all nodes of the chunk indexes, one after the other.
    """
    import h5py

    if not h5py.is_hdf5(source) if isinstance(source, str) else _is_classic(source):
        return {}
    with h5py.File(source, "r") as opened:
        return {
            name.removeprefix("_nc4_non_coord_"): _count(node)
            for name, node in opened.items()
            if isinstance(node, h5py.Dataset)
        }


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
