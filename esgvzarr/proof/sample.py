"""Which chunks of a variable are read back. Pure; the random ones are the same for the same
dataset.
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
    """Boxes of one chunk each: the first, the last, those where a file begins and ends, and
    ``samples`` at random.

    Args:
        shape: of the variable in one file.
        chunks: elements per dimension of a chunk.
        samples: how many more.
        seed: usually the dataset id, the file and the variable.
        full: every chunk.
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
    """Numbers of the chunks at the corners of a grid; beyond three dimensions the first and the
    last.
    """
    if not grid:
        return {0}
    if len(grid) > 3:
        return {0, math.prod(grid) - 1}
    corners = itertools.product(*[(0, count - 1) for count in grid])
    return {int(np.ravel_multi_index(corner, grid)) for corner in corners}


def _box(number: int, grid: Sequence[int], shape: Sequence[int], chunks: Sequence[int]) -> Box:
    """The elements of a chunk, which ends where the variable ends."""
    key = np.unravel_index(number, grid) if grid else ()
    box = []
    for place, length, size in zip(key, chunks, shape, strict=True):
        begin = int(place) * length
        box.append(slice(begin, min(begin + length, size)))
    return tuple(box)
