"""Chunk grids as arithmetic."""

from __future__ import annotations

import numpy as np

from esgvzarr.combine.chunks import cut_shape, missing


def test_a_chunk_is_cut_by_the_largest_divisor_that_fits() -> None:
    assert cut_shape((9,), 4, 12) == (3,)
    assert cut_shape((12,), 4, 16) == (4,)
    assert cut_shape((16,), 4, 16) == (4,)


def test_a_scalar_misses_one_chunk_or_none() -> None:
    assert missing(np.empty((0, 0), np.int64), ()).shape == (1, 0)
    assert missing(np.empty((1, 0), np.int64), ()).shape == (0, 0)
