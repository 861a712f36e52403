"""Are all chunks of a file in the references? Judged by numbers alone. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..model import Check
from .file_side import Counted


@dataclass(frozen=True, slots=True)
class Counts:
    """What the references state of one variable of one file, and what the file has."""

    url: str
    subject: str
    found: int
    """Chunks stated."""
    size: int
    """Bytes stated."""
    inline: int
    """Chunks in the reference file itself, at the steps of the file."""
    copied: int
    """Bytes of these."""
    shape: tuple[int, ...]
    chunk_shape: tuple[int, ...]
    """As the file has it."""
    axis: int | None
    """Along time."""
    itemsize: int
    stored: Counted | None
    """HDF5's own count; None for netCDF-3."""


def judge(counts: Counts, shared: np.ndarray) -> Iterator[Check]:
    """Chunks that the references state against HDF5's own count; bytes where chunks were cut (no
    chunk is lost).

    Args:
        counts: of a variable.
        shared: (time,) the steps that other files hold too. Those chunks may be theirs: the numbers
            there are compared one by one.
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
        f"{counts.found} chunks, {counts.size} bytes stated, {counts.inline} chunks inline; "
        f"{chunks} chunks, {held} bytes by HDF5"
    )
    yield Check("count", counts.subject, right, detail)


def _chunks_at(counts: Counts, steps: np.ndarray) -> int:
    """How many chunks the file has at most at these steps."""
    if counts.axis is None or not len(steps):
        return 0
    grid = [-(-n // chunk) for n, chunk in zip(counts.shape, counts.chunk_shape, strict=True)]
    return math.prod(grid[: counts.axis] + grid[counts.axis + 1 :]) * len(
        np.unique(steps // counts.chunk_shape[counts.axis])
    )
