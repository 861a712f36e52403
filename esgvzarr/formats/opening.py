"""Measure what a reader of one file fetches before it can show anything: metadata and
coordinates.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np

from ..transport import Transport, is_url
from ..transport.files import RangeFile, ReadOnlyFile

BLOCK = 64 * 1024
"""The least number of bytes that readers fetch at a time."""


@dataclass(frozen=True, slots=True)
class Opening:
    """How much a reader fetches to open a file."""

    requests: int
    """Number of byte ranges; near ranges count as one."""
    bytes: int
    metadata_together: bool
    """Whether all metadata, without the values of coordinates, lie in one range."""


class _Watched(ReadOnlyFile):
    """A file object that records which blocks were read."""

    def __init__(self, file: ReadOnlyFile) -> None:
        self._file = file
        self.size = file.size
        self.blocks: set[int] = set()

    def bytes_between(self, start: int, stop: int) -> bytes:
        """Read bytes, and record their blocks."""
        self.blocks.update(range(start // BLOCK, -(-stop // BLOCK)))
        return self._file.bytes_between(start, stop)


class _LocalFile(ReadOnlyFile):
    def __init__(self, path: str) -> None:
        self._handle = open(path, "rb")  # noqa: SIM115  (closed with the object)
        self.size = os.fstat(self._handle.fileno()).st_size

    def bytes_between(self, start: int, stop: int) -> bytes:
        self._handle.seek(start)
        return self._handle.read(stop - start)

    def close(self) -> None:
        self._handle.close()
        super().close()


def measure_opening(place: str, transport: Transport) -> Opening:
    """Open an HDF5 file as readers do, and count the byte ranges.

    Args:
        place: URL or path.
        transport: reads URLs.

    Raises:
        OSError: it is no HDF5 file, or cannot be read.
    """
    inner: ReadOnlyFile = RangeFile(transport, place) if is_url(place) else _LocalFile(place)
    watched = _Watched(inner)
    with h5py.File(watched, "r") as file:
        coordinates = list(_look_at_metadata(file))
        together = _ranges(watched.blocks)
        for variable in coordinates:
            np.asarray(variable[()])
    inner.close()
    return Opening(_ranges(watched.blocks), len(watched.blocks) * BLOCK, together <= 1)


def _look_at_metadata(file: Any) -> Iterator[Any]:
    """Read all metadata; yield the variables whose values readers read at once."""
    dict(file.attrs)
    for name in file:
        variable = file[name]
        if not isinstance(variable, h5py.Dataset):
            continue
        for attribute in variable.attrs:
            variable.attrs.get_id(attribute)
        variable.chunks  # noqa: B018  (reads the layout)
        if variable.is_scale and variable.ndim == 1 and variable.dtype.kind in "iuf":
            yield variable


def _ranges(blocks: set[int]) -> int:
    """Count runs of neighbouring blocks."""
    return sum(block - 1 not in blocks for block in blocks)
