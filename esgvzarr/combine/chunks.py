"""Arithmetic on chunk tables: cut uncompressed chunks into smaller ones, find chunks that were
never written.
"""

from __future__ import annotations

import math

import numpy as np

from ..model import ChunkTable

LARGEST_PIECE = 16 * 2**20
"""Uncompressed data in pieces of more bytes are cut, so that readers of one time step need not
fetch the whole file.
"""


def cut(
    table: ChunkTable,
    chunk_shape: tuple[int, ...],
    smaller: tuple[int, ...],
    shape: tuple[int, ...],
) -> ChunkTable:
    """Refer to parts of uncompressed chunks in C order.

    Args:
        table: table of chunks of ``chunk_shape``.
        chunk_shape: (dimension,) elements of a stored chunk.
        smaller: (dimension,) elements of a part: 1 along the first dimensions, then a divisor of
            the chunk's length, then the whole length.
        shape: (dimension,) shape of the variable. Parts that begin beyond it are left out.
    """
    per_dim = tuple(stored // part for stored, part in zip(chunk_shape, smaller, strict=True))
    parts = math.prod(per_dim)
    if parts == 1:
        return table
    within = np.stack(np.unravel_index(np.arange(parts), per_dim), axis=1).astype(np.int64)
    keys = (table.keys[:, None, :] * np.array(per_dim, np.int64) + within).reshape(-1, len(shape))
    sizes = np.repeat(table.sizes // parts, parts)
    offsets = np.repeat(table.offsets, parts) + np.tile(np.arange(parts), len(table)) * sizes
    inside = (keys * np.array(smaller, np.int64) < np.array(shape, np.int64)).all(axis=1)
    return ChunkTable(keys[inside], offsets[inside], sizes[inside])


def cut_shape(
    chunk_shape: tuple[int, ...], itemsize: int, largest: int = LARGEST_PIECE
) -> tuple[int, ...]:
    """Return the largest shape of equal parts of at most ``largest`` bytes that are contiguous in
    an uncompressed chunk.
    """
    parts = list(chunk_shape)
    for dim, length in enumerate(chunk_shape):
        step = math.prod(parts[dim + 1 :]) * itemsize
        if length * step <= largest:
            break
        parts[dim] = max((d for d in _divisors(length) if d * step <= largest), default=1)
        if parts[dim] > 1:
            break
    return tuple(parts)


def _divisors(number: int) -> set[int]:
    small = {d for d in range(1, math.isqrt(number) + 1) if number % d == 0}
    return small | {number // d for d in small}


def missing(keys: np.ndarray, grid: tuple[int, ...]) -> np.ndarray:
    """Return (chunk, dimension) the keys of the chunk grid that are not among ``keys``."""
    if not grid:
        return np.empty((0 if len(keys) else 1, 0), np.int64)
    present = np.zeros(math.prod(grid), bool)
    if len(keys):
        present[np.ravel_multi_index(tuple(keys.T), grid)] = True
    return np.stack(np.unravel_index(np.flatnonzero(~present), grid), axis=1).astype(np.int64)
