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
        corners = (
            itertools.product(*({0, n - 1} for n in grid))
            if len(grid) <= 3
            else [(0,) * len(grid), tuple(n - 1 for n in grid)]
        )
        numbers = {int(np.ravel_multi_index(corner, grid)) if grid else 0 for corner in corners}
        random = np.random.default_rng(zlib.crc32(seed.encode()))
        numbers |= {int(number) for number in random.integers(0, total, samples)}
    keys = [np.unravel_index(number, grid) if grid else () for number in sorted(numbers)]
    return [
        tuple(
            slice(int(k) * c, min((int(k) + 1) * c, n))
            for k, c, n in zip(key, chunks, shape, strict=True)
        )
        for key in keys
    ]
