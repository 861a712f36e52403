"""Choose the chunks of a variable that are compared. No input or output; a dataset always gets the
same random chunks.
"""

from __future__ import annotations

import itertools
import math
import zlib
from collections.abc import Sequence

import numpy as np

Box = tuple[slice, ...]


def choose(
    shape: Sequence[int], chunks: Sequence[int], *, samples: int, seed: str, full: bool = False
) -> list[Box]:
    """Choose boxes of one chunk each: the first, the last, those where a file begins and ends, and
    ``samples`` random ones.

    Args:
        shape: (dimension,) shape of the variable in one file.
        chunks: (dimension,) elements per chunk.
        samples: number of random chunks.
        seed: usually the dataset id, the file and the variable.
        full: choose every chunk.
    """
    grid = [max(1, math.ceil(n / max(c, 1))) for n, c in zip(shape, chunks, strict=True)]
    if 0 in shape:
        return []
    total = math.prod(grid)
    if full:
        numbers = set(range(total))
    else:
        numbers = _corners(grid)
        random = np.random.default_rng(zlib.crc32(seed.encode()))
        numbers |= set(random.integers(0, total, samples).tolist())
    return [_box(number, grid, shape, chunks) for number in sorted(numbers)]


def _corners(grid: Sequence[int]) -> set[int]:
    """Return the numbers of the chunks at the corners of a grid; beyond three dimensions, of the
    first and the last chunk.
    """
    if not grid:
        return {0}
    if len(grid) > 3:
        return {0, math.prod(grid) - 1}
    corners = itertools.product(*[(0, count - 1) for count in grid])
    return {int(np.ravel_multi_index(corner, grid)) for corner in corners}


def _box(number: int, grid: Sequence[int], shape: Sequence[int], chunks: Sequence[int]) -> Box:
    """Return the elements of a chunk, which ends where the variable ends."""
    key = np.unravel_index(number, grid) if grid else ()
    box = []
    for place, length, size in zip(key, chunks, shape, strict=True):
        begin = int(place) * length
        box.append(slice(begin, min(begin + length, size)))
    return tuple(box)
