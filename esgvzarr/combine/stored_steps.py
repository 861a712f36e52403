"""Compare steps that two files hold, number for number, as they are stored."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..formats import location_of
from ..formats.values import decode
from ..model import ChunkTable, FileReferences, Variable
from ..transport import Range, Transport
from .chunks import cut, cut_shape
from .runs import can_cut

_AT_ONCE = 32 * 2**20
"""Bytes of each file that are compared at a time; more if a single chunk is larger."""
_Box = tuple[slice, ...]


@dataclass(frozen=True, slots=True, eq=False)
class StoredSteps:
    """A variable in a file, whose steps are counted from ``begin``."""

    variable: Variable
    axis: int
    begin: int
    file: FileReferences

    def chunks_of(self, box: _Box) -> tuple[Variable, _Box]:
        """Return the chunks that hold a box, as a variable of their own, and the box within it."""
        moved = [
            (s.start + self.begin * (dim == self.axis), s.stop + self.begin * (dim == self.axis))
            for dim, s in enumerate(box)
        ]
        if self.variable.values is not None:
            return self.variable, tuple(slice(*places) for places in moved)
        starts, stops = np.array(moved, np.int64).T
        size = np.maximum(self.variable.chunk_shape, 1)
        low = starts // size
        high = -(-stops // size)
        table = self.variable.chunks
        inline = self.variable.inline.items()
        inside = ((table.keys >= low) & (table.keys < high)).all(axis=1)
        own = replace(
            self.variable,
            shape=tuple((np.minimum(high * size, self.variable.shape) - low * size).tolist()),
            chunks=ChunkTable(table.keys[inside] - low, table.offsets[inside], table.sizes[inside]),
            inline={
                tuple((key - low).tolist()): data
                for key, data in inline
                if ((key >= low) & (key < high)).all()
            },
        )
        return own, tuple(map(slice, (starts - low * size).tolist(), (stops - low * size).tolist()))


def first_difference(
    transport: Transport, read: str, a: StoredSteps, b: StoredSteps, count: int
) -> int | None:
    """Return the first step at which two variables hold different numbers; None if there is none.

    Args:
        transport: reads the chunks of both.
        read: ``http``, ``local`` or ``auto``, as the setting of that name.
        a: the steps in one file.
        b: the same steps in another file.
        count: number of steps.
    """
    a, b = (replace(one, variable=_in_pieces(one.variable)) for one in (a, b))
    for steps, boxes in itertools.groupby(_boxes(a, b, count), key=lambda box: box[a.axis].start):
        found = []
        for box in boxes:
            one, other = (
                _by_step(values, a.axis) for values in _read([a, b], box, transport, read)
            )
            found += np.flatnonzero((one != other).any(axis=1))[:1].tolist()
        if found:
            return int(steps + min(found))
    return None


def _in_pieces(variable: Variable) -> Variable:
    """Split a variable that is stored in one large piece, so that it can be read in parts."""
    if not can_cut(variable, 0) or variable.values is not None:
        return variable
    smaller = cut_shape(variable.chunk_shape, variable.dtype.itemsize)
    return replace(
        variable,
        chunk_shape=smaller,
        chunks=cut(variable.chunks, variable.chunk_shape, smaller, variable.shape),
    )


def _boxes(a: StoredSteps, b: StoredSteps, count: int) -> Iterator[_Box]:
    """Split the repeated steps into parts of as many chunks as are read at once, in time order."""
    shape = [count if dim == a.axis else size for dim, size in enumerate(a.variable.shape)]
    box = [
        min(max(sizes), n)
        for *sizes, n in zip(a.variable.chunk_shape, b.variable.chunk_shape, shape, strict=True)
    ]
    others = [dim for dim in range(len(shape)) if dim != a.axis]
    for dim in (*reversed(others), a.axis):
        room = _AT_ONCE // max(math.prod(box) * a.variable.dtype.itemsize, 1)
        box[dim] = min(box[dim] * max(room, 1), shape[dim])
    parts = [_slices(shape[dim], box[dim]) for dim in (a.axis, *others)]
    for first, *rest in itertools.product(*parts):
        yield (*rest[: a.axis], first, *rest[a.axis :])


def _slices(length: int, part: int) -> list[slice]:
    return [slice(first, min(first + part, length)) for first in range(0, length, max(part, 1))]


def _read(
    stored: Sequence[StoredSteps], box: _Box, transport: Transport, read: str
) -> Iterator[np.ndarray]:
    """Read the stored numbers of a box from each variable, in one batch of requests."""
    chosen = [one.chunks_of(box) for one in stored]
    wanted = []
    for one, (own, _) in zip(stored, chosen, strict=True):
        if own.values is None:
            location = location_of(one.file.file, read)
            starts = own.chunks.offsets.tolist()
            sizes = own.chunks.sizes.tolist()
            for start, size in zip(starts, sizes, strict=True):
                wanted.append(Range(location, start, start + size))
    bodies = iter(transport.read_ranges(wanted))
    for one, (own, within) in zip(stored, chosen, strict=True):
        values = own.values
        if values is None:
            values = decode(own, list(itertools.islice(bodies, len(own.chunks))), one.file.file.url)
        yield values[within]


def _by_step(values: np.ndarray, axis: int) -> np.ndarray:
    """Return (step, byte) in this machine's byte order; strings unchanged."""
    moved = np.moveaxis(values, axis, 0)
    rows = np.ascontiguousarray(moved.astype(moved.dtype.newbyteorder("="))).reshape(len(moved), -1)
    return rows if rows.dtype.kind == "O" else rows.view(np.uint8)
