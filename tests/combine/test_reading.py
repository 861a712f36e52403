"""How many time steps stock readers are told to take together."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from esgvzarr.combine.reading import LEAST, MOST, in_pieces, steps_together
from esgvzarr.model import Array, ChunkTable

ONE = ChunkTable(np.zeros((1, 3), np.int64), np.zeros(1, np.int64), np.ones(1, np.int64))


def array(chunk: int, ny: int, nx: int, steps: int, dtype: str = "f4", **attrs: float) -> Array:
    return Array(
        name="tas",
        dims=("time", "lat", "lon"),
        shape=(steps, ny, nx),
        chunk_shape=(chunk, ny, nx),
        dtype=np.dtype(dtype),
        fill_value=None,
        codecs=(),
        attrs=attrs,
        chunks=ONE,
        file_index=np.zeros(1, np.int64),
    )


@pytest.mark.parametrize(
    ("chunk", "grid", "lengths", "expected"),
    [
        (1, (144, 192), [120] * 16 + [60], 240),  # two files, 25 MiB
        (1, (720, 1440), [3650] * 3, 5),  # part of a file, 20 MiB
        (1, (720, 1440), [365, 366, 365], 5),  # files of no common length
        (18, (192, 288), [365] * 2, 90),  # files that end inside of a chunk of the grid
        (1, (10, 10), [1200], 1200),  # all of it is small
        (4, (3000, 3000), [40], 4),  # one stored chunk is large
        (512, (10, 10), [24], 0),  # one stored chunk is longer than all
    ],
)
def test_tasks_are_large_enough_and_end_where_files_end(
    chunk: int, grid: tuple[int, int], lengths: list[int], expected: int
) -> None:
    made = array(chunk, *grid, sum(lengths))
    assert steps_together([made], "time", lengths) == expected


@given(
    chunk=st.integers(1, 100),
    ny=st.integers(1, 2000),
    lengths=st.lists(st.integers(1, 4000), min_size=1, max_size=40),
)
def test_tasks_take_whole_chunks_and_bounded_memory(
    chunk: int, ny: int, lengths: list[int]
) -> None:
    made = array(chunk, ny, 720, sum(lengths))
    steps = steps_together([made], "time", lengths)
    size = steps * ny * 720 * 4
    assert steps % chunk == 0 or steps == sum(lengths)
    assert size <= MOST or steps < 2 * chunk or steps == -(-LEAST // (ny * 2880 * chunk)) * chunk
    whole = math.prod(made.shape) * 4
    assert size >= min(LEAST, whole) or steps == sum(lengths) or chunk > sum(lengths)


def test_packed_numbers_count_as_they_are_decoded() -> None:
    plain = steps_together([array(1, 720, 1440, 9000, "i2")], "time", [9000])
    packed = array(1, 720, 1440, 9000, "i2", scale_factor=0.1)
    assert steps_together([packed], "time", [9000]) * 3 <= plain


def test_data_without_time_get_no_advice() -> None:
    fixed = replace(array(1, 4, 6, 1), dims=("z", "lat", "lon"))
    assert steps_together([fixed], "time", [1]) == 0
    assert steps_together([fixed], None, [0]) == 0


def test_values_in_the_reference_file_are_the_same_in_pieces() -> None:
    values = np.arange(34.0).reshape(17, 2)
    bounds = replace(
        array(17, 1, 1, 17, "f8"),
        dims=("time", "bnds"),
        shape=(17, 2),
        chunk_shape=(17, 2),
        inline={(0, 0): values.tobytes()},
    )
    pieces = in_pieces(bounds, "time", 5)
    assert pieces.chunk_shape == (5, 2)
    parts = [np.frombuffer(data).reshape(5, 2) for data in pieces.inline.values()]
    assert np.array_equal(np.concatenate(parts)[:17], values)
    assert list(pieces.inline) == [(0, 0), (1, 0), (2, 0), (3, 0)]


def test_values_that_cannot_be_taken_apart_stay_in_one_piece() -> None:
    values = np.arange(17.0).tobytes()
    whole = replace(
        array(17, 1, 1, 17, "f8"),
        dims=("time",),
        shape=(17,),
        chunk_shape=(17,),
        inline={(0,): values},
    )
    for kept in (
        replace(whole, inline={}),
        replace(whole, inline={(0,): values, (1,): values}),
        replace(whole, codecs=({"id": "zlib"},)),
    ):
        assert in_pieces(kept, "time", 5) is kept
    assert in_pieces(whole, "time", 17) is whole
