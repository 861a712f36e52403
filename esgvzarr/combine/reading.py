"""Choose how many time steps stock readers should take together. No input or output.

A task that fetches one small chunk waits longer than it computes. With tasks of 16 to 64 MiB, the
chunks of a task are fetched at the same time, and memory is bounded. Tasks end where files end if
possible, so that a task opens few files.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..model import Array

LEAST = 16 * 2**20
"""The least size of a task's data, decoded, in bytes."""
MOST = 64 * 2**20
"""The largest size of a task's data, decoded, in bytes."""


def steps_together(arrays: Sequence[Array], time: str | None, lengths: Sequence[int]) -> int:
    """Return the time steps of a dask chunk: a multiple of the stored chunks' length. 0 means no
    advice, for instance if no data change with time.

    Args:
        arrays: the arrays of one group.
        time: the name of the time dimension.
        lengths: time steps of each file.
    """
    moving = [array for array in arrays if time in array.dims and len(array.chunks)]
    if not moving:
        return 0
    unit = math.lcm(*(array.chunk_shape[array.dims.index(str(time))] for array in moving))
    step = max(_bytes_of_step(array, str(time)) for array in moving)
    total = sum(lengths)
    if unit > total:
        return 0
    if unit == total or unit * step >= MOST:
        return unit
    return _between_limits(lengths, unit, step)


def _between_limits(lengths: Sequence[int], unit: int, step: int) -> int:
    """Return the fewest steps of at least ``LEAST`` bytes; whole files, if these stay within
    ``MOST``.

    Args:
        lengths: time steps of each file.
        unit: the result is a multiple of this number of steps.
        step: bytes of one step.
    """
    total = sum(lengths)
    least = -(-LEAST // step)
    if total <= least:
        return total
    steps = _by_whole_files(_common_length(lengths), unit, least)
    if steps and steps * step <= MOST:
        return min(steps, total)
    return -(-least // unit) * unit


def _by_whole_files(file: int, unit: int, least: int) -> int:
    """Return the fewest steps, but at least ``least``, that are whole files or divide one; 0 if
    files do not end where chunks end.
    """
    if not file or file % unit:
        return 0
    if file <= least:
        return -(-least // file) * file
    return next(
        steps for steps in range(least, file + 1) if file % steps == 0 and steps % unit == 0
    )


def _common_length(lengths: Sequence[int]) -> int:
    """Return the common length of all files but the last, which may be shorter; 0 if they
    differ.
    """
    first = lengths[0]
    equal = all(length == first for length in lengths[:-1])
    return first if equal and lengths[-1] <= first else 0


def _bytes_of_step(array: Array, time: str) -> int:
    """Return the decoded bytes of one time step of one stored chunk."""
    sizes = [n for n, dim in zip(array.chunk_shape, array.dims, strict=True) if dim != time]
    packed = {"scale_factor", "add_offset"} & set(array.attrs)
    return math.prod(sizes) * (8 if packed else array.dtype.itemsize)


def in_pieces(array: Array, time: str, steps: int) -> Array:
    """Split an array whose values are in the reference file into chunks of this many time steps.

    xarray warns of dask chunks that cut stored chunks. Arrays that are not data should not cause
    this warning.
    """
    whole = array.inline.get((0,) * len(array.shape))
    axis = array.dims.index(time)
    if whole is None or len(array.inline) > 1 or array.codecs or array.shape[axis] <= steps:
        return array
    values = np.frombuffer(whole, array.dtype).reshape(array.shape)
    chunk = (*array.shape[:axis], steps, *array.shape[axis + 1 :])
    pieces = {}
    for number, first in enumerate(range(0, array.shape[axis], steps)):
        piece = np.zeros(chunk, array.dtype)
        part = values[(slice(None),) * axis + (slice(first, first + steps),)]
        piece[(slice(None),) * axis + (slice(0, part.shape[axis]),)] = part
        place = tuple(number if dim == axis else 0 for dim in range(len(chunk)))
        pieces[place] = piece.tobytes()
    return replace(array, chunk_shape=chunk, inline=pieces)
