"""Reduce a file to some of its time steps: chunks are referenced whole, or cut if they are
uncompressed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from ..model import ChunkTable, FileReferences, Variable
from .chunks import cut
from .runs import can_cut


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A file, or those of its steps that will be served."""

    file: FileReferences
    times: np.ndarray
    """(time,) int64 microseconds since 1970-01-01 of the calendar."""

    def meets(self, other: Part) -> bool:
        """Whether the time ranges of both overlap."""
        return bool(self.times[0] <= other.times[-1] and self.times[-1] >= other.times[0])

    def between(self, first: int, last: int) -> slice:
        """Return its steps from one time to another, both included."""
        return slice(
            int(np.searchsorted(self.times, first)), int(np.searchsorted(self.times, last, "right"))
        )


def chunk_length(part: Part, time: str) -> int:
    """Return the number of steps of which a part of the file must begin at a multiple, so that no
    compressed chunk is cut.
    """
    moving = [
        (variable, variable.dims.index(time))
        for variable in part.file.variables.values()
        if time in variable.dims
    ]
    fixed = [v.chunk_shape[axis] for v, axis in moving if v.values is None and not can_cut(v, axis)]
    return math.lcm(*(max(length, 1) for length in fixed))


def steps_of(part: Part, time: str, start: int, stop: int) -> Part:
    """Reduce a file to some of its steps.

    Args:
        part: the file, with its times.
        time: name of the time coordinate.
        start: the first step.
        stop: the step after the last.
    """
    count = len(part.times)
    if (start, stop) == (0, count):
        return part
    variables = {
        name: _cut_variable(variable, variable.dims.index(time), start, stop)
        if time in variable.dims
        else variable
        for name, variable in part.file.variables.items()
    }
    file = replace(
        part.file,
        variables=variables,
        dimensions={**part.file.dimensions, time: stop - start},
        repeated=part.file.repeated + count - (stop - start),
    )
    return Part(file, part.times[start:stop])


def _cut_variable(variable: Variable, axis: int, start: int, stop: int) -> Variable:
    """Reduce a variable to the steps from ``start`` to ``stop``: by its chunks, cut where possible,
    else by the values that were read.
    """
    values = (
        None
        if variable.values is None
        else variable.values[(slice(None),) * axis + (slice(start, stop),)]
    )
    shape = (*variable.shape[:axis], stop - start, *variable.shape[axis + 1 :])
    table = variable.chunks
    chunk_shape = variable.chunk_shape
    if start % max(chunk_shape[axis], 1) and can_cut(variable, axis):
        smaller = (
            *chunk_shape[:axis],
            math.gcd(chunk_shape[axis], start),
            *chunk_shape[axis + 1 :],
        )
        table = cut(table, chunk_shape, smaller, variable.shape)
        chunk_shape = smaller
    length = max(chunk_shape[axis], 1)
    if start % length and (
        len(table) or variable.inline
    ):  # No chunk begins at this step, so the values were read: see chunk_length.
        whole = {(0,) * len(shape): np.ascontiguousarray(values).tobytes()}
        return replace(
            variable,
            shape=shape,
            chunk_shape=shape,
            codecs=(),
            chunks=_no_chunks(len(shape)),
            inline=whole,
            values=values,
        )
    shift = np.array([start // length * (dim == axis) for dim in range(len(shape))], np.int64)
    inside = (table.keys[:, axis] >= shift[axis]) & (table.keys[:, axis] * length < stop)
    chunks = ChunkTable(table.keys[inside] - shift, table.offsets[inside], table.sizes[inside])
    inline = {
        tuple((np.array(key) - shift).tolist()): data
        for key, data in variable.inline.items()
        if shift[axis] <= key[axis] and key[axis] * length < stop
    }
    return replace(
        variable, shape=shape, chunk_shape=chunk_shape, chunks=chunks, inline=inline, values=values
    )


def _no_chunks(rank: int) -> ChunkTable:
    return ChunkTable(np.empty((0, rank), np.int64), np.empty(0, np.int64), np.empty(0, np.int64))
