"""The last chunks of files, which HDF5 stores at full length even if the file is shorter: they are
cut to the length that is shown, and encoded again.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numcodecs
import numpy as np

from ..inflate import decode
from ..model import Array, ChunkTable


@dataclass(frozen=True, slots=True, eq=False)
class End:
    """A chunk that is stored longer than it is shown."""

    group: int
    """Number of the joined group."""
    dim: str
    """The axis along which the group was joined."""
    array: str
    key: tuple[int, ...]
    """Key of the chunk in the joined array."""
    length: int
    """Length along the joined axis, as it is shown."""
    place: tuple[int, int, int] | None
    """(number of the file, first byte, byte after the last)."""
    data: bytes = b""
    """The bytes of the chunk, if it was inline before."""


def ends_of(kind: End, table: ChunkTable, own: np.ndarray, at_end: np.ndarray) -> Iterator[End]:
    """Return the chunks of a table that will be cut.

    Args:
        kind: the properties that all of them share.
        table: table of the segment.
        own: (chunk,) number of the file.
        at_end: (chunk,) bool: whether the chunk is at the end of its file.
    """
    for row in np.flatnonzero(at_end).tolist():
        start = int(table.offsets[row])
        place = (int(own[row]), start, start + int(table.sizes[row]))
        yield replace(kind, key=tuple(table.keys[row].tolist()), place=place)


def cropped(array: Array, axis: int, length: int, data: bytes) -> bytes:
    """Cut a stored chunk to a length, and encode it again.

    Args:
        array: the array of the chunk.
        axis: the axis along which the chunk is cut.
        length: the length that is shown.
        data: the chunk as stored.

    Raises:
        ValueError: the chunk is damaged.
    """
    stored = _stored_shape(array, axis, data)
    part = stored[(*[slice(None)] * axis, slice(length))]
    encoded: Any = np.ascontiguousarray(part).tobytes()
    for codec in array.codecs:
        encoded = numcodecs.get_codec(dict(codec)).encode(encoded)
    return bytes(encoded)


def _stored_shape(array: Array, axis: int, data: bytes) -> np.ndarray:
    """Return the decoded chunk. Its length follows from its bytes, because segments may differ in
    it.
    """
    largest = math.prod(array.chunk_shape) * array.dtype.itemsize
    decoded = decode(data, array.codecs, largest)
    numbers = np.frombuffer(decoded, array.dtype)
    shape = (*array.chunk_shape[:axis], -1, *array.chunk_shape[axis + 1 :])
    return numbers.reshape(shape)
