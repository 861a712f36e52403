"""The last chunks of files, cut to what is shown of them."""

from __future__ import annotations

import zlib

import numpy as np
import pytest

from esgvzarr.combine.ends import End, cropped, ends_of
from esgvzarr.model import Array, ChunkTable

KIND = End(2, "time", "tas", (), 3, None)


def test_the_chunks_that_are_to_be_cut_are_told_with_their_bytes() -> None:
    keys = np.array([[0, 0], [1, 0], [1, 1]])
    table = ChunkTable(keys, np.array([100, 300, 500]), np.array([7, 9, 11]))
    found = list(ends_of(KIND, table, np.array([4, 4, 5]), np.array([False, True, True])))
    assert [(end.key, end.place) for end in found] == [
        ((1, 0), (4, 300, 309)),
        ((1, 1), (5, 500, 511)),
    ]
    assert {(end.group, end.dim, end.array, end.length) for end in found} == {(2, "time", "tas", 3)}


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("stored", [4, 6])
def test_a_chunk_is_cut_and_encoded_again(axis: int, stored: int) -> None:
    """Its length follows from its bytes: segments may differ in it."""
    shape = (stored, 2) if axis == 0 else (2, stored)
    numbers = np.arange(2 * stored, dtype="<i4").reshape(shape)
    none = ChunkTable(np.empty((0, 2), np.int64), np.empty(0, np.int64), np.empty(0, np.int64))
    array = Array(
        name="tas",
        dims=("time", "x"),
        shape=(20, 20),
        chunk_shape=(6, 2) if axis == 0 else (2, 6),
        dtype=np.dtype("<i4"),
        fill_value=None,
        codecs=({"id": "zlib", "level": 1},),
        attrs={},
        chunks=none,
        file_index=np.empty(0, np.int64),
    )
    data = cropped(array, axis, 3, zlib.compress(numbers.tobytes(), 1))
    kept = numbers[:3] if axis == 0 else numbers[:, :3]
    assert zlib.decompress(data) == kept.tobytes()
