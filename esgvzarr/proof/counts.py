"""Check that the references state all chunks of a file, by numbers alone. No input or output."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..model import Check
from .file_side import Counted


@dataclass(frozen=True, slots=True)
class Counts:
    """Numbers of chunks and bytes of one variable of one file: in the references, and in the
    file.
    """

    url: str
    subject: str
    found: int
    """Chunks of the file that the references state."""
    size: int
    """Bytes of the file that the references state."""
    inline: int
    """Chunks that the output itself holds, at the steps of the file."""
    copied: int
    """Bytes of the chunks that the output itself holds."""
    shape: tuple[int, ...]
    chunk_shape: tuple[int, ...]
    """(dimension,) the shape of a chunk in the file."""
    axis: int | None
    """The axis of time."""
    itemsize: int
    stored: Counted | None
    """HDF5's own count; None for netCDF-3."""


def judge(counts: Counts, shared: np.ndarray) -> Iterator[Check]:
    """Compare the chunks that the references state with HDF5's own count.

    If chunks were cut into parts, their bytes are compared instead: no chunk is lost.

    Args:
        counts: the numbers of a variable.
        shared: (time,) the steps that other files hold too. References may point to the chunks of
            those files; values at these steps are compared one by one.
    """
    if not counts.found:
        return
    steps = np.flatnonzero(shared) if counts.axis is not None else np.empty(0, np.int64)
    whole = math.prod(counts.shape) * counts.itemsize
    least = whole - len(steps) * (whole // max(len(shared), 1))
    if counts.stored is None:
        yield Check(
            "count",
            counts.subject,
            least <= counts.size <= whole,
            f"{counts.size} bytes stated, {whole} in the file",
        )
        return
    chunks, held, filtered = counts.stored
    right = counts.found <= chunks <= counts.found + counts.inline + _chunks_at(counts, steps)
    if not filtered:
        right = right or least - counts.copied <= counts.size <= held
    detail = (
        f"the references state {counts.found} chunks with {counts.size} bytes and "
        f"{counts.inline} chunks inline; HDF5 counts {chunks} chunks with {held} bytes"
    )
    yield Check("count", counts.subject, right, detail)


def _chunks_at(counts: Counts, steps: np.ndarray) -> int:
    """Return the most chunks that the file can have at these steps."""
    if counts.axis is None or not len(steps):
        return 0
    grid = [-(-n // chunk) for n, chunk in zip(counts.shape, counts.chunk_shape, strict=True)]
    return math.prod(grid[: counts.axis] + grid[counts.axis + 1 :]) * len(
        np.unique(steps // counts.chunk_shape[counts.axis])
    )
