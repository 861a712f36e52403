"""The last chunks of files, which HDF5 stores at full length whatever the file's: cut to what is
shown of them, and encoded again.
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
    """Along which the group was joined."""
    array: str
    key: tuple[int, ...]
    """In the joined array."""
    length: int
    """Along the joined dimension, as it is shown."""
    place: tuple[int, int, int] | None
    """(number of the file, first byte, byte after the last)."""
    data: bytes = b""
    """The chunk itself, where it was inline before."""


def ends_of(kind: End, table: ChunkTable, own: np.ndarray, at_end: np.ndarray) -> Iterator[End]:
    """The chunks of a table that are to be cut.

    Args:
        kind: what all of them have in common.
        table: of the segment.
        own: number of the file of each chunk.
        at_end: which of them are at the end of their file.
    """
    for row in np.flatnonzero(at_end).tolist():
        start = int(table.offsets[row])
        place = (int(own[row]), start, start + int(table.sizes[row]))
        yield replace(kind, key=tuple(table.keys[row].tolist()), place=place)


def cropped(array: Array, axis: int, length: int, data: bytes) -> bytes:
    """A stored chunk, cut to a length and encoded again.

    Args:
        array: whose chunk it is.
        axis: along which it is cut.
        length: that is shown.
        data: the chunk as stored.

    Raises:
        ValueError: it is damaged.
    """
    stored = _stored_shape(array, axis, data)
    part = stored[(*[slice(None)] * axis, slice(length))]
    encoded: Any = np.ascontiguousarray(part).tobytes()
    for codec in array.codecs:
        encoded = numcodecs.get_codec(dict(codec)).encode(encoded)
    return bytes(encoded)


def _stored_shape(array: Array, axis: int, data: bytes) -> np.ndarray:
    """The decoded chunk. Its length follows from its bytes: segments may differ in it."""
    largest = math.prod(array.chunk_shape) * array.dtype.itemsize
    decoded = decode(data, array.codecs, largest)
    numbers = np.frombuffer(decoded, array.dtype)
    shape = (*array.chunk_shape[:axis], -1, *array.chunk_shape[axis + 1 :])
    return numbers.reshape(shape)
